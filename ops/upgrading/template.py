"""The template that a clone is upgraded from: where it is, and which versions it has."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ops.console.cli import CommandError
from ops.console.suggestions import did_you_mean
from ops.upgrading.git import git

REMOTES = ("template", "origin")
"""The git remotes that are asked where `--from` is not given: the first of them that the clone has."""
PARTS = ("ops", "pyproject.toml", "scripts", "serving", "versions.toml")
"""What every version of the template has."""


def is_version(tag: str) -> bool:
    return re.fullmatch(r"v\d+\.\d+\.\d+", tag) is not None


def number(tag: str) -> tuple[int, ...]:
    """The version that a tag such as v0.2.0 names, to compare it with others."""
    return tuple(map(int, tag.removeprefix("v").split(".")))


def version_tag(root: Path, commit: str) -> str | None:
    """The tag of the version of the template that a commit holds, such as v0.2.0; None where it holds none."""
    present = git(root, "ls-tree", "--name-only", commit).splitlines()
    if not set(PARTS) <= set(present):
        return None
    try:
        project = tomllib.loads(git(root, "show", f"{commit}:pyproject.toml"))["project"]
        tag = f"v{project['version']}"
    except (tomllib.TOMLDecodeError, KeyError, TypeError):
        return None
    return tag if is_version(tag) else None


@dataclass(frozen=True)
class Template:
    source: str
    """A URL, a path, or the name of a remote."""
    shown: str
    """The source as people see it: no password, and the URL of a remote."""
    tags: dict[str, str]
    """The object that each tag of a version names, the oldest version first."""

    @classmethod
    def ask(cls, root: Path, source: str | None) -> "Template":
        """The template at `source`, or at the remote `template` or `origin` of the clone.

        Raises:
            CommandError: there is no source, it cannot be reached, or it has no versions.
        """
        remotes = git(root, "remote").split()
        chosen = source or next((remote for remote in REMOTES if remote in remotes), None)
        if chosen is None:
            raise CommandError(
                "This clone does not say where its template is. Say it once, with git remote add template URL, "
                "or each time, with --from URL."
            )
        url = git(root, "remote", "get-url", "--", chosen).strip() if chosen in remotes else chosen
        shown = without_password(url) + (f" (the git remote {chosen})" if chosen in remotes else "")
        try:
            listed = git(root, "ls-remote", "--tags", "--refs", "--", chosen)
        except CommandError as error:
            said = str(error).replace(url, without_password(url))
            raise CommandError(f"The template at {shown} cannot be read. git says: {said}") from None
        objects = {tag: it for it, tag in (line.split("\trefs/tags/") for line in listed.splitlines())}
        versions = sorted(filter(is_version, objects), key=number)
        if not versions:
            raise CommandError(
                f"The repository at {shown} has no tag of a version, such as v0.2.0, so it is not the template. "
                "Say where that is: git remote add template URL, or --from URL."
            )
        return cls(chosen, shown, {tag: objects[tag] for tag in versions})

    def find(self, wanted: str | None) -> str:
        """The tag of a version, written with or without its v; the newest where none is wanted.

        Raises:
            CommandError: there is none; the message lists them and says which is nearest.
        """
        if wanted is None:
            return list(self.tags)[-1]
        tag = wanted if wanted.startswith("v") else f"v{wanted}"
        if tag in self.tags:
            return tag
        raise CommandError(
            f"The template at {self.shown} has no version {wanted}.{did_you_mean(tag, self.tags)} "
            f"Its versions are: {', '.join(self.tags)}."
        )

    def require(self, tag: str) -> None:
        """Raises CommandError: it has not the version that the clone has."""
        if tag not in self.tags:
            raise CommandError(
                f"The template at {self.shown} has no version {tag}, which this clone has by its pyproject.toml, "
                f"so what you changed cannot be told. Its versions are: {', '.join(self.tags)}. "
                "If that is another repository, say where the template is: git remote add template URL, or --from URL."
            )

    def fetch(self, root: Path, *tags: str) -> list[str]:
        """The commits of versions, brought into the clone without a tag or branch, which are the user's to name.

        Raises:
            CommandError: they cannot be fetched, or a tag does not hold that version of the template.
        """
        refs = [f"refs/tags/{tag}" for tag in tags]
        git(root, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--", self.source, *refs)
        commits = [git(root, "rev-parse", f"{self.tags[tag]}^{{commit}}").strip() for tag in tags]
        for tag, commit in zip(tags, commits, strict=True):
            held = version_tag(root, commit)
            if held is None:
                raise CommandError(
                    f"The tag {tag} of {self.shown} is not a version of the template: "
                    f"it has no version, or not all of {', '.join(PARTS)}."
                )
            if held != tag:
                raise CommandError(
                    f"The tag {tag} of {self.shown} is not that version of the template: "
                    f"its pyproject.toml says {held}. "
                    "If that is your own repository, say where the template is: git remote add template URL."
                )
        return commits


def without_password(url: str) -> str:
    """The URL without the user and password, or token, in it."""
    split = urlsplit(url)
    return split._replace(netloc=split.netloc.rpartition("@")[2]).geturl() if split.scheme and split.netloc else url
