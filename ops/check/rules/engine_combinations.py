"""Settings of one model that need, exclude or override one another."""

from collections.abc import Iterator
from dataclasses import dataclass

from ops.check import registry
from ops.check.finding import Finding, make_finding
from ops.check.registry import Rule
from ops.project.coercion import mapping, number
from ops.project.serve_py import Model
from ops.project.service_files import ServiceFiles


@dataclass(frozen=True)
class Need:
    """An engine argument that needs another one to be set."""

    name: str
    needs: str
    without: str
    """What happens without."""
    rule: Rule = registry.NEEDS_ANOTHER_SETTING


NO_LORA = "Without it vLLM makes no LoRA configuration at all, and an adapter cannot be loaded."
ADAPTERS = ("lora_modules", "default_mm_loras")
"""Engine arguments that name adapters, which are then not served; the others only say how to hold them."""
NEEDS = [
    Need(
        "enable_auto_tool_choice",
        "tool_call_parser",
        "vLLM then has no parser, and a call to a tool comes back as text in `content`.",
    ),
    Need(
        "tool_call_parser",
        "enable_auto_tool_choice",
        "vLLM then takes no parser, and answers requests that have tools with status 400.",
    ),
    Need(
        "enable_log_outputs",
        "enable_log_requests",
        "vLLM then has no logger for requests, and logs no output.",
        registry.SETTING_WITHOUT_EFFECT,
    ),
    Need("enable_eplb", "enable_expert_parallel", "vLLM refuses the one without the other, and no replica starts."),
    *[
        Need(
            name,
            "enable_lora",
            NO_LORA,
            registry.NEEDS_ANOTHER_SETTING if name in ADAPTERS else registry.SETTING_WITHOUT_EFFECT,
        )
        for name in (
            "lora_modules",
            "max_loras",
            "max_lora_rank",
            "max_cpu_loras",
            "lora_dtype",
            "fully_sharded_loras",
            "lora_target_modules",
            "default_mm_loras",
            "enable_tower_connector_lora",
            "specialize_active_lora",
            "enable_mixed_moe_lora_format",
            "enable_moe_shared_loras",
        )
    ],
]

SAME_SETTING = {
    "attention_backend": ("attention_config", "backend"),
    "cudagraph_capture_sizes": ("compilation_config", "cudagraph_capture_sizes"),
    "max_cudagraph_capture_size": ("compilation_config", "max_cudagraph_capture_size"),
    "enable_flashinfer_autotune": ("kernel_config", "enable_flashinfer_autotune"),
    "spec_method": ("speculative_config", "method"),
    "spec_model": ("speculative_config", "model"),
    "spec_tokens": ("speculative_config", "num_speculative_tokens"),
}
"""Engine arguments, and the field of a structured one that is the same. AsyncEngineArgs.create_engine_config and
create_speculative_config of vLLM 0.27 refuse both together."""

COMPILED = [
    ("cudagraph_capture_sizes",),
    ("max_cudagraph_capture_size",),
    ("compilation_config", "mode"),
    ("compilation_config", "cudagraph_mode"),
    ("compilation_config", "cudagraph_capture_sizes"),
    ("compilation_config", "max_cudagraph_capture_size"),
]
"""What `enforce_eager` overrides. Source: VllmConfig.__post_init__ of vLLM 0.27."""

OFF = (None, False, 0, "0", "NONE", "none")


def findings(files: ServiceFiles) -> Iterator[Finding]:
    for model in files.models.values():
        yield from model_id(files, model)
        yield from needs(files, model)
        yield from given_twice(files, model)
        yield from eager(files, model)
        yield from memory(files, model)
        yield from metrics(files, model)
        yield from lora(files, model)
        yield from sizes(files, model)


