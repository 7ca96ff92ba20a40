"""Layouts of a model on GPUs other than whole replicas: data-parallel attention, and prefill apart from decode.

Both are made by Ray Serve LLM's own builders. With direct streaming a request goes from HAProxy straight to a replica
here too: to one of the data-parallel ranks, or to a decode replica, which asks a prefill replica first.
"""

from collections.abc import Collection
from typing import Any

from ray.serve import Application
from ray.serve.llm import LLMConfig, build_dp_openai_app, build_pd_openai_app

from serving.app import AppArgs, served

SENDS_KV_CACHE = dict(kv_transfer_config=dict(kv_connector="NixlConnector", kv_role="kv_producer"))
FETCHES_KV_CACHE = dict(kv_transfer_config=dict(kv_connector="NixlConnector", kv_role="kv_consumer"))


def build_data_parallel(
    models: dict[str, LLMConfig],
    args: AppArgs,
    layout: dict[str, Any],
    *,
    gated: Collection[str],
) -> Application:
    """One model on groups of replicas, a rank each: every rank has its own requests and all of the attention, and the
    ranks of a group share the experts out among themselves.

    Args:
        layout: as of `arranged`; its `data_parallel_size` is how many replicas Ray Serve starts and stops together.
        models, args, gated: as of `serving.app.build`.

    Raises:
        ValueError: as `served` and `refuse_others` do; or `profile` is `laptop`.
    """
    refuse_others(args)
    if args.profile == "laptop":  # CpuCommunicator has no all_gatherv, and CPUFusedMOE no expert_map
        raise ValueError("Data-parallel ranks need GPUs: vLLM 0.27 cannot share out experts among CPUs.")
    (config,) = served(models, args, gated).values()
    return build_dp_openai_app({"llm_config": arranged(config, layout)})


def build_prefill_decode(
    models: dict[str, LLMConfig],
    args: AppArgs,
    prefill: dict[str, Any],
    decode: dict[str, Any],
    *,
    gated: Collection[str],
    laptop_model: str,
) -> Application:
    """One model on two kinds of replicas: one computes the KV cache of a prompt, the other fetches it and answers.

    Args:
        prefill, decode: layouts as of `arranged`, each with a `kv_transfer_config` among its engine_kwargs.
        models, args, gated, laptop_model: as of `serving.app.build`.

    Raises:
        ValueError: as `served` and `refuse_others` do.
    """
    refuse_others(args)
    (config,) = served(models, args, gated).values()
    parts = {"prefill_config": prefill, "decode_config": decode}
    configs = {part: arranged(config, layout) for part, layout in parts.items()}
    if args.profile == "laptop":
        from laptop.profile import laptop_profile  # not needed in production, so not imported there

        configs = {part: laptop_profile(one, laptop_model) for part, one in configs.items()}
    return build_pd_openai_app(configs)


def refuse_others(args: AppArgs) -> None:
    """Raises ValueError: options are chosen that only `serving.app.build` knows, and that would be left out here."""
    fields = [(name, field) for name, field in AppArgs.model_fields.items() if name not in ("model", "profile")]
    if chosen := [name for name, field in fields if getattr(args, name) != field.default]:
        raise ValueError(f"{', '.join(chosen)} cannot be combined with this layout. Leave one of them out.")


def arranged(config: LLMConfig, layout: dict[str, Any]) -> LLMConfig:
    """A copy with the fields of a layout in place of its own; of engine_kwargs, those that the layout names."""
    changes = layout | {"engine_kwargs": config.engine_kwargs | layout["engine_kwargs"]}
    # Ray writes the ports of decode replicas into it, which are not those of prefill replicas.
    copy = config.model_copy(update={"experimental_configs": dict(config.experimental_configs), **changes})
    copy._engine_config = None  # what Ray may have made of the fields of the original
    return copy
