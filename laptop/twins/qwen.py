"""Twins of QwQ-32B, which always thinks, and of Qwen3, which thinks or does not.

The chat templates are those of Qwen/QwQ-32B and Qwen/Qwen3-32B on Hugging Face, under the Apache 2.0 licence.
"""

import json
from collections.abc import Callable
from typing import Any

from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

from laptop.twins.conversations import Conversation
from laptop.twins.text import FOLDER, Mode, TextTwin

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
PLAIN = ["<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"]
TOKENS = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}


def direct(conversation: Conversation) -> str:
    """The answer without thinking."""
    if conversation.tool_call:
        return f"<tool_call>\n{json.dumps(conversation.tool_call)}\n</tool_call><|im_end|>"
    return f"{conversation.content}<|im_end|>"


def after_thinking(conversation: Conversation) -> str:
    """The rest of an answer whose <think> is in the prompt already."""
    gap = "" if conversation.constrained else "\n\n"
    return f"{conversation.thinking}\n</think>{gap}{direct(conversation)}"


def with_thinking(conversation: Conversation) -> str:
    return f"<think>\n{after_thinking(conversation)}"


def with_no_thoughts(conversation: Conversation) -> str:
    return f"<think>\n\n</think>\n\n{direct(conversation)}"


def shape(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """What the two configurations share. Heads of 32 are the smallest that vLLM's CPU attention takes."""
    return dict(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def new_qwq(tokenizer: PreTrainedTokenizerFast) -> Qwen2ForCausalLM:
    return Qwen2ForCausalLM(Qwen2Config(**shape(tokenizer)))


def new_qwen3(tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    return Qwen3ForCausalLM(Qwen3Config(head_dim=32, **shape(tokenizer)))


def twin(name: str, template: str, new_model: Callable, modes: list[Mode]) -> TextTwin:
    return TextTwin(name, __file__, FOLDER / "chat_templates" / template, new_model, modes, SPECIAL, PLAIN, TOKENS)


QWQ = twin("qwq-twin", "qwq.jinja", new_qwq, [Mode(after_thinking)])
QWEN3 = twin(
    "qwen3-twin",
    "qwen3.jinja",
    new_qwen3,
    [
        Mode(with_thinking),
        Mode(direct, {"enable_thinking": False}),
        Mode(with_no_thoughts, suffix=" /no_think"),  # the soft switch
    ],
)
