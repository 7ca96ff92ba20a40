"""What an upgrade changes in a clone, and what of the user's stands in its way."""

import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from ops.console.cli import CommandError
from ops.upgrading.git import git
from ops.upgrading.ownership import YOURS_ONCE_CHANGED, is_yours
from ops.upgrading.template import number


@dataclass(frozen=True)
class Versions:
    """The versions between which a clone moves, as tags, and their commits."""

    old: str
    new: str
    old_commit: str
    new_commit: str

    @property
    def is_downgrade(self) -> bool:
        return number(self.new) < number(self.old)


@dataclass
class Changes:
    """The files of the template that an upgrade changes. `write` has the mode and blob of each, as "100644 5f3c..."."""

    write: dict[str, str] = field(default_factory=dict)
    remove: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    """Left as they are, because the user changed them and may."""
    edited: list[str] = field(default_factory=list)
    """Changed by the user, and the template's: they stand in the way."""
    in_the_way: list[str] = field(default_factory=list)
    """New in the template, where the user has something of another content."""


def files(root: Path, commit: str) -> dict[str, str]:
    """What a commit has of what is not the user's: path to mode and blob."""
    entries = [entry for entry in git(root, "ls-tree", "-r", "-z", commit).split("\0") if entry]
    found = {}
    for entry in entries:
        (mode, _, blob), path = entry.partition("\t")[0].split(), entry.partition("\t")[2]
        if not is_yours(path):
            found[path] = f"{mode} {blob}"
    return found


def compare(root: Path, versions: Versions) -> Changes:
    """What moves the clone from the old version to the new one."""
    old, new, mine = (files(root, commit) for commit in (versions.old_commit, versions.new_commit, "HEAD"))
    changes = Changes()
    for path in sorted(old.keys() | new.keys()):
        if mine.get(path) == new.get(path):
            continue
        if mine.get(path) != old.get(path):
            if path in YOURS_ONCE_CHANGED:
                changes.left.append(path)
            else:
                (changes.edited if path in old else changes.in_the_way).append(path)
        elif path in new:
            changes.write[path] = new[path]
        else:
            changes.remove.append(path)
    added = changes.write.keys() - old.keys()
    changes.in_the_way += sorted(path for path in added if is_taken(root, path, changes.remove))
    return changes


def is_taken(root: Path, path: str, removed: list[str]) -> bool:
    """Whether the user has something that git does not track where a new file, or a folder for it, goes."""
    file = root / path
    if file.is_dir():
        return any(str(inner.relative_to(root)) not in removed for inner in file.rglob("*") if not inner.is_dir())
    parents = [folder for folder in file.parents if folder.is_relative_to(root) and not folder.is_dir()]
    return any(os.path.lexists(it) and str(it.relative_to(root)) not in removed for it in (file, *parents))


def edits(root: Path, versions: Versions, paths: list[str]) -> str:
    """The diff of the user's changes to files of the template."""
    return git(
        root, "--literal-pathspecs", "diff", "--no-color", "--no-ext-diff", versions.old_commit, "HEAD", "--", *paths
    )


def refuse(versions: Versions, changes: Changes) -> None:
    """Raises CommandError: the user's own changes stand in the way; the message says how to keep them."""
    if changes.edited:
        paths, old = shlex.join(changes.edited), versions.old_commit
        raise CommandError(
            f"Nothing was changed: {paths} of the template {versions.old} was changed here; the diff is above. "
            f"To upgrade and keep the change:\n"
            f"  git diff {old} HEAD -- {paths} > my-changes.patch\n"
            f"  git restore --source={old} --staged --worktree -- {paths}\n"
            f"  git commit --message 'The files of the template {versions.old}'\n"
            f"  scripts/upgrade --to {versions.new}\n"
            f"  git apply --3way my-changes.patch"
        )
    if changes.in_the_way:
        raise CommandError(
            f"Nothing was changed: {versions.new} has new files where you have files of your own: "
            f"{', '.join(changes.in_the_way)}. Give yours another name, and run scripts/upgrade again."
        )
