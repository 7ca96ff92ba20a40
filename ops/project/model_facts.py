"""What is known of the models that services serve: what decides their memory and speed, as models.yaml has it."""

import json
import os
from pathlib import Path
from typing import Any, Literal

from pydantic import RootModel, model_validator

from ops.project import yaml_models
from ops.project.strict_model import FrozenModel

IRREGULAR = ("block_configs", "linear_num_key_heads", "mamba_d_state")
"""Keys of a config.json whose layers differ: Nemotron's, Qwen3-Next's and Mamba's."""
QWEN_LARGEST_IMAGE = 16384
"""Tokens, by max_pixels in the preprocessor_config.json of Qwen2.5-VL and Qwen3-VL."""


class Experts(FrozenModel):
    """The MLPs of a mixture of experts, of which a router picks a few for each token."""

    count: int
    per_token: int
    intermediate_size: int
    shared: int = 0
    """Experts of the same size that every token goes through."""
    dense_layers: int = 0
    """The first layers, which have one dense MLP instead."""


class Mla(FrozenModel):
    """Multi-head latent attention (DeepSeek-V2, arXiv:2405.04434): one compressed vector a token instead of K and V."""

    q_lora_rank: int | None = None
    """None where queries are not compressed."""
    kv_lora_rank: int
    qk_nope_head_dim: int
    qk_rope_head_dim: int
    v_head_dim: int

    @property
    def cached_size(self) -> int:
        """The size of the vector that is kept of a token, in elements; every GPU of a tensor parallel group keeps all
        of it."""
        return self.kv_lora_rank + self.qk_rope_head_dim


class SlidingWindow(FrozenModel):
    """Layers that attend to the last tokens only."""

    tokens: int
    layers: int


class Vision(FrozenModel):
    """The encoder that turns patches of an image into tokens of the language model."""

    parameters: int
    hidden_size: int
    intermediate_size: int
    gated_mlp: bool = True
    patch_pixels: int
    """The edge of a patch."""
    merge: int = 1
    """merge x merge patches become one token."""
    largest_image_tokens: int
    """The tokens of the largest image that the model's own preprocessor lets through."""
    video: bool = False
    """It takes videos too."""

    @property
    def patches_per_token(self) -> int:
        return self.merge**2

    @property
    def pixels_per_token(self) -> int:
        return (self.patch_pixels * self.merge) ** 2


class ModelFacts(FrozenModel):
    """A decoder-only transformer. Sizes are in elements, unless they say bytes."""

    origin: str
    """The source of the facts, in words."""
    parameters: int
    """The published count, with the vision encoder's."""
    active_parameters: int | None = None
    """The published count of parameters that work on one token; None where all do."""
    layers: int
    hidden_size: int
    attention_heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    intermediate_size: int | None = None
    """The intermediate size of the dense MLPs; None where there are none."""
    gated_mlp: bool = True
    """Three matrices (gate, up, down) instead of two (up, down)."""
    tied_embeddings: bool = False
    """The input embedding serves as the output layer too."""
    mla: Mla | None = None
    """Instead of grouped-query attention."""
    sliding_window: SlidingWindow | None = None
    experts: Experts | None = None
    vision: Vision | None = None
    dtype: str = "bfloat16"
    quantisation: Literal["none", "fp8", "mxfp4"] = "none"
    """The format of the published weights: fp8 for all matrices but the embeddings, mxfp4 for the experts only."""
    context: int
    """The most tokens that it was made for, without stretching its positions."""
    mrope: bool = False
    """Positions of three kinds (time, height, width), for which vLLM keeps a rotary table four times as long."""

    @model_validator(mode="after")
    def check_mxfp4(self) -> "ModelFacts":
        if self.quantisation == "mxfp4" and self.experts is None:
            raise ValueError("quantisation is mxfp4, which is for experts only, and there are no experts")
        return self

    @property
    def dense_mlp_parameters(self) -> int:
        """The parameters of one layer."""
        return (3 if self.gated_mlp else 2) * self.hidden_size * (self.intermediate_size or 0)

    @property
    def expert_parameters(self) -> int:
        """The parameters of one expert of one layer; 0 where there are none."""
        return 3 * self.hidden_size * self.experts.intermediate_size if self.experts else 0

    @property
    def embedding_parameters(self) -> int:
        return self.vocabulary * self.hidden_size


