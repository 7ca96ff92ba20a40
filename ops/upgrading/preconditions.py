"""What a clone must be before it is upgraded."""

from pathlib import Path

from ops.console.cli import CommandError
from ops.upgrading.git import git
from ops.upgrading.template import version_tag


def require_clone(root: Path) -> str:
    """The commit that the clone is at.

    Raises:
        CommandError: it is not a git checkout on a branch, or has uncommitted changes.
    """
    if not (root / ".git").exists():
        try:
            top = git(root, "rev-parse", "--show-toplevel").strip()
        except CommandError:
            raise CommandError(
                f"{root} is not a git checkout, and an upgrade is a commit. Clone your repository with git, "
                "or: git init, git add ., git commit."
            ) from None
        raise CommandError(
            f"{root} is a folder of the git repository {top}. An upgrade needs the template at the top of its own."
        )
    try:
        head = git(root, "rev-parse", "--verify", "HEAD").strip()
        git(root, "symbolic-ref", "HEAD")
    except CommandError:
        raise CommandError(
            "The checkout is not on a branch with a commit. Switch to one first: git switch main"
        ) from None
    if changed := git(root, "status", "--porcelain", "--untracked-files=no"):
        raise CommandError(
            f"There are uncommitted changes:\n{changed.rstrip()}\n"
            "Commit them or put them aside with git stash, so that the upgrade can be undone without them."
        )
    try:
        git(root, "var", "GIT_COMMITTER_IDENT")
    except CommandError:
        raise CommandError(
            "git does not know who you are, and an upgrade is a commit. Tell it: git config user.name NAME, "
            "git config user.email ADDRESS"
        ) from None
    return head


def current_version(root: Path) -> str:
    tag = version_tag(root, "HEAD")
    if tag is None:
        raise CommandError(
            f"{root} is not a clone of the template: pyproject.toml has no version, or parts are missing."
        )
    return tag
