"""How vLLM 0.27 lays out the KV cache, and how many tokens it holds: vllm/v1/core/kv_cache_utils.py in few words."""

from dataclasses import dataclass

from ops.project.model_facts import ModelFacts, kv_heads_on_gpu
from ops.sizing.memory.engine_settings import EngineSettings
from ops.sizing.memory.weights import PipelineStage

BLOCK_TOKENS = 16  # CacheConfig.DEFAULT_BLOCK_SIZE, which FlashAttention keeps, for MLA too


@dataclass(frozen=True)
class KvLayout:
    """Blocks of tokens on one GPU. A block is of one group of layers, and all groups draw from the same pool."""

    page_bytes: int
    """The size of one layer in one block."""
    group_layers: int
    """Layers in a group, on this GPU."""
    full_groups: int
    """Groups whose layers keep every token."""
    window_groups: int
    """Groups whose layers keep a sliding window."""
    window_tokens: int
    """The most tokens that such a group keeps of a request: the window, and what is being computed."""

    @property
    def block_bytes(self) -> int:
        return self.page_bytes * self.group_layers

    def blocks(self, memory_bytes: int) -> int:
        return max(0, memory_bytes) // self.page_bytes // self.group_layers

    def blocks_of_request(self, tokens: int) -> int:
        """The most blocks that a request of so many tokens takes."""
        windowed = -(-min(tokens, self.window_tokens) // BLOCK_TOKENS) + 1  # a window may begin within a block
        return self.full_groups * -(-tokens // BLOCK_TOKENS) + self.window_groups * windowed


def kv_bytes_per_token(facts: ModelFacts, engine: EngineSettings) -> int:
    """The KV cache of a token in one layer on one GPU. Every GPU of a tensor parallel group keeps the whole of MLA's
    vector."""
    if facts.mla:
        return facts.mla.cached_size * engine.kv_element_bytes
    return 2 * kv_heads_on_gpu(facts, engine.tensor_parallel) * facts.head_dim * engine.kv_element_bytes


def layout(facts: ModelFacts, engine: EngineSettings, stage: PipelineStage) -> KvLayout:
    """The groups of layers: _get_kv_cache_groups_uniform_page_size groups those of the model, and a stage takes its
    part."""
    windowed = facts.sliding_window.layers if facts.sliding_window else 0
    full = facts.layers - windowed
    counts = [count for count in (full, windowed) if count]
    group = max(counts) if max(counts) < 1.5 * min(counts) else min(counts)
    window = facts.sliding_window.tokens - 1 if facts.sliding_window else 0
    return KvLayout(
        page_bytes=BLOCK_TOKENS * kv_bytes_per_token(facts, engine),
        group_layers=-(-group * stage.layers // facts.layers),
        full_groups=-(-full // group),
        window_groups=-(-windowed // group),
        window_tokens=window + concurrent_batches(engine) * engine.max_num_batched_tokens,
    )


def concurrent_batches(engine: EngineSettings) -> int:
    """Batches that are computed at once, with asynchronous scheduling (VllmConfig.max_concurrent_batches)."""
    if engine.model_runner_v2:
        return engine.pipeline_parallel + 1
    return 2 if engine.pipeline_parallel == 1 else engine.pipeline_parallel
