"""A twin of Llama 3.1 and 3.3 that two tensor-parallel workers can share."""

import json

from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from laptop.twins.conversations import Conversation
from laptop.twins.text import FOLDER, Mode, TextTwin


def answer(conversation: Conversation) -> str:
    if call := conversation.tool_call:
        return json.dumps({"name": call["name"], "parameters": call["arguments"]}) + "<|eot_id|>"
    return f"{conversation.content}<|eot_id|>"


def new_llama(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,  # the smallest that vLLM's CPU attention takes
        max_position_embeddings=4096,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


LLAMA = TextTwin(
    name="llama-twin",
    module=__file__,
    chat_template=FOLDER / "chat_templates" / "llama3.jinja",
    new_model=new_llama,
    modes=[Mode(answer)],
    special=[
        "<|begin_of_text|>",
        "<|end_of_text|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|eot_id|>",
        "<|python_tag|>",  # vLLM's llama3_json parser asks the tokenizer for it
    ],
    plain=[],
    tokens={"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>", "pad_token": "<|end_of_text|>"},
)
