"""scripts/new: make the directory of a new service, from the templates and in the shape of a category that is there."""

import re
import subprocess
import sys
import tomllib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import jinja2
import typer

from ops import catalogue, cli, slo
from ops.application import import_application
from ops.catalogue import ROOT, Service
from ops.check.service_files import ServiceFiles
from ops.cli import CommandError, out
from ops.monitoring import alerts

if TYPE_CHECKING:  # slow to import, and it greets with warnings about a machine without a GPU
    from ray.serve.llm import LLMConfig

TEMPLATES = ROOT / "templates"
OF_THE_MODEL = ("chat_template",)  # engine arguments that a category has for its own model only


@dataclass(frozen=True)
class Shape:
    """What the templates fill in. A new service takes all but the names over from a category's default model."""

    name: str
    folder: str
    origin: str
    model: str
    source: str
    accelerator_type: str
    gpus: str
    engine_kwargs: dict[str, Any]
    on_one_node: bool
    autoscaling: dict[str, Any]
    max_ongoing_requests: int
    longest_answer_s: int
    laptop_model: str
    base_image: str
    image: str
    image_reason: str
    image_steps: str
    worker_nodes: str
    start_timeout_s: int
    own_env_vars: str
    lora: dict[str, Any]
    """Its lora_config, and an ingress; empty for a model without adapters, which has direct streaming instead."""
    checks: str


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
    copy_slo(catalogue.find(origin), service)
    alerts.file_of(service.name).write_text(alerts.text(service, slo.load(slo.file_of(service))))
    subprocess.run([sys.executable, "-m", "ruff", "format", "--quiet", service.folder], cwd=ROOT, check=True)
    list_in_readme(shape)
    out.print(
        f"Made {service.folder.relative_to(ROOT)} in the shape of {shape.origin}. Next:\n"
        f"- Compare lengths and parsers in its serve.py with the card of {model}.\n"
        "- If its weights are gated, put its name in GATED there, and HF_TOKEN in service.yaml, as small-size-llm.\n"
        "- Write the model's shape into its models.yaml, as in those of the other services: until then scripts/check "
        "does not know whether it fits its GPUs.\n"
        f"- Write what it promises in {slo.file_of(service).relative_to(ROOT)}: it has the figures of {shape.origin}. "
        "Then make its alerts from them: scripts/monitoring\n"
        f"- Run it: scripts/dev {shape.name}, and in a second terminal: scripts/probe {shape.name}",
        markup=False,
    )


def service_of(name: str) -> Service:
    return Service(ROOT / "services" / name.replace("-", "_"))


def check_names(service: Service, model: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9-]*", service.name):
        raise CommandError(f"{service.name} cannot be a service's name: small letters, digits and hyphens only.")
    if service.folder.exists():
        raise CommandError(f"{service.folder.relative_to(ROOT)} is there already. Choose another name, or remove it.")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", model):
        raise CommandError(f"{model} is not the name of a model on Hugging Face, such as Qwen/Qwen3-8B.")


def shape_of(origin: Service, name: str | None = None, source: str | None = None) -> Shape:
    """The shape of a category's default model, for a service `name` with the model `source`; none means its own."""
    check_one_model(origin)
    config = default_model(origin)
    name, source = name or origin.name, source or config.model_loading_config.model_source
    yaml, container = (origin.folder / "service.yaml").read_text(), (origin.folder / "Containerfile").read_text()
    deployment, engine = config.deployment_config, config.engine_kwargs
    own_env_vars = search(r"(?s)  HF_HOME: [^\n]*\n(.*?)\napplications", yaml)
    reason, _, steps = container.partition("\nFROM ")
    checks = search(r"(?s)^checks:\n(.*)\n\Z", (origin.folder / "probe.yaml").read_text())
    folder = name.replace("-", "_")
    model = config.model_id if name == origin.name else source.partition("/")[2].lower()
    return Shape(
        name=name,
        folder=folder,
        origin=origin.name,
        model=model,
        source=source,
        accelerator_type=config.accelerator_type,
        gpus=gpus(config),
        engine_kwargs={key: value for key, value in engine.items() if key not in OF_THE_MODEL},
        on_one_node=config.placement_group_config is not None,
        autoscaling=deployment["autoscaling_config"],
        max_ongoing_requests=deployment["max_ongoing_requests"],
        longest_answer_s=deployment["graceful_shutdown_timeout_s"],
        laptop_model=search(r'laptop_model="(.+?)"', (origin.folder / "serve.py").read_text()),
        base_image=tomllib.loads((ROOT / "versions.toml").read_text())["base_image"],
        image=search(r"^((?:image_uri|containerfile): .*)$", yaml).replace(origin.folder.name, folder),
        image_reason=reason.removeprefix("# "),
        image_steps=steps.partition("\n")[2],
        worker_nodes=search(r"(?s)  worker_nodes:\n(.*?)\n\nworking_dir", yaml),
        start_timeout_s=int(origin.env_vars["VLLM_ENGINE_READY_TIMEOUT_S"]),
        own_env_vars=own_env_vars if name == origin.name else without_token(own_env_vars),
        lora=config.lora_config.model_dump(exclude_unset=True) if config.lora_config else {},
        checks=checks.replace(f"{config.model_id}:", f"{model}:"),  # in the names of adapters
    )


def check_one_model(origin: Service) -> None:
    """Raises CommandError: a category serves several models at once, and the templates are of a service of one."""
    served = ServiceFiles(ROOT, origin.folder).served
    if len(served) > 1:
        raise CommandError(
            f"{origin.name} serves {' and '.join(model.id for model in served)} at once, and a new service begins with "
            f"one model. Start from another, or copy services/{origin.folder.name} and its SLO file by hand."
        )


def without_token(env_vars: str) -> str:
    """Without the secret for gated weights: whether a new model's are gated is not known."""
    return "".join(line for line in env_vars.splitlines(keepends=True) if "HF_TOKEN" not in line)


def default_model(service: Service) -> "LLMConfig":
    category, _ = import_application(service)
    return next(iter(category.MODELS.values()))


def gpus(config: "LLMConfig") -> str:
    """Such as "8 L40S" or "2 x 8 H100"."""
    stages = config.engine_kwargs.get("pipeline_parallel_size", 1)
    count = config.engine_kwargs.get("tensor_parallel_size", 1)
    return f"{f'{stages} x ' if stages > 1 else ''}{count} {config.accelerator_type}"


def search(pattern: str, text: str) -> str:
    """The first group of the first match; that every service has one is tested."""
    return re.search(pattern, text, re.MULTILINE)[1]


def render(shape: Shape) -> dict[str, str]:
    """The files of a service by name."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    names = sorted(file.stem for file in TEMPLATES.glob("*.jinja"))
    return {name: environment.get_template(f"{name}.jinja").render(asdict(shape)) for name in names}


def copy_slo(origin: Service, service: Service) -> None:
    slo.file_of(service).write_text(slo.file_of(origin).read_text().replace(origin.name, service.name))


def list_in_readme(shape: Shape) -> None:
    """Add the service to the table of the root README, after the last one."""
    readme = ROOT / "README.md"
    lines = readme.read_text().splitlines(keepends=True)
    last = max(number for number, line in enumerate(lines) if line.startswith("| ["))
    row = f"| [{shape.name}](services/{shape.folder}/README.md) | {shape.source} | {shape.gpus} |\n"
    readme.write_text("".join([*lines[: last + 1], row, *lines[last + 1 :]]))


if __name__ == "__main__":
    cli.run("scripts/new", new)
