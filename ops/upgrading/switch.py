"""The last step of an upgrade: switch a clone to the commit that was prepared, so that no kill leaves it in between.

What may fail or take long comes before: the commit is in git's object store, the new files lie whole in
.git/upgrade/files, the new index beside them. Then `plan.json` is renamed into place. Without it, the clone is as
before the upgrade. With it, the switch is going on: each of its steps (remove a file, replace a file, the index, the
branch) is one rename, removal or update of a ref, and doing it twice changes nothing. So a switch that was cut short is
finished by doing all of it again. scripts/setup does that, and with it every command of the template, before anything
else.

Standard library only, and nothing of ops: scripts/setup runs this file before there is a `.venv`, and while the other
files of ops may be of two versions. A later version of the template must keep its place and the format of the plan.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

FOLDER = "upgrade"
"""In the git directory."""
PLAN = "plan.json"


class SwitchError(Exception):
    """Why the switch cannot be finished and what to do, in sentences for the person who ran the command."""


def git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SwitchError(f"git {words[0]} says: {done.stderr.strip()}")
    return done.stdout.strip()


def git_dir(root: Path) -> Path:
    return Path(git(root, "rev-parse", "--absolute-git-dir"))


@contextmanager
def locked(root: Path, wait: bool) -> Generator[None]:
    """Hold the lock of upgrades of this clone; a killed process has it no more.

    Raises:
        BlockingIOError: another process has it, and `wait` is false.
    """
    with (git_dir(root) / "upgrade.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield


def is_planned(root: Path) -> bool:
    return (git_dir(root) / FOLDER / PLAN).exists()


def finish(root: Path) -> None:
    """Switch to the commit that is planned, from whatever step on; the caller holds the lock.

    Raises:
        SwitchError: something is in the way; the plan stays.
    """
    git_folder = git_dir(root)
    folder = git_folder / FOLDER
    plan = json.loads((folder / PLAN).read_text())
    head = git(root, "rev-parse", "HEAD")
    if head not in (plan["before"], plan["after"]):
        raise SwitchError(
            "an upgrade was cut short, and you have committed since. Take that commit back, which keeps your files, "
            f"with git reset --soft {plan['before']}, and run the command again."
        )
    try:
        lock_index(git_folder, folder / "index")
        for path in plan["remove"]:
            remove(root, path)
        for path in plan["write"]:
            write(folder / "files" / path, folder / "next", root / path)
        (git_folder / "index.lock").replace(git_folder / "index")
        (git_folder / "index.lock").unlink(missing_ok=True)  # a rename to another link of the same file does nothing
    except OSError as error:
        raise SwitchError(f"an upgrade cannot be finished: {error}. Put that right and run scripts/setup.") from None
    if head != plan["after"]:
        git(root, "update-ref", "-m", plan["message"], "HEAD", plan["after"], plan["before"])
    (folder / PLAN).unlink()
    shutil.rmtree(folder)


def lock_index(git_folder: Path, index: Path) -> None:
    """Take git's own lock of the index by linking the new index to it, so that ours can be distinguished from another
    process's."""
    lock = git_folder / "index.lock"
    try:
        os.link(index, lock)
    except FileExistsError:
        if not lock.samefile(index):
            raise SwitchError(
                f"an upgrade cannot be finished while git is at work in this clone. If it is not, remove {lock}. "
                "Then run scripts/setup."
            ) from None


def remove(root: Path, path: str) -> None:
    """Remove a file, and the folders that are empty then."""
    (root / path).unlink(missing_ok=True)
    for folder in (root / path).parents:
        if folder == root:
            return
        try:
            folder.rmdir()
        except OSError:  # not empty, or gone already
            if folder.exists():
                return


def write(staged: Path, scratch: Path, file: Path) -> None:
    """Put a copy of a file in its place at once, so that nobody reads half of it. `staged` stays, for a second time."""
    scratch.unlink(missing_ok=True)
    shutil.copy2(staged, scratch, follow_symlinks=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    scratch.replace(file)


def main() -> int:
    root = Path(__file__).resolve().parents[2]
    try:
        with locked(root, wait=True):
            if is_planned(root):
                finish(root)
                print(
                    "setup: finished an upgrade of the template that had been cut short. To undo it: git revert HEAD",
                    file=sys.stderr,
                )
    except SwitchError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
