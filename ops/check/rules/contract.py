"""What several files say of one thing: versions, names, models and secrets are the same in all of them."""

import re
from collections.abc import Iterator

from ops.check import registry
from ops.check.finding import Finding, make_finding
from ops.check.rules import service_yaml_image
from ops.check.rules.known_keys import dotted
from ops.project.coercion import mapping, sequence
from ops.project.containerfile import images
from ops.project.place import Place
from ops.project.serve_py import Model
from ops.project.service_files import ServiceFiles

DOCKER_HUB = "docker.io/"
MODELS_PATH = "/v1/models"
PINNED = re.compile(r"\b(vllm|ray)(?:\[[\w,]*\])?\s*(==|>=|~=|<=|<|>)\s*[\w.]+")


def findings(files: ServiceFiles) -> Iterator[Finding]:
    yield from image(files)
    yield from pinned_apart(files)
    yield from names(files)
    yield from model_of_args(files)
    unclear = list(model_ids(files))
    yield from unclear
    if not unclear:
        yield from models_of_probe(files)
    yield from slo(files)
    yield from token(files)
    yield from laptop(files)


def image(files: ServiceFiles) -> Iterator[Finding]:
    base = files.versions["base_image"]
    beside = {Place(files.folder / "Containerfile", number): name for number, name in images(files.containerfile)}
    for place, name in (beside | dict(service_yaml_image.images(files))).items():
        if is_public(name) and name.removeprefix(DOCKER_HUB).partition("@")[0] != base:
            yield make_finding(
                files,
                registry.IMAGE_OF_OTHER_VERSIONS,
                place,
                what=f"The image is {name}, and versions.toml has {base}.",
                fix=f"Write {base}, or change versions.toml and everything that follows from it.",
            )


def is_public(name: str) -> bool:
    """Whether it is one of Anyscale's or Ray's own images, whose names say their versions."""
    return name.removeprefix(DOCKER_HUB).startswith(("anyscale/", "rayproject/"))


def pinned_apart(files: ServiceFiles) -> Iterator[Finding]:
    """Ray or vLLM installed on top of an image that has both."""
    for path in (files.folder / "Containerfile", files.folder / "serve.py", files.folder / "service.yaml"):
        for number, line in enumerate(files.lines(path), 1):
            code = line.partition("#")[0]
            if match := PINNED.search(code):
                yield make_finding(
                    files,
                    registry.RAY_OR_VLLM_PINNED_APART,
                    Place(path, number),
                    what=f"{match[0]} is installed on top of the image.",
                    why=f"The image has Ray {files.versions['ray']} and vLLM {files.versions['vllm']}, and a Ray works "
                    "with one vLLM only: another breaks at import, on every node.",
                )


def names(files: ServiceFiles) -> Iterator[Finding]:
    for keys in (("name",), ("applications", 0, "name")):
        given = files.yaml.get(*keys)
        if isinstance(given, str) and given != files.name:
            yield make_finding(
                files,
                registry.NAME_DIFFERS_FROM_FOLDER,
                files.yaml.place(*keys),
                what=f"{dotted(keys)} is {given}, in the folder of {files.name}.",
                fix=f"Write {files.name}, unless the other name is meant.",
            )
    given = files.application.get("import_path")
    if isinstance(given, str) and of_another_service(files, given):
        yield make_finding(
            files,
            registry.IMPORT_PATH_OF_ANOTHER_SERVICE,
            files.yaml.place("applications", 0, "import_path"),
            what=f"The import path is {given}, in the folder of {files.name}.",
            fix=f"Write services.{files.folder.name}.serve:app.",
        )


def of_another_service(files: ServiceFiles, import_path: str) -> bool:
    """Whether it is a module of another service. Another check reports modules that do not exist."""
    folder, _, module = import_path.partition(":")[0].removeprefix("services.").partition(".")
    other = files.root / "services" / folder
    return import_path.startswith("services.") and other != files.folder and (other / f"{module}.py").is_file()


def model_of_args(files: ServiceFiles) -> Iterator[Finding]:
    given = files.arguments.get("model")
    if given is not None and not files.serve.chooses:
        yield make_finding(
            files,
            registry.MODEL_CHOSEN_WHERE_ALL_ARE_SERVED,
            files.yaml.place("applications", 0, "args", "model"),
            what=f"service.yaml chooses the model {given}, and the builder serves {and_list(files.served)} at once.",
        )
    elif given is not None and files.serve.models and given not in files.serve.models:
        yield make_finding(
            files,
            registry.NO_SUCH_MODEL,
            files.yaml.place("applications", 0, "args", "model"),
            what=f"There is no model {given} in serve.py, and the args of the application choose it.",
            fix=f"Choose one of: {', '.join(files.serve.models)}.",
        )


