"""Arguments and options that the commands for services on Anyscale share."""

from typing import Annotated

import typer

from ops.console.cli import CommandError

ServiceArgument = Annotated[str, typer.Argument(help="One of the services, such as small-size-llm.")]
NameOption = Annotated[str | None, typer.Option("--name", help="Its name on Anyscale; default: that in service.yaml.")]
CloudOption = Annotated[str | None, typer.Option("--cloud", help="Its Anyscale cloud; default: the organisation's.")]
ProjectOption = Annotated[str | None, typer.Option("--project", help="Its Anyscale project; default: the cloud's.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="key=value, an argument of the application. Can be repeated.")
]
ImageOption = Annotated[str | None, typer.Option("--image-uri", help="Use this image; nothing is built then.")]
StartTimeoutOption = Annotated[
    str | None,
    typer.Option(
        "--start-timeout",
        help="How long the new version may take to run, such as 90min. Default: 30min "
        "for machines to be found, and what service.yaml gives vLLM to load the weights.",
    ),
]
ForceOption = Annotated[
    list[str] | None,
    typer.Option("--force", help="A rule of scripts/check whose errors do not stop it. Can be repeated."),
]
YesOption = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON; all else goes to stderr.")]


def split_setting(setting: str) -> tuple[str, str]:
    """Its key and value. Raises CommandError: it is no `key=value`."""
    key, equals, value = setting.partition("=")
    if not (key and equals):
        raise CommandError(f"{setting} is not a setting such as model=phi-4-mini.")
    return key, value


def given(model: str | None, settings: list[str]) -> dict[str, str]:
    """The arguments of the application that the command line gives."""
    return dict(map(split_setting, settings)) | ({"model": model} if model else {})
