"""scripts/new: make the directory of a new service, from the templates and in the shape of a category that is there."""

import subprocess
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ops.console import cli
from ops.console.cli import out
from ops.project import catalogue
from ops.project.catalogue import ROOT
from ops.project.new_service import check_names, render, service_of, shape_of, slo_of

if TYPE_CHECKING:  # slow to import, and it greets with warnings about a machine without a GPU
    pass


def new(
    name: Annotated[str, typer.Argument(help="The new service, such as my-llm.")],
    model: Annotated[str, typer.Option(help="The model on Hugging Face, such as Qwen/Qwen3-8B.")],
    origin: Annotated[
        str, typer.Option("--from", help="The service whose hardware, engine arguments and probe it takes over.")
    ] = "small-size-llm",
) -> None:
    """Make services/NAME, complete: it runs on the laptop profile at once.

    Example: scripts/new my-llm --model Qwen/Qwen3-8B --from hybrid-reasoning-llm
    """
    service = service_of(name)
    check_names(service, model)
    shape = shape_of(catalogue.find(origin), service.name, model)
    service.folder.mkdir()
    for file, text in render(shape).items():
        (service.folder / file).write_text(text)
    (service.folder / "slo.yaml").write_text(slo_of(catalogue.find(origin), service))
    subprocess.run([sys.executable, "-m", "ruff", "format", "--quiet", service.folder], cwd=ROOT, check=True)
    out.print(
        f"Made {service.folder.relative_to(ROOT)} in the shape of {shape.origin}. Next:\n"
        f"- Compare lengths and parsers in its serve.py with the card of {model}.\n"
        "- If its weights are gated, put its name in GATED there, and HF_TOKEN in service.yaml, as small-size-llm.\n"
        "- Write the model's shape into its models.yaml, as in those of the other services: until then scripts/check "
        "does not know whether it fits its GPUs.\n"
        f"- Write what it promises in its slo.yaml: it has the figures of {shape.origin}.\n"
        f"- Run it: scripts/dev {shape.name}, and in a second terminal: scripts/probe {shape.name}",
        markup=False,
    )


if __name__ == "__main__":
    cli.run("scripts/new", new)