def model_ids(files: ServiceFiles) -> Iterator[Finding]:
    """Models of one id, and models that MODELS calls otherwise than their id."""
    seen = set()
    for name, model in files.serve.entries:
        place = model.place("model_loading_config", "model_id")
        if model.id in seen:
            yield make_finding(
                files,
                registry.MODEL_ID_TWICE,
                place,
                what=f"Two models of serve.py have the model_id {model.id}.",
                fix=f"Give the second its own, such as the name that it has in MODELS: {name}.",
            )
        elif name != model.id:
            yield make_finding(
                files,
                registry.MODEL_NAME_DIFFERS_FROM_ITS_ID,
                place,
                what=f"The model that MODELS calls {name} has the model_id {model.id}.",
            )
        seen.add(model.id)


def models_of_probe(files: ServiceFiles) -> Iterator[Finding]:
    """Models that the probe asks for and nobody serves, and models that are served and that it does not ask for."""
    default, served, asked = files.probe.get("model"), [model.id for model in files.served], set()
    if files.serve.chooses and files.arguments.get("model") in served:
        default = files.arguments["model"]  # scripts/probe, deploys and rollouts ask for that one
    if not served or not isinstance(default, str):
        return
    if default not in served:
        yield not_served(files, default, files.probe.place("model"))
    for index, check in enumerate(sequence(files.probe.get("checks"))):
        named = mapping(mapping(check).get("request")).get("model")
        if mapping(mapping(check).get("expect")).get("status", 200) != 200 or mapping(check).get("path") == MODELS_PATH:
            continue
        asked.add(base_model(named or default))
        if isinstance(named, str) and base_model(named) not in served:
            yield not_served(files, named, files.probe.place("checks", index, "request", "model"))
    for name in [name for name in served if name not in asked and len(served) > 1]:
        yield make_finding(
            files,
            registry.PROBE_LEAVES_A_MODEL_OUT,
            files.probe.place("checks"),
            what=f"No check of probe.yaml asks {name}, which is served beside {and_list(files.served, name)}.",
            fix=f"Add a check whose request has model: {name}.",
        )


def not_served(files: ServiceFiles, asked: str, place: Place) -> Finding:
    served = and_list(files.served)
    return make_finding(
        files,
        registry.PROBE_OF_ANOTHER_MODEL,
        place,
        what=f"probe.yaml asks for {asked}, and the service serves {served}.",
    )


def base_model(name: object) -> str:
    """The base model of `base:adapter`, which is how requests name a LoRA adapter."""
    return str(name).partition(":")[0]


def and_list(models: list[Model], without: str = "") -> str:
    return " and ".join(model.id for model in models if model.id != without)


def slo(files: ServiceFiles) -> Iterator[Finding]:
    if not files.slo_file.is_file():
        yield make_finding(
            files,
            registry.NO_SLO,
            files.yaml.place("name"),
            what=f"{files.slo_file.relative_to(files.root)} is not there.",
        )


def token(files: ServiceFiles) -> Iterator[Finding]:
    """Gated models without HF_TOKEN: those that are deployed, or where none of these is gated, those to choose from."""
    if "HF_TOKEN" in files.env_vars:
        return
    gated = [model.id for model in files.models.values() if model.id in files.serve.gated]
    deployed = [model.id for model in files.served if model.id in gated]
    if names := dict.fromkeys(deployed or gated):
        yield make_finding(
            files,
            registry.GATED_WITHOUT_A_TOKEN if deployed else registry.GATED_CHOICE_WITHOUT_A_TOKEN,
            files.yaml.place("env_vars"),
            what=f"The weights of {' and '.join(names)} are gated, and env_vars does not name HF_TOKEN.",
        )


def laptop(files: ServiceFiles) -> Iterator[Finding]:
    if files.arguments.get("profile") == "laptop":
        yield make_finding(
            files,
            registry.LAPTOP_PROFILE_DEPLOYED,
            files.yaml.place("applications", 0, "args", "profile"),
            what="service.yaml deploys the laptop profile.",
        )
