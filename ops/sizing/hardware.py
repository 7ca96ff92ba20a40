"""GPUs and machines: their memory, speed and price, as hardware.yaml beside this file has them."""

from datetime import date
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat, RootModel, model_validator

from ops.project import yaml_models
from ops.project.strict_model import FrozenModel

FILE = Path(__file__).with_name("hardware.yaml")


class Accelerator(FrozenModel):
    """One GPU. The figures of data sheets are peaks; none of them is reached."""

    name: str
    ray_name: str
    """The resource that Ray gives a node that has it: A100 for both sizes of A100."""
    memory_mib: int
    """The memory as nvidia-smi reports it."""
    cuda_memory_gib: float
    """The memory as CUDA reports it to a process; vLLM takes its share (gpu_memory_utilization) of this."""
    bandwidth_gb_per_s: float
    """The bandwidth of its memory."""
    link_gb_per_s: float
    """The bandwidth to another GPU of the same node, one way."""
    bf16_tflops: float | None = None
    """Dense; None where it has no bf16."""
    fp8_tflops: float | None = None
    """Dense; None where it has no fp8."""
    source: str
    as_of: date

    @property
    def memory_bytes(self) -> int:
        """What vLLM sees of its memory."""
        return int(self.cuda_memory_gib * 2**30)

    @property
    def bandwidth_bytes_per_s(self) -> float:
        return self.bandwidth_gb_per_s * 1e9

    @property
    def bf16_flops(self) -> float | None:
        return self.bf16_tflops and self.bf16_tflops * 1e12

    @property
    def fp8_flops(self) -> float | None:
        return self.fp8_tflops and self.fp8_tflops * 1e12


class PriceList(FrozenModel):
    region: str
    source: str
    as_of: date


class Quota(FrozenModel):
    """A limit of a cloud account."""

    name: str
    """The name on the cloud's quota page."""
    counts: Literal["vcpus", "gpus"]


class Instance(FrozenModel):
    """An instance type of AWS or a machine type of GCP."""

    name: str
    accelerator: str | None = None
    gpus: int = 0
    vcpus: int
    memory_gib: float
    nvme_gb: int | None = None
    """The local disks that come with it, together; None where none do."""
    nvme_gb_per_s: float | None = None
    """How fast they read, together; None where it is not known."""
    network_gbit: float
    bursts: bool = False
    """`network_gbit` is for a while only."""
    quota: str
    price_list: str | None = None
    usd_per_hour: PositiveFloat | None = None
    """The price on demand; None where it is not known, or not sold that way."""


class Hardware(FrozenModel):
    accelerators: dict[str, Accelerator]
    price_lists: dict[str, PriceList]
    quotas: dict[str, Quota]
    instances: dict[str, Instance]

    @model_validator(mode="before")
    @classmethod
    def name_entries(cls, data: dict) -> dict:
        """Each entry is named by its key."""
        accelerators = {key: {"name": key, "ray_name": key} | item for key, item in data["accelerators"].items()}
        instances = {key: {"name": key} | item for key, item in data["instances"].items()}
        return data | {"accelerators": accelerators, "instances": instances}

    @model_validator(mode="after")
    def check_names(self) -> "Hardware":
        for one in self.instances.values():
            if one.accelerator and one.accelerator not in self.accelerators:
                raise ValueError(f"{one.name} has a {one.accelerator}, which is not among the accelerators")
            if one.quota not in self.quotas:
                raise ValueError(f"{one.name} counts towards {one.quota}, which is not among the quotas")
            if one.usd_per_hour is not None and one.price_list not in self.price_lists:
                raise ValueError(f"{one.name} has a price from {one.price_list}, which is not among the price_lists")
        return self


class Price(FrozenModel):
    usd_per_hour: float
    source: str
    """The source and date, in words."""


class OwnPrices(RootModel[dict[str, float]]):
    """The content of a file for `--prices`: USD per hour by instance type."""

    root: dict[str, float] = Field(min_length=1)


@cache
def load() -> Hardware:
    return yaml_models.load_as(Hardware, FILE, "a list of hardware")


def accelerator(name: str) -> Accelerator | None:
    """The GPU that Ray, or hardware.yaml, calls by that name; None where it is not known.

    A100 is either of two sizes to Ray: then the smaller, as what fits that fits both.
    """
    known = load().accelerators
    named = [known[name]] if name in known else [one for one in known.values() if one.ray_name == name]
    return min(named, key=lambda one: one.memory_mib, default=None)


def instance(name: str) -> Instance | None:
    return load().instances.get(name)


def quota(of: Instance) -> Quota:
    return load().quotas[of.quota]


def own_prices(file: Path) -> dict[str, float]:
    """Raises CommandError: the file is not there, or not of `instance type: USD per hour` lines."""
    return yaml_models.load_as(OwnPrices, file, "a list of prices, `<instance type>: <USD per hour>`").root


def price(name: str, own: dict[str, float]) -> Price | None:
    """What an instance costs on demand: one's own price where there is one; None where none is known."""
    if name in own:
        return Price(usd_per_hour=own[name], source="your prices")
    known = instance(name)
    if known is None or known.usd_per_hour is None or known.price_list is None:
        return None
    listed = load().price_lists[known.price_list]
    source = f"{listed.source}, {listed.region}, on demand, {listed.as_of}"
    return Price(usd_per_hour=known.usd_per_hour, source=source)