def model_id(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    """Characters that Ray gives a meaning to: get_base_model_id and replace_prefix of Ray 2.59."""
    meanings = {
        ":": "Ray's OpenAiIngress takes what follows it for the name of a LoRA adapter, and answers 404",
        "--": "Ray's OpenAiIngress reads it as / in GET /v1/models/..., and answers 404",
    }
    for text, meaning in meanings.items():
        if text in model.id:
            yield make_finding(
                files,
                registry.MODEL_ID_FOR_DIRECT_STREAMING_ONLY
                if files.direct_streaming
                else registry.MODEL_ID_WITH_A_MEANING,
                model.place("model_loading_config", "model_id"),
                what=f"The model id {model.id} contains `{text}`.",
                why=f"{meaning}. With direct streaming it works until that is turned off."
                if files.direct_streaming
                else f"{meaning}.",
            )


def needs(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    engine = mapping(model.engine)
    for need in NEEDS:
        if engine.get(need.name) not in (None, False) and not engine.get(need.needs):
            yield make_finding(
                files,
                need.rule,
                model.place("engine_kwargs", need.name),
                what=f"`{need.name}` is set without `{need.needs}`.",
                why=need.without,
                fix=f"Set `{need.needs}` too, or take `{need.name}` away.",
            )


def given_twice(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    for name, (config, key) in SAME_SETTING.items():
        if (
            mapping(model.engine).get(name) is not None
            and mapping(mapping(model.engine).get(config)).get(key) is not None
        ):
            yield make_finding(
                files,
                registry.ARGUMENT_SET_TWICE,
                model.place("engine_kwargs", name),
                what=f"`{name}` and `{config}` both set `{key}`.",
                fix=f"Keep one of them, such as `{name}`.",
            )


def eager(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    if mapping(model.engine).get("enforce_eager") is not True:
        return
    for way in COMPILED:
        if model.get("engine_kwargs", *way) not in OFF:
            yield make_finding(
                files,
                registry.OVERRIDDEN_SETTING,
                model.place("engine_kwargs", *way),
                what=f"`{'.'.join(way)}` is set beside `enforce_eager`.",
                why="`enforce_eager` turns torch.compile and CUDA graphs off, whatever this says; tokens come slower.",
                fix="Remove one of the two. In production `enforce_eager` is seldom meant.",
            )


def memory(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    engine = mapping(model.engine)
    if engine.get("kv_cache_memory_bytes") and "gpu_memory_utilization" in engine:
        yield make_finding(
            files,
            registry.OVERRIDDEN_SETTING,
            model.place("engine_kwargs", "gpu_memory_utilization"),
            what="`gpu_memory_utilization` is set beside `kv_cache_memory_bytes`.",
            why="vLLM then takes the size of the KV cache as it is given, and does not respect the utilisation.",
            fix="Keep `gpu_memory_utilization`, unless the bytes were measured for this GPU and model.",
        )


def metrics(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    if mapping(model.engine).get("disable_log_stats") and model.get("log_engine_metrics", default=True):
        yield make_finding(
            files,
            registry.METRICS_WITHOUT_STATISTICS,
            model.place("engine_kwargs", "disable_log_stats"),
            what="`disable_log_stats` is set, and `log_engine_metrics` is on, as by default.",
        )


def lora(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    if model.get("lora_config") and not mapping(model.engine).get("enable_lora"):
        yield make_finding(
            files,
            registry.NEEDS_ANOTHER_SETTING,
            model.place("lora_config"),
            what="`lora_config` is set without `enable_lora` in `engine_kwargs`.",
            why="Ray downloads the adapter that a request asks for, and vLLM then refuses to load it.",
            fix="Set `enable_lora=True` and a `max_lora_rank` in `engine_kwargs`.",
        )


def sizes(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    """Sizes that SchedulerConfig and LoRAConfig of vLLM 0.27 refuse together."""
    engine = mapping(model.engine)
    at_most = {
        ("max_num_seqs", "max_num_batched_tokens"): True,
        ("long_prefill_token_threshold", "max_model_len"): True,
        ("max_loras", "max_cpu_loras"): bool(engine.get("enable_lora")),
        ("max_model_len", "max_num_batched_tokens"): engine.get("enable_chunked_prefill") is False,
    }
    for (smaller, larger), applies in at_most.items():
        low, high = number(engine.get(smaller)), number(engine.get(larger))
        if applies and low is not None and high is not None and low > high > 0:
            yield make_finding(
                files,
                registry.SIZE_ABOVE_ITS_LIMIT,
                model.place("engine_kwargs", smaller),
                what=f"`{smaller}` is {low}, more than `{larger}`, {high}"
                f"{', and chunked prefill is off' if smaller == 'max_model_len' else ''}.",
                fix=f"Lower `{smaller}` or raise `{larger}`.",
            )