class _ModelsFile(RootModel[dict[str, ModelFacts]]):
    pass


def read(folder: Path) -> dict[str, ModelFacts]:
    """The facts of a service's models, by what serve.py has as model_source; none where it has no models.yaml.

    Raises CommandError: the file does not hold facts; the message names each fault and its place.
    """
    file = folder / "models.yaml"
    return yaml_models.load_as(_ModelsFile, file, "a file of model facts").root if file.is_file() else {}


def attention_projections(facts: ModelFacts, tensor_parallel: int = 1) -> list[int]:
    """The sizes of the matrices before and after the attention of one layer, on one GPU of a tensor parallel group.

    With fewer KV heads than GPUs each GPU has a copy of one. MLA's down-projections are on every GPU whole.
    """
    heads, hidden = facts.attention_heads // tensor_parallel, facts.hidden_size
    if not facts.mla:
        query_key_value = heads + 2 * kv_heads_on_gpu(facts, tensor_parallel)
        return [hidden * facts.head_dim * query_key_value, hidden * facts.head_dim * heads]
    mla = facts.mla
    of_query = heads * (mla.qk_nope_head_dim + mla.qk_rope_head_dim)
    return [
        hidden * ((mla.q_lora_rank or 0) + mla.cached_size),
        (mla.q_lora_rank or hidden) * of_query,
        mla.kv_lora_rank * heads * (mla.qk_nope_head_dim + mla.v_head_dim),
        heads * mla.v_head_dim * hidden,
    ]


def attention_parameters(facts: ModelFacts) -> int:
    """The parameters of one layer."""
    return sum(attention_projections(facts))


