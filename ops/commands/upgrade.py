"""scripts/upgrade: bring the runtime and the tools of another version of the template into this clone."""

import subprocess
from typing import Annotated

import typer

from ops.console import cli
from ops.console.cli import PROBLEMS, CommandError, Failed, out
from ops.console.options import YesOption
from ops.console.progress import Progress
from ops.project.catalogue import ROOT
from ops.upgrading import comparison, preparation, release_notes, switch
from ops.upgrading.comparison import Changes, Versions
from ops.upgrading.preconditions import current_version, require_clone
from ops.upgrading.template import Template


def upgrade(
    to: Annotated[str | None, typer.Option(help="A version, such as v0.2.0; default: the newest.")] = None,
    source: Annotated[
        str | None,
        typer.Option("--from", help="The template's URL or path; default: the git remote template, else origin."),
    ] = None,
    yes: YesOption = False,
) -> None:
    """Bring the runtime and the tools of another version of the template into this clone, as one commit.

    services/, keys and .env are yours and stay as they are. Exit status: 0 it is done, or there is
    nothing to do; 1 it is done, and scripts/check found something; 2 nothing was changed.

    Example: scripts/upgrade --to v0.2.0
    """
    require_clone(ROOT)
    try:
        with switch.locked(ROOT, wait=False):
            done = switched(to, source, yes)
    except BlockingIOError:
        raise CommandError("Another scripts/upgrade runs in this clone. Wait until it has ended.") from None
    if done:
        out.print("\nscripts/check says of your services:")
        if subprocess.run([ROOT / "scripts" / "check"], check=False).returncode:
            out.print("The upgrade is done. Fix what scripts/check says, or undo the upgrade.")
            raise typer.Exit(PROBLEMS)


def switched(to: str | None, source: str | None, yes: bool) -> bool:
    """Upgrade the clone and say what changed; False where there is nothing to do."""
    versions = chosen(to, source)
    if versions is None:
        return False
    if versions.is_downgrade:
        cli.confirm(f"{versions.new} is older than {versions.old}, which this clone has. Go back to it?", yes)
    changes = comparison.compare(ROOT, versions)
    if changes.edited:
        out.print(comparison.edits(ROOT, versions, changes.edited), markup=False)
    comparison.refuse(versions, changes)
    text = summary(versions, changes)  # before the switch, after which no other module of the old version is imported
    commit = preparation.prepare(ROOT, require_clone(ROOT), versions, changes)
    try:
        switch.finish(ROOT)
    except switch.SwitchError as error:
        raise Failed(f"The upgrade was begun, and {error}") from None
    out.print(text, markup=False)
    out.print(
        f"To undo the upgrade: git revert --no-edit {commit[:12]}\n"
        f"Or, while it is the newest commit: git reset --keep {commit[:12]}~1",
        markup=False,
    )
    return True


def chosen(to: str | None, source: str | None) -> Versions | None:
    """The versions to move between, fetched; None where there is nothing to do."""
    old = current_version(ROOT)
    with Progress() as progress:
        progress.waiting_for("the versions of the template")
        template = Template.ask(ROOT, source)
        new = template.find(to)
        template.require(old)
        if new == old:
            newest = "" if to else f", the newest version of the template at {template.shown}"
            out.print(f"Nothing to do: this clone has {old}{newest}.", markup=False)
            return None
        progress.waiting_for(f"{new} from {template.shown}")
        return Versions(old, new, *template.fetch(ROOT, old, new))


def summary(versions: Versions, changes: Changes) -> str:
    """What an upgrade did, and what it leaves to the user."""
    lines = [
        f"The template's files are those of {versions.new}, and were of {versions.old}: "
        f"{len(changes.write)} written, {len(changes.remove)} removed."
    ]
    if changes.left:
        lines.append(f"Left as you have them: {', '.join(changes.left)}.")
    if added := release_notes.new_services(ROOT, versions):
        lines.append(
            f"{versions.new} has services that you do not have. services/ is yours, so none was added. To take one:"
        )
        lines += [f"  git checkout {versions.new_commit[:12]} -- {folder}" for folder in added]
    if changed := release_notes.changed_services(ROOT, versions):
        lines.append(f"{versions.new} also changed services that you have. To take such a change into yours:")
        between = f"{versions.old_commit[:12]} {versions.new_commit[:12]}"
        lines += [f"  git diff {between} -- {folder} | git apply --3way" for folder in changed]
    notes = release_notes.changelog(ROOT, versions)
    title = f"What {versions.old} had" if versions.is_downgrade else "What is new"
    lines.append(f"\n{title}, from the changelog:\n\n{notes}" if notes else "The changelog has nothing about it.")
    return "\n".join(lines)


if __name__ == "__main__":
    cli.run("scripts/upgrade", upgrade)
