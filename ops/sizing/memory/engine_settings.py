"""What vLLM 0.27 makes of engine_kwargs, as far as it decides memory: its own defaults where a setting is not given."""

from dataclasses import dataclass
from typing import Any

from ops.project.model_facts import ModelFacts

MIB, GIB = 2**20, 2**30
DTYPE_BYTES = {"bfloat16": 2, "float16": 2, "half": 2, "float32": 4, "float": 4}
HOPPER = ("H100", "H200")
UNKNOWN = {
    "speculative_config": "the draft tokens of speculative decoding",
    "hf_overrides": "models whose config.json is changed",
    "cpu_offload_gb": "weights that are partly in the memory of the machine",
    "num_gpu_blocks_override": "a fixed number of blocks of KV cache",
    "block_size": "blocks of another size",
    "disable_hybrid_kv_cache_manager": "sliding windows without the hybrid KV cache manager",
    "skip_mm_profiling": "images that nothing is set aside for",
    "mm_ipc_gpu_memory_gb": "images that are prepared on the GPU",
    "enable_eplb": "copies of experts",
    "fully_sharded_loras": "adapters that are shared out among GPUs",
    "lora_dtype": "adapters of another data type",
    "lora_target_modules": "adapters of some layers only",
    "specialize_active_lora": "CUDA graphs for each number of adapters",
}
"""Settings that change how much memory is needed in ways that are not known here, and what they bring."""
UNKNOWN_SIZES = ("decode_context_parallel_size", "prefill_context_parallel_size")


class NotKnown(ValueError):
    """The memory of this model with these settings cannot be told; the message says why, in a sentence."""


@dataclass(frozen=True)
class EngineSettings:
    tensor_parallel: int
    pipeline_parallel: int
    data_parallel: int
    """Ranks that share the experts out among themselves, and nothing else."""
    max_model_len: int
    gpu_memory_utilization: float
    kv_cache_bytes: int | None
    """What kv_cache_memory_bytes sets aside, instead of what is left of gpu_memory_utilization."""
    dtype_bytes: int
    kv_element_bytes: int
    quantisation: str
    max_num_seqs: int
    max_num_batched_tokens: int
    compiled: bool
    """Whether torch.compile compiles the model, with CUDA graphs."""
    model_runner_v2: bool
    image_tokens: int
    """The tokens of the images that the profile run encodes at once; 0 without a vision encoder."""
    hopper: bool
    adapter_slots: int
    """The slots for LoRA adapters that compute at the same time; 0 without LoRA."""
    adapter_rank: int

    @property
    def expert_parallel(self) -> int:
        """GPUs that the experts of a layer are shared out among: whole ones, or with tensor parallelism a part of each.
        (FusedMoEParallelConfig.make)"""
        return self.tensor_parallel * self.data_parallel


def most_requests(engine_kwargs: dict[str, Any], memory_bytes: int, gpu: str) -> int:
    """max_num_seqs: the requests that one batch can have. Raises NotKnown.

    The defaults are EngineArgs.get_batch_defaults of vLLM 0.27, for an OpenAI server, as Ray Serve LLM starts it.
    """
    return number(engine_kwargs, "max_num_seqs", 1024 if is_large(memory_bytes, gpu) else 256)


def is_large(memory_bytes: int, gpu: str) -> bool:
    """Whether vLLM takes larger batches on this GPU."""
    return memory_bytes >= 70 * GIB and not gpu.startswith("A100")


def engine(
    facts: ModelFacts, engine_kwargs: dict[str, Any], memory_bytes: int, gpu: str, env: dict[str, Any]
) -> EngineSettings:
    """The settings that a replica runs with. Raises NotKnown."""
    refuse_unknown(engine_kwargs)
    max_model_len = number(engine_kwargs, "max_model_len", facts.context)
    max_num_seqs = most_requests(engine_kwargs, memory_bytes, gpu)
    batched = min(8192 if is_large(memory_bytes, gpu) else 2048, max_num_seqs * max_model_len)
    batched = number(engine_kwargs, "max_num_batched_tokens", batched)
    tensor_parallel = number(engine_kwargs, "tensor_parallel_size", 1)
    pipeline_parallel = number(engine_kwargs, "pipeline_parallel_size", 1)
    data_parallel = number(engine_kwargs, "data_parallel_size", 1)
    if data_parallel > 1 and facts.experts is None:
        raise NotKnown("data_parallel_size is for models with experts; of others it makes copies that share nothing.")
    lora = bool(engine_kwargs.get("enable_lora"))
    if lora and (facts.experts or facts.mla or facts.vision):
        raise NotKnown("How much memory LoRA adapters take is known here for dense text models only.")
    if tensor_parallel > facts.attention_heads or pipeline_parallel > facts.layers:
        raise NotKnown("It cannot be shared out among so many GPUs.")
    return EngineSettings(
        tensor_parallel=tensor_parallel,
        pipeline_parallel=pipeline_parallel,
        data_parallel=data_parallel,
        max_model_len=max_model_len,
        gpu_memory_utilization=share(engine_kwargs, "gpu_memory_utilization", 0.92),
        kv_cache_bytes=number(engine_kwargs, "kv_cache_memory_bytes", 0) or None,
        dtype_bytes=dtype_bytes(facts, engine_kwargs),
        kv_element_bytes=kv_element_bytes(facts, engine_kwargs),
        quantisation=quantisation(facts, engine_kwargs),
        max_num_seqs=min(max_num_seqs, batched),
        max_num_batched_tokens=batched,
        compiled=not engine_kwargs.get("enforce_eager"),
        model_runner_v2=uses_model_runner_v2(facts, env),
        image_tokens=image_tokens(facts, engine_kwargs, max_num_seqs, batched, max_model_len),
        hopper=gpu.startswith(HOPPER),
        adapter_slots=number(engine_kwargs, "max_loras", 1) if lora else 0,
        adapter_rank=number(engine_kwargs, "max_lora_rank", 16) if lora else 0,
    )


