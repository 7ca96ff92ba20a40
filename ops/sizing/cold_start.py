"""How long a replica takes to its first token where nothing is there yet, by part: computed, measured or not known."""

from dataclasses import dataclass

from ops.project.model_facts import ModelFacts, layers_by_mlp
from ops.project.serve_py import Model
from ops.project.strict_model import StrictModel
from ops.sizing.hardware import Instance
from ops.sizing.memory.engine_settings import DTYPE_BYTES
from ops.sizing.throughput import EXPERT_BYTES

DOWNLOAD_BYTES_PER_S = 250e6  # guess: what Hugging Face's servers give one node
DISK_BYTES_PER_S = 1e9  # guess: of one NVMe disk, as AWS does not publish how fast those of its GPU machines read
MEASURED_ON = "H200, random weights, Ray 2.58.1, vLLM 0.26.0, 2026-11-22"


@dataclass(frozen=True)
class Start:
    """One start of a replica, as vLLM's log and scripts/dev told it, in seconds."""

    source: str
    engine_s: int
    """Importing vLLM, and starting the engine and its workers."""
    compile_s: int
    """torch.compile"""
    capture_s: int
    """CUDA graphs"""
    warm_up_s: int
    """The rest of "init engine": the profile run, kernels that are compiled when they are first used."""
    kernels_cached: bool
    """Whether an earlier run had left its kernels, which a new machine does not have."""
    answer_s: int
    """The HTTP routes and the first token."""


STARTS = [  # two at a time, on 32 cores; the README.md of each service has the rest
    Start("openai/gpt-oss-20b", 107, 23, 66, 110, False, 8),
    Start("openai/gpt-oss-120b", 103, 25, 109, 22, True, 9),
    Start("Qwen/Qwen3-32B", 103, 52, 9, 14, True, 6),  # on two GPUs
    Start("Qwen/QwQ-32B", 91, 39, 9, 14, True, 7),
    Start("Qwen/Qwen2.5-VL-7B-Instruct", 96, 27, 6, 101, False, 7),
]


class Part(StrictModel):
    name: str
    least_s: float | None
    """None where it is not known."""
    most_s: float | None
    how: str
    """The source of the figure, in words."""


class ColdStart(StrictModel):
    parts: list[Part]
    """One after the other."""
    least_s: float
    """The sum of the parts that are known."""
    most_s: float
    measured_on: str
    """What the measured parts ran on; other GPUs and disks take other times."""


def of(model: Model, facts: ModelFacts | None, instance: Instance | None) -> ColdStart:
    """The time from a request for a machine to the first token, by part."""
    parts = [
        Part(name="machine found and started", least_s=None, most_s=None, how="depends on what the cloud has free"),
        Part(name="image pulled", least_s=None, most_s=None, how="depends on its size and its registry"),
        *weights(model, facts, instance),
        *measured(model),
    ]
    return ColdStart(
        parts=parts,
        least_s=sum(part.least_s or 0 for part in parts),
        most_s=sum(part.most_s or 0 for part in parts),
        measured_on=MEASURED_ON,
    )


def weights(model: Model, facts: ModelFacts | None, instance: Instance | None) -> list[Part]:
    """Each node downloads all of the weights, and its GPUs read them from there."""
    downloaded, read = "weights downloaded", "weights read"
    if facts is None or instance is None:
        how = "the model is not known" if facts is None else "the machine is not known"
        return [Part(name=name, least_s=None, most_s=None, how=how) for name in (downloaded, read)]
    size, disk = checkpoint_bytes(facts), instance.nvme_gb_per_s
    network = min(DOWNLOAD_BYTES_PER_S, instance.network_gbit * 1e9 / 8)
    first = computed(downloaded, size, network, "from Hugging Face", "a guess")
    if "://" in model.source:
        first = Part(name=downloaded, least_s=None, most_s=None, how=f"from {model.source}, which was not measured")
    speed, source = (disk * 1e9, "the cloud's figure") if disk else (DISK_BYTES_PER_S, "a guess")
    return [first, computed(read, size, speed, "from disk", source)]


def computed(name: str, size: float, bytes_per_s: float, where: str, source: str) -> Part:
    seconds, speed = size / bytes_per_s, f"{bytes_per_s / 1e9:g} GB/s"
    return Part(name=name, least_s=seconds, most_s=seconds, how=f"{size / 1e9:.0f} GB {where} at {speed} ({source})")


def checkpoint_bytes(facts: ModelFacts) -> float:
    """The size of the published weights."""
    if facts.quantisation == "fp8":
        return facts.parameters
    if facts.quantisation == "none" or facts.experts is None:  # mxfp4 is for experts only
        return facts.parameters * DTYPE_BYTES[facts.dtype]
    _, layers = layers_by_mlp(facts, 0, facts.layers)
    experts = layers * facts.experts.count * facts.expert_parameters
    return experts * EXPERT_BYTES[facts.quantisation] + (facts.parameters - experts) * DTYPE_BYTES[facts.dtype]


def measured(model: Model) -> list[Part]:
    """What starts of this model took, or of all that were measured. Kernels are compiled, as on a new machine."""
    own = [start for start in STARTS if start.source == model.source] or STARTS
    new = [start for start in own if not start.kernels_cached] or [one for one in STARTS if not one.kernels_cached]
    figures = [
        span("vLLM imported, engine started", own, "engine_s"),
        span("torch.compile", own, "compile_s"),
        span("CUDA graphs captured", own, "capture_s"),
        span("kernels compiled, profile run", new, "warm_up_s"),
        span("first token", own, "answer_s"),
    ]
    eager = model.engine.get("enforce_eager")
    return [part for part in figures if not (eager and part.name in ("torch.compile", "CUDA graphs captured"))]


def span(name: str, starts: list[Start], field: str) -> Part:
    seconds = [getattr(start, field) for start in starts]
    of = f"{len(starts)} models" if len(starts) > 1 else starts[0].source
    return Part(name=name, least_s=min(seconds), most_s=max(seconds), how=f"measured: {of}")