def kv_heads_on_gpu(facts: ModelFacts, tensor_parallel: int) -> int:
    return max(1, facts.kv_heads // tensor_parallel)


def count_parameters(facts: ModelFacts) -> int:
    """The parameters by the shape, without biases and norms: within 1 % of what is published."""
    dense_layers, expert_layers = layers_by_mlp(facts, 0, facts.layers)
    total = facts.layers * attention_parameters(facts) + dense_layers * facts.dense_mlp_parameters
    if facts.experts:
        router = facts.hidden_size * facts.experts.count
        total += expert_layers * ((facts.experts.count + facts.experts.shared) * facts.expert_parameters + router)
    total += facts.embedding_parameters * (1 if facts.tied_embeddings else 2)
    return total + (facts.vision.parameters if facts.vision else 0)


def layers_by_mlp(facts: ModelFacts, first: int, end: int) -> tuple[int, int]:
    """How many of the layers from `first` to before `end` have a dense MLP, and how many have experts."""
    dense_until = facts.experts.dense_layers if facts.experts else facts.layers
    dense = max(0, min(end, dense_until) - first)
    return dense, end - first - dense


def from_config(config: dict[str, Any], origin: str = "its config.json") -> ModelFacts:
    """The facts that a model's own config.json has, as Hugging Face's transformers writes it.

    Raises:
        KeyError: it lacks a size.
        ValueError: it is of a shape that is not known here, such as layers that differ from each other.
    """
    text = config.get("text_config") or config
    if any(text.get(key) for key in IRREGULAR):
        raise ValueError("Its layers differ from each other; how much memory they take is not known here.")
    method = (config.get("quantization_config") or {}).get("quant_method", "none")
    if method not in ("none", "fp8", "mxfp4"):
        raise ValueError(f"How much memory weights take that are quantised with {method} is not known here.")
    hidden, heads, experts = text["hidden_size"], text["num_attention_heads"], _experts(text)
    facts = ModelFacts(
        origin=origin,
        parameters=0,
        layers=text["num_hidden_layers"],
        hidden_size=hidden,
        attention_heads=heads,
        kv_heads=text.get("num_key_value_heads") or heads,
        head_dim=text.get("head_dim") or text.get("v_head_dim") or hidden // heads,
        vocabulary=text["vocab_size"],
        intermediate_size=None if experts and not experts.dense_layers else text["intermediate_size"],
        gated_mlp=text.get("hidden_act") != "gelu_new",  # that of phi-2; the others here have a gate
        tied_embeddings=config.get("tie_word_embeddings", False),
        mla=_mla(text),
        sliding_window=_sliding_window(text),
        experts=experts,
        vision=_vision(config),
        dtype=text.get("torch_dtype") or text.get("dtype") or "bfloat16",
        quantisation=method,
        context=text["max_position_embeddings"],
        mrope="mrope_section" in (text.get("rope_scaling") or {}),
    )
    return facts.model_copy(update={"parameters": count_parameters(facts)})


def _experts(text: dict[str, Any]) -> Experts | None:
    count = next((text[key] for key in ("num_experts", "num_local_experts", "n_routed_experts") if text.get(key)), 0)
    if not count:
        return None
    return Experts(
        count=count,
        per_token=text["num_experts_per_tok"],
        intermediate_size=text.get("moe_intermediate_size") or text["intermediate_size"],
        shared=text.get("n_shared_experts") or 0,
        dense_layers=text.get("first_k_dense_replace") or 0,
    )


def _mla(text: dict[str, Any]) -> Mla | None:
    return Mla(**{key: text[key] for key in Mla.model_fields}) if text.get("kv_lora_rank") else None


def _sliding_window(text: dict[str, Any]) -> SlidingWindow | None:
    """A window as wide as the context, or one that is switched off, is none."""
    tokens = text.get("sliding_window")
    if not tokens or tokens >= text["max_position_embeddings"] or text.get("use_sliding_window") is False:
        return None
    kinds = text.get("layer_types") or ["sliding_attention"] * text["num_hidden_layers"]
    return SlidingWindow(tokens=tokens, layers=kinds.count("sliding_attention"))


def _vision(config: dict[str, Any]) -> Vision | None:
    """The vision encoder of Qwen's models, which describe themselves in this way."""
    encoder = config.get("vision_config")
    if not encoder:
        return None
    hidden, merge = encoder["hidden_size"], encoder["spatial_merge_size"]
    gated = encoder.get("hidden_act") == "silu"
    layer = 4 * hidden**2 + (3 if gated else 2) * hidden * encoder["intermediate_size"]
    merged = hidden * merge**2
    mergers = 1 + len(encoder.get("deepstack_visual_indexes", []))
    return Vision(
        parameters=encoder["depth"] * layer + mergers * merged * (merged + encoder["out_hidden_size"]),
        hidden_size=hidden,
        intermediate_size=encoder["intermediate_size"],
        gated_mlp=gated,
        patch_pixels=encoder["patch_size"],
        merge=merge,
        largest_image_tokens=QWEN_LARGEST_IMAGE,
        video="video_token_id" in config,
    )


def differences(facts: ModelFacts, config: dict[str, Any]) -> list[str]:
    """What a model's config.json says otherwise than these facts, a sentence each.

    Raises KeyError and ValueError as `from_config` does.
    """
    ours, its = _shape(facts), _shape(from_config(config))
    pairs = {name: (ours.get(name), its.get(name)) for name in ours | its}
    return [
        f"{name} is {here} here and {there} in config.json" for name, (here, there) in pairs.items() if here != there
    ]


def _shape(facts: ModelFacts) -> dict[str, Any]:
    """What config.json tells of a model, by name, such as `experts.count`."""
    nested = facts.model_dump(exclude={"origin", "parameters", "active_parameters"})
    if facts.vision:
        nested["vision"] = facts.vision.model_dump(exclude={"parameters", "largest_image_tokens"})
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        flat |= {f"{name}.{key}": one for key, one in value.items()} if isinstance(value, dict) else {name: value}
    return flat


def config_at_hand(source: str) -> dict[str, Any] | None:
    """The config.json of a model that lies on this machine: in a folder, or in Hugging Face's cache; else None."""
    cache = Path(os.environ.get("HF_HOME") or "~/.cache/huggingface").expanduser() / "hub"
    snapshots = cache / f"models--{source.replace('/', '--')}" / "snapshots"
    for file in (Path(source) / "config.json", *sorted(snapshots.glob("*/config.json"))):
        if file.is_file():
            return json.loads(file.read_text())
    return None