def refuse_unknown(engine_kwargs: dict[str, Any]) -> None:
    given = [what for key, what in UNKNOWN.items() if engine_kwargs.get(key)]
    given += [f"replicas with {key}={engine_kwargs[key]}" for key in UNKNOWN_SIZES if engine_kwargs.get(key, 1) != 1]
    if given:
        raise NotKnown(f"How much memory {given[0]} take is not known here.")


def number(engine_kwargs: dict[str, Any], key: str, default: int) -> int:
    value = engine_kwargs.get(key)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise NotKnown(f"{key} is {value!r}, which is not a number that this arithmetic knows.")
    return value


def share(engine_kwargs: dict[str, Any], key: str, default: float) -> float:
    value = engine_kwargs.get(key, default)
    if not isinstance(value, int | float) or not 0 < value <= 1:
        raise NotKnown(f"{key} is {value!r}, which is not a share of a GPU's memory.")
    return float(value)


def dtype_bytes(facts: ModelFacts, engine_kwargs: dict[str, Any]) -> int:
    dtype = engine_kwargs.get("dtype", "auto")
    dtype = facts.dtype if dtype == "auto" else dtype
    if dtype not in DTYPE_BYTES:
        raise NotKnown(f"How much memory weights of dtype={dtype!r} take is not known here.")
    return DTYPE_BYTES[dtype]


def kv_element_bytes(facts: ModelFacts, engine_kwargs: dict[str, Any]) -> int:
    dtype = str(engine_kwargs.get("kv_cache_dtype", "auto"))
    if dtype == "auto":
        return dtype_bytes(facts, engine_kwargs)
    if dtype in ("fp8", "fp8_e4m3", "fp8_e5m2"):
        return 1
    if dtype in DTYPE_BYTES:
        return DTYPE_BYTES[dtype]
    raise NotKnown(f"How much memory kv_cache_dtype={dtype!r} takes is not known here.")


def quantisation(facts: ModelFacts, engine_kwargs: dict[str, Any]) -> str:
    """The format of the weights in memory: vLLM turns unquantised ones into fp8 as it loads them where asked to."""
    asked = engine_kwargs.get("quantization")
    if asked is None or asked == facts.quantisation or (asked == "fp8" and facts.quantisation == "none"):
        return asked or facts.quantisation
    raise NotKnown(f"How much memory weights take with quantization={asked!r} is not known here.")


def uses_model_runner_v2(facts: ModelFacts, env: dict[str, Any]) -> bool:
    """Whether vLLM uses its V2 model runner (VllmConfig.use_v2_model_runner): by default for models without experts."""
    told = str(env.get("VLLM_USE_V2_MODEL_RUNNER", "")).lower()
    return told in ("1", "true") if told else facts.experts is None


def image_tokens(
    facts: ModelFacts, engine_kwargs: dict[str, Any], max_num_seqs: int, batched: int, max_model_len: int
) -> int:
    """The tokens of the images that the profile run encodes: as many of the largest as fit a batch
    (MultiModalBudget)."""
    if not facts.vision or engine_kwargs.get("language_model_only"):
        return 0
    limits, processor = engine_kwargs.get("limit_mm_per_prompt") or {}, engine_kwargs.get("mm_processor_kwargs") or {}
    if not isinstance(limits, dict) or not isinstance(limits.get("image", 999), int) or not isinstance(processor, dict):
        raise NotKnown("limit_mm_per_prompt or mm_processor_kwargs is given in a way that is not counted with here.")
    limit = limits.get("image", 999)  # vLLM's own limit
    if limit == 0:
        return 0
    if facts.vision.video and limits.get("video", 999) != 0:
        raise NotKnown("How much memory videos take is not known here. Their limit_mm_per_prompt is not 0.")
    pixels = number(processor, "max_pixels", 0)
    largest = max(1, pixels // facts.vision.pixels_per_token) if pixels else facts.vision.largest_image_tokens
    at_once = max(batched, largest) // largest
    return largest * min(at_once, max_num_seqs * max(1, min(limit, max_model_len // largest)))
