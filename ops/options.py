"""Arguments and options that the commands for services on Anyscale share."""

import re
import shlex
from typing import Annotated

import typer

from ops.catalogue import Service
from ops.cli import CommandError
from ops.service_state import Target

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
    typer.Option("--force", help="A kind of finding of scripts/check to deploy in spite of. Can be repeated."),
]
YesOption = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON; all else goes to stderr.")]


UNITS = {"s": 1, "min": 60, "h": 3600}
PROVISIONING_S = 1800  # guess: for machines with GPUs to be found and the image to be pulled


def seconds(text: str) -> float:
    """Raises CommandError: it has no unit, or is no duration."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([a-z]+)", text)
    if not match or match[2] not in UNITS:
        raise CommandError(f"{text} is not a duration. Write it with its unit: 60s, 5min or 1h.")
    return float(match[1]) * UNITS[match[2]]


def split_setting(setting: str) -> tuple[str, str]:
    """Its key and value. Raises CommandError: it is no `key=value`."""
    key, equals, value = setting.partition("=")
    if not (key and equals):
        raise CommandError(f"{setting} is not a setting such as model=phi-4-mini.")
    return key, value


def given(model: str | None, settings: list[str]) -> dict[str, str]:
    """The arguments of the application that the command line gives."""
    return dict(map(split_setting, settings)) | ({"model": model} if model else {})


def start_timeout_s(service: Service, given: str | None) -> float:
    """The longest that a version may take to run."""
    if given:
        return seconds(given)
    return PROVISIONING_S + float(service.env_vars.get("VLLM_ENGINE_READY_TIMEOUT_S", 600))  # 600 is vLLM's default


def target_of(service: Service, name: str | None, cloud: str | None, project: str | None) -> Target:
    """Which service on Anyscale is meant: what the command line does not say, service.yaml does."""
    config = service.config
    return Target(name or config["name"], cloud or config.get("cloud"), project or config.get("project"))


def again(verb: str, service: Service, target: Target, *words: str) -> str:
    """The command line of another command for the same service, for a message."""
    options = [("--name", target.name, service.config["name"]), ("--cloud", target.cloud, service.config.get("cloud"))]
    options.append(("--project", target.project, service.config.get("project")))
    named = [word for option, value, default in options if value and value != default for word in (option, value)]
    return shlex.join([f"scripts/{verb}", service.name, *named, *words])
