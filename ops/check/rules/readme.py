"""What a service's README says of its models, knobs and commands, beside what its files say.

Where the two differ, either may hold the mistake: a finding names both places, and never says which value to write.
"""

import re
from collections.abc import Iterator
from typing import Any

from ops.check import registry
from ops.check.finding import Finding, make_finding
from ops.check.rules.placement import data_parallel, parallel
from ops.project.place import Place
from ops.project.serve_py import Model
from ops.project.service_files import ServiceFiles, line_with

FENCE = re.compile(r"```bash\n(.*?)```", re.DOTALL)
MODEL_IN_JSON = re.compile(r'"model": "([^"]+)"')
KNOBS = {
    "target_ongoing_requests": ("deployment_config", "autoscaling_config", "target_ongoing_requests"),
    "min_replicas": ("deployment_config", "autoscaling_config", "min_replicas"),
    "max_replicas": ("deployment_config", "autoscaling_config", "max_replicas"),
    "downscale_delay_s": ("deployment_config", "autoscaling_config", "downscale_delay_s"),
    "max_ongoing_requests": ("deployment_config", "max_ongoing_requests"),
    "graceful_shutdown_timeout_s": ("deployment_config", "graceful_shutdown_timeout_s"),
    "max_model_len": ("engine_kwargs", "max_model_len"),
    "max_lora_rank": ("engine_kwargs", "max_lora_rank"),
    "max_loras": ("engine_kwargs", "max_loras"),
    "max_cpu_loras": ("engine_kwargs", "max_cpu_loras"),
    "max_num_adapters_per_replica": ("lora_config", "max_num_adapters_per_replica"),
    "download_timeout_s": ("lora_config", "download_timeout_s"),
    "tensor_parallel_size": ("engine_kwargs", "tensor_parallel_size"),
    "load_format": ("engine_kwargs", "load_format"),
    "strategy": ("placement_group_config", "strategy"),
}
"""Rows of the table of knobs, and the fields of an LLMConfig that they are about."""


def findings(files: ServiceFiles) -> Iterator[Finding]:
    if files.readme:
        yield from models(files)
        yield from contexts(files)
        yield from gpus(files)
        yield from knobs(files)
        yield from commands(files)
        yield from asked_model(files)


def at(files: ServiceFiles, line: int) -> Place:
    return Place(files.folder / "README.md", line)


def shown(files: ServiceFiles, place: Place) -> str:
    """A place as text, such as services/my_llm/serve.py:12."""
    return f"{place.file.relative_to(files.root)}:{place.line}"


def rows(files: ServiceFiles) -> Iterator[tuple[int, list[str]]]:
    """The rows of tables: line and cells."""
    for number, line in enumerate(files.readme, 1):
        if line.startswith("|"):
            yield number, [cell.strip() for cell in line.strip().strip("|").split("|")]


def header_of(files: ServiceFiles) -> list[str]:
    """The titles of the table of models: `model=` where one is chosen, `model` where all are served."""
    return next((cells for _, cells in rows(files) if cells[0] in ("`model=`", "`model`")), [])


def row_of(files: ServiceFiles, model: Model) -> tuple[int, list[str]] | None:
    return next((row for row in rows(files) if row[1][0].split(" ")[0] == f"`{model.id}`"), None)


def models(files: ServiceFiles) -> Iterator[Finding]:
    if not header_of(files):
        return
    for model in files.models.values():
        row = row_of(files, model)
        if row is None or model.source not in " ".join(row[1]):
            key = "model_source" if row else "model_id"
            served = shown(files, model.place("model_loading_config", key))
            yield make_finding(
                files,
                registry.README_WITHOUT_THE_MODEL,
                at(files, row[0] if row else line_with(files.readme, "| `model")),
                what=f"This row is about {model.id}, and names other weights than {served}, {model.source}."
                if row
                else f"{served} has the model {model.id}, and this table has no row for it.",
            )


def gpus(files: ServiceFiles) -> Iterator[Finding]:
    header = header_of(files)
    column = next((header.index(title) for title in ("GPU", "GPUs") if title in header), None)
    for model in files.models.values():
        row, needed = row_of(files, model), gpus_of(model)
        if column is not None and row and len(row[1]) == len(header) and needed and row[1][column] != needed:
            yield make_finding(
                files,
                registry.README_DIFFERS,
                at(files, row[0]),
                what=f"The README gives {model.id} {row[1][column]}, and "
                f"{shown(files, model.place('accelerator_type'))} {needed}.",
                why="Whoever asks for quota by the README may ask for the wrong GPUs.",
            )


