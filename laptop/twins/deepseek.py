"""A twin of DeepSeek-R1: multi-head latent attention and a mixture of experts."""

import json

from transformers import DeepseekV3Config, DeepseekV3ForCausalLM, PreTrainedTokenizerFast

from laptop.twins.conversations import Conversation
from laptop.twins.text import FOLDER, Mode, TextTwin

END = "<｜end▁of▁sentence｜>"
TOOL_TOKENS = [
    f"<｜tool▁{name}｜>"
    for name in (
        *("calls▁begin", "calls▁end", "call▁begin", "call▁end", "sep"),
        *("outputs▁begin", "outputs▁end", "output▁begin", "output▁end"),
    )
]


def answer(conversation: Conversation) -> str:
    gap = "" if conversation.constrained else "\n\n"
    thinking = f"<think>\n{conversation.thinking}\n</think>{gap}"
    if call := conversation.tool_call:
        arguments = json.dumps(call["arguments"])
        text = (
            f"<｜tool▁call▁begin｜>function<｜tool▁sep｜>{call['name']}\n```json\n{arguments}\n```<｜tool▁call▁end｜>"
        )
        return f"{thinking}<｜tool▁calls▁begin｜>{text}<｜tool▁calls▁end｜>{END}"
    return f"{thinking}{conversation.content}{END}"


def new_deepseek(tokenizer: PreTrainedTokenizerFast) -> DeepseekV3ForCausalLM:
    config = DeepseekV3Config(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        moe_intermediate_size=64,
        num_hidden_layers=4,  # two for each of two pipeline stages
        first_k_dense_replace=1,
        num_attention_heads=4,
        num_key_value_heads=4,
        n_routed_experts=4,
        n_group=2,
        topk_group=2,
        num_experts_per_tok=4,  # all of them: a choice that rounding can flip would make its answers a matter of luck
        n_shared_experts=1,
        topk_method="noaux_tc",  # with the next: R1's router, which transformers takes for granted and vLLM asks for
        scoring_func="sigmoid",
        q_lora_rank=64,
        kv_lora_rank=64,
        qk_nope_head_dim=32,  # with the next: heads of 64, which vLLM's CPU attention takes
        qk_rope_head_dim=32,
        v_head_dim=32,
        max_position_embeddings=4096,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return DeepseekV3ForCausalLM(config)


DEEPSEEK = TextTwin(
    name="deepseek-twin",
    module=__file__,
    # The one that the service gives to vLLM.
    chat_template=FOLDER.parents[1] / "serving" / "chat_templates" / "deepseek_r1_tools.jinja",
    new_model=new_deepseek,
    modes=[Mode(answer)],
    special=["<｜begin▁of▁sentence｜>", END, "<｜▁pad▁｜>"],
    plain=["<think>", "</think>", "<｜User｜>", "<｜Assistant｜>", *TOOL_TOKENS],
    tokens={"bos_token": "<｜begin▁of▁sentence｜>", "eos_token": END, "pad_token": "<｜▁pad▁｜>"},
)
