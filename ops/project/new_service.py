"""The files of a new service, from the templates, in the shape of a service that is there."""

import re
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from ops.console.cli import CommandError
from ops.project import catalogue
from ops.project.builder import import_application
from ops.project.catalogue import ROOT, Service

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


def service_of(name: str) -> Service:
    return Service(catalogue.SERVICES / name.replace("-", "_"))


def check_names(service: Service, model: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9-]*", service.name):
        raise CommandError(f"{service.name} cannot be a service's name: small letters, digits and hyphens only.")
    if service.folder.exists():
        raise CommandError(f"services/{service.folder.name} is there already. Choose another name, or remove it.")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", model):
        raise CommandError(f"{model} is not the name of a model on Hugging Face, such as Qwen/Qwen3-8B.")


def shape_of(origin: Service, name: str | None = None, source: str | None = None) -> Shape:
    """The shape of a category's default model, for a service `name` with the model `source`; none means its own.

    Raises:
        CommandError: the category serves several models at once, or lacks something that the templates take over.
    """
    check_one_model(origin)
    config = default_model(origin)
    from serving.llm_config import lora_of

    name, source = name or origin.name, source or source_of(config, origin)
    serve_py, yaml, probe = (origin.folder / file for file in ("serve.py", "service.yaml", "probe.yaml"))
    deployment, engine = config.deployment_config, config.engine_kwargs
    own_env_vars = search(r"(?s)  HF_HOME: [^\n]*\n(.*?)\napplications", yaml, "env_vars with HF_HOME as the first")
    image = search(r"^((?:image_uri|containerfile): .*)$", yaml, "image_uri or containerfile")
    reason, _, steps = text_of(origin.folder / "Containerfile").partition("\nFROM ")
    checks = search(r"(?s)^checks:\n(.*)\n\Z", probe, "`checks:` at the end")
    folder = name.replace("-", "_")
    model = config.model_id if name == origin.name else source.partition("/")[2].lower()
    return Shape(
        name=name,
        folder=folder,
        origin=origin.name,
        model=model,
        source=source,
        accelerator_type=setting(config, "accelerator_type", serve_py),
        gpus=gpus(config),
        engine_kwargs={key: value for key, value in engine.items() if key not in OF_THE_MODEL},
        on_one_node=config.placement_group_config is not None,
        autoscaling=setting(deployment, "autoscaling_config", serve_py),
        max_ongoing_requests=setting(deployment, "max_ongoing_requests", serve_py),
        longest_answer_s=setting(deployment, "graceful_shutdown_timeout_s", serve_py),
        laptop_model=search(r'laptop_model="(.+?)"', serve_py, 'laptop_model="..."'),
        base_image=tomllib.loads((ROOT / "versions.toml").read_text())["base_image"],
        image=image.replace(origin.folder.name, folder),
        image_reason=reason.removeprefix("# "),
        image_steps=steps.partition("\n")[2],
        worker_nodes=search(r"(?s)  worker_nodes:\n(.*?)\n\nworking_dir", yaml, "worker_nodes before working_dir"),
        start_timeout_s=int(setting(origin.env_vars, "VLLM_ENGINE_READY_TIMEOUT_S", yaml)),
        own_env_vars=own_env_vars if name == origin.name else without_token(own_env_vars),
        lora=lora_of(config).model_dump(exclude_unset=True) if config.lora_config else {},
        checks=checks.replace(f"{config.model_id}:", f"{model}:"),  # in the names of adapters
    )


def check_one_model(origin: Service) -> None:
    """Raises CommandError: a category serves several models at once, and the templates are of a service of one."""
    served = origin.files.served
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
    """The GPUs in words, such as "8 L40S" or "2 x 8 H100"."""
    stages = config.engine_kwargs.get("pipeline_parallel_size", 1)
    count = config.engine_kwargs.get("tensor_parallel_size", 1)
    return f"{f'{stages} x ' if stages > 1 else ''}{count} {config.accelerator_type}"


def source_of(config: "LLMConfig", origin: Service) -> str:
    from serving.llm_config import loading_of

    source = loading_of(config).model_source
    if not isinstance(source, str):
        raise lacks(origin.folder / "serve.py", "a model_source that is a name or a path")
    return source


def text_of(file: Path) -> str:
    """Raises CommandError: the file is not there."""
    if not file.is_file():
        raise CommandError(
            f"There is no {file.relative_to(file.parents[2])}, and a new service takes over what it says. Write it, or "
            "start from another service."
        )
    return file.read_text()


def search(pattern: str, file: Path, what: str) -> str:
    """The first group of the first match. Raises CommandError: the file has none of `what` the pattern describes."""
    match = re.search(pattern, text_of(file), re.MULTILINE)
    if match is None:
        raise lacks(file, what)
    return match[1]


def setting(values: Any, name: str, file: Path) -> Any:
    """One of the values that a file of a service sets. Raises CommandError: it does not set that one."""
    value = values.get(name) if isinstance(values, dict) else getattr(values, name)
    if value is None:
        raise lacks(file, name)
    return value


def lacks(file: Path, what: str) -> CommandError:
    return CommandError(
        f"{file.relative_to(file.parents[2])} lacks {what}, which a new service takes over. Add it there, or start "
        "from another service."
    )


def render(shape: Shape) -> dict[str, str]:
    """The files of a service by name."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    names = sorted(file.stem for file in TEMPLATES.glob("*.jinja"))
    return {name: environment.get_template(f"{name}.jinja").render(asdict(shape)) for name in names}


def slo_of(origin: Service, service: Service) -> str:
    """The SLO file of a new service: its figures are those of the service that it is made from."""
    return origin.slo_file.read_text().replace(origin.name, service.name)