def gpus_of(model: Model) -> str | None:
    """The GPUs of a pipeline stage or of a group of ranks, such as `8 L40S`; None where the model names no GPU."""
    kind = model.config.get("accelerator_type")
    return f"{parallel(model)[0] * data_parallel(model)} {kind}" if kind else None


def contexts(files: ServiceFiles) -> Iterator[Finding]:
    header = next((cells for _, cells in rows(files) if "context here" in cells), None)
    for model in files.models.values():
        row, length = row_of(files, model), model.engine.get("max_model_len")
        if header is None or row is None or length is None:
            continue
        written = row[1][header.index("context here")] if len(row[1]) == len(header) else ""
        if written.isdigit() and written != str(length):
            yield make_finding(
                files,
                registry.README_DIFFERS,
                at(files, row[0]),
                what=f"The README gives {model.id} a context of {written} tokens, and "
                f"{shown(files, model.place('engine_kwargs', 'max_model_len'))} one of {length}.",
                why="A client that goes by the README may have its long prompts refused.",
            )


def knobs(files: ServiceFiles) -> Iterator[Finding]:
    """A row of the table names the value of each model that is served, or where one is chosen, of some model."""
    for number, cells in rows(files):
        for name, value in named_values(cells):
            given = {str(found) for model in files.models.values() if (found := field(model, name)) is not None}
            named = given & set(re.findall(r"[\w-]+", value))
            if (given and not named) or (named != given and len(files.served) > 1):
                written = next(
                    model.place(*KNOBS[name]) for model in files.models.values() if field(model, name) is not None
                )
                yield make_finding(
                    files,
                    registry.README_DIFFERS,
                    at(files, number),
                    what=f"The README says that {name} is {value}, and {shown(files, written)} says "
                    f"{joined(files, given)}.",
                )


def joined(files: ServiceFiles, values: set[str]) -> str:
    return (" and " if len(files.served) > 1 else " or ").join(sorted(values))


def named_values(cells: list[str]) -> list[tuple[str, str]]:
    """The knobs of a row and their values: several knobs have theirs in the same order, with commas."""
    names, value = re.findall(r"`(\w+)`", cells[0]), cells[1] if len(cells) > 1 else ""
    values = [value] if len(names) == 1 else value.split(", ")
    return list(zip(names, values, strict=True)) if len(names) == len(values) else []


def field(model: Model, name: str) -> Any:
    return model.get(*KNOBS[name]) if name in KNOBS else None


def commands(files: ServiceFiles) -> Iterator[Finding]:
    services = {folder.parent.name.replace("_", "-") for folder in files.root.glob("services/*/service.yaml")}
    for line in [line for fence in FENCE.findall("\n".join(files.readme) + "\n") for line in fence.splitlines()]:
        words = line.partition(" #")[0].split()
        if not words or not words[0].startswith("scripts/") or words[0] == "scripts/new":
            continue
        named = [word for word in words[1:2] if not word.startswith("-")]
        missing = [word for word in named if word not in services]
        if not (files.root / words[0]).is_file() or missing:
            yield make_finding(
                files,
                registry.README_COMMAND_FAILS,
                at(files, line_with(files.readme, line)),
                what=f"{' '.join(words)} cannot be run: there is no {missing[0] if missing else words[0]}.",
            )


def asked_model(files: ServiceFiles) -> Iterator[Finding]:
    for number, line in enumerate(files.readme, 1):
        for asked in MODEL_IN_JSON.findall(line):
            if files.models and not {asked, asked.partition(":")[0]} & files.models.keys():  # or an adapter of one
                first = next(iter(files.models.values())).place("model_loading_config", "model_id")
                yield make_finding(
                    files,
                    registry.README_NAMES_NO_MODEL_OF_THE_SERVICE,
                    at(files, number),
                    what=f"This line asks for the model {asked}, and the models in {shown(files, first)} and below "
                    "do not have it.",
                )
