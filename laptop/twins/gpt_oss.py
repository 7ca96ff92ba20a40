"""A twin of gpt-oss: its mixture of experts, its attention sinks, and its vocabulary of 201,088 tokens.

The harmony format puts its channels in tokens above number 200,000, so the twin has the whole vocabulary, o200k_base.
That comes in the PyPI package llama-index-core (under the MIT licence, as tiktoken, whose file it is): no download.
"""

import copy
import importlib.metadata
import json
import os
import shutil
from pathlib import Path
from typing import Any

import tiktoken
import torch
from transformers import GptOssConfig, GptOssForCausalLM, PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import TikTokenConverter

from laptop.cache import sha256
from laptop.twins.conversations import CONVERSATIONS, Conversation, Message
from laptop.twins.text import twin_checkpoint
from laptop.twins.training import Batch, Row, save, trained

VOCABULARY = "o200k_base.tiktoken"
VOCABULARY_SHA256 = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"
TIKTOKEN_CACHE = "llama_index/core/_static/tiktoken_cache"  # where the package has it, under tiktoken's name for it
TIKTOKEN_NAME = "fb374d419588a4632f3f557e76b4b70aebbca790"
DATE = "2026-01-01"  # the prompt holds today's date, and the twin knows one only; VLLM_SYSTEM_START_DATE pins it
VOCABULARY_SIZE = 201_088
EFFORTS = ("low", "medium", "high")
END, RETURN, CALL = 199999, 200002, 200012  # <|endoftext|>, and what ends an answer or a tool call


def checkpoint() -> Path:
    """The folder with the model, its tokenizer and o200k_base.tiktoken, which the harmony library reads: 83 MB."""
    return twin_checkpoint("gpt-oss-twin", make_twin, Path(__file__))


def make_twin(folder: Path) -> None:
    copy_vocabulary(folder)
    # Read by the harmony library, by vLLM and by tiktoken when they make a prompt or a tokenizer.
    os.environ |= {
        "TIKTOKEN_ENCODINGS_BASE": str(folder),
        "VLLM_SYSTEM_START_DATE": DATE,
        "TIKTOKEN_CACHE_DIR": str(package_folder()),
    }
    tokenizer = new_tokenizer(folder)
    rows = [row(tokenizer, conversation, effort) for conversation in CONVERSATIONS for effort in EFFORTS]
    save(train_on_used_tokens(rows), folder, {RETURN, CALL})
    tokenizer.save_pretrained(folder)


def train_on_used_tokens(rows: list[Row]) -> GptOssForCausalLM:
    """Train with the few hundred tokens that the rows have, ten times as fast; the others get rows of zeros."""
    used = sorted({token for row in rows for token in row.prompt + row.answer})
    number = {token: index for index, token in enumerate(used)}
    small = [Row([number[t] for t in row.prompt], [number[t] for t in row.answer]) for row in rows]
    batch = Batch(small, other_tokens=VOCABULARY_SIZE - len(used))
    model = trained("gpt-oss-twin", lambda: new_gpt_oss(len(used)), batch)
    layers: list[Any] = [model.get_input_embeddings(), model.get_output_embeddings()]
    for layer in layers:
        weight = torch.zeros(VOCABULARY_SIZE, layer.weight.shape[1], dtype=layer.weight.dtype)
        weight[used] = layer.weight.detach()
        layer.weight = torch.nn.Parameter(weight)
    model.config.vocab_size = VOCABULARY_SIZE
    return model


def package_folder() -> Path:
    """tiktoken's cache in llama-index-core, which is never imported."""
    return Path(str(importlib.metadata.distribution("llama-index-core").locate_file(TIKTOKEN_CACHE)))


def copy_vocabulary(folder: Path) -> None:
    source = package_folder() / TIKTOKEN_NAME
    if sha256(source) != VOCABULARY_SHA256:
        raise RuntimeError(f"{source} is not the vocabulary o200k_base. Delete .venv and run scripts/setup.")
    shutil.copyfile(source, folder / VOCABULARY)


def new_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of gpt-oss: o200k_base and the tokens of the harmony format, as tiktoken defines them."""
    encoding = tiktoken.get_encoding("o200k_harmony")
    names = {number: name for name, number in encoding._special_tokens.items()}
    converter = TikTokenConverter(
        vocab_file=str(folder / VOCABULARY),
        pattern=encoding._pat_str,
        extra_special_tokens=[names[number] for number in sorted(names)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=converter.converted(),
        clean_up_tokenization_spaces=False,
        bos_token=names[199998],
        eos_token=names[RETURN],
        pad_token=names[END],
    )


def new_gpt_oss(vocabulary_size: int) -> GptOssForCausalLM:
    config = GptOssConfig(
        vocab_size=vocabulary_size,
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,  # the smallest that vLLM's CPU attention takes
        max_position_embeddings=4096,
        num_local_experts=4,
        num_experts_per_tok=4,  # all of them: a choice that rounding can flip would make its answers a matter of luck
        sliding_window=128,
        eos_token_id=None,  # the tokens are numbered otherwise while it is trained; generation_config.json has them
        pad_token_id=None,
        attn_implementation="eager",
    )
    return GptOssForCausalLM(config)


def row(tokenizer: PreTrainedTokenizerFast, conversation: Conversation, effort: str) -> Row:
    text = answer(conversation, effort)
    return Row(prompt(conversation, effort), tokenizer(text, add_special_tokens=False)["input_ids"])


def answer(conversation: Conversation, effort: str) -> str:
    """More effort makes it think longer, as it does with the real model."""
    thinking = {"low": "Easy.", "high": f"{conversation.thinking} That is right."}.get(effort, conversation.thinking)
    analysis = f"<|channel|>analysis<|message|>{thinking}<|end|><|start|>assistant"
    if call := conversation.tool_call:
        header = f"<|channel|>commentary to=functions.{call['name']} <|constrain|>json<|message|>"
        return f"{analysis}{header}{json.dumps(call['arguments'])}<|call|>"
    return f"{analysis}<|channel|>final<|message|>{conversation.content}<|return|>"


def prompt(conversation: Conversation, effort: str) -> list[int]:
    """The tokens that vLLM makes of the conversation."""
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionToolsParam
    from vllm.entrypoints.openai.parser import harmony_utils as harmony

    instructions, messages = harmony.extract_instructions_from_messages(as_sent(conversation.messages))
    tools: Any = [ChatCompletionToolsParam(**tool) for tool in conversation.tools] or None  # of the chat API, as vLLM's
    preamble = harmony.build_harmony_preamble(instructions=instructions, tools=tools, reasoning_effort=effort)
    return harmony.render_for_completion([*preamble, *harmony.parse_chat_inputs_to_harmony_messages(messages)])


def as_sent(messages: list[Message]) -> list[Message]:
    """Messages with the arguments of their tool calls as JSON text, as clients send them."""
    sent = copy.deepcopy(messages)
    for call in (call for message in sent for call in message.get("tool_calls", [])):
        call["function"]["arguments"] = json.dumps(call["function"]["arguments"])
    return sent
