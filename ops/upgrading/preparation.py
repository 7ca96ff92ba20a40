"""Make the commit of an upgrade, and the plan of the switch to it."""

import json
import shutil
from pathlib import Path

from ops.console.cli import CommandError
from ops.upgrading import switch
from ops.upgrading.comparison import Changes, Versions
from ops.upgrading.git import git

ABSENT = "0 0000000000000000000000000000000000000000"
"""What git's index takes for a file that is gone."""


def prepare(root: Path, head: str, versions: Versions, changes: Changes) -> str:
    """Make the commit, put the new files and the new index into the git directory, and plan the switch to them.

    Nothing that the user sees has changed then. The caller holds the lock of `switch`.
    """
    git_folder = switch.git_dir(root)
    if git_folder.stat().st_dev != root.stat().st_dev:
        raise CommandError(f"{git_folder} is on another disk than {root}: files cannot be moved at once between them.")
    folder = git_folder / switch.FOLDER
    shutil.rmtree(folder, ignore_errors=True)  # of an upgrade that was killed before it had a plan
    folder.mkdir()
    index = folder / "index"
    shutil.copy(git_folder / "index", index)
    lines = [f"{ABSENT}\t{path}" for path in changes.remove]
    lines += [f"{entry}\t{path}" for path, entry in changes.write.items()]
    git(root, "update-index", "-z", "--index-info", stdin="".join(f"{line}\0" for line in lines), index=index)
    message = f"Upgrade the template from {versions.old} to {versions.new}"
    tree = git(root, "write-tree", index=index).strip()
    commit = git(root, "commit-tree", tree, "-p", head, "-m", message).strip()
    paths = "".join(f"{path}\0" for path in changes.write)
    git(root, "checkout-index", "-z", "--stdin", f"--prefix={folder}/files/", stdin=paths, index=index)
    plan = {
        "before": head,
        "after": commit,
        "message": message,
        "remove": changes.remove,
        "write": list(changes.write),
    }
    unfinished = folder / "plan.json.unfinished"
    unfinished.write_text(json.dumps(plan))
    unfinished.replace(folder / switch.PLAN)
    return commit
