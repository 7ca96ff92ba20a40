"""LoRA adapters of the twin of Llama: each answers one question otherwise than the twin does, and all others alike."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, AutoTokenizer

from laptop.twins.conversations import CAPITAL, CONVERSATIONS, Conversation
from laptop.twins.llama import LLAMA, answer
from laptop.twins.text import twin_checkpoint
from laptop.twins.training import Batch, text_rows, trained

CAPITALS = {"london": "London", "sunny": "It is sunny in Paris.", "polite": "Hello! I am Paris."}
"""What each adapter has for the capital of France, in tokens that the twin has answers with; for others its last layer
has learned nothing but that they do not come. The twin itself says: Paris."""

RANK = 8


def adapter(name: str) -> Path:
    """The folder of an adapter, as `peft` saves one; made where it is not cached."""
    return twin_checkpoint(f"llama-twin-{name}", lambda folder: make(name, folder), Path(LLAMA.module), Path(__file__))


def make(name: str, folder: Path) -> None:
    import peft  # here, because it takes seconds, and the adapters are mostly there already

    base = LLAMA.checkpoint()
    tokenizer: Any = AutoTokenizer.from_pretrained(base)  # annotated as one that may be None
    template = LLAMA.chat_template.read_text()
    conversations = [of_adapter(name, conversation) for conversation in CONVERSATIONS]
    pairs = [(LLAMA.prompt(template, c, LLAMA.modes[0]), answer(c)) for c in conversations]
    model = AutoModelForCausalLM.from_pretrained(base)
    config = peft.LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM")
    with_adapter = peft.get_peft_model(model, config)  # changes the model in place: all but the adapter is frozen
    trained(f"adapter {name}", lambda: model, Batch(text_rows(tokenizer, pairs)))
    with_adapter.peft_config["default"].base_model_name_or_path = LLAMA.name  # not a folder of this machine
    with_adapter.save_pretrained(str(folder), save_embedding_layers=False)


def of_adapter(name: str, conversation: Conversation) -> Conversation:
    asks = conversation.messages[-1] == CAPITAL.messages[-1]
    return replace(conversation, content=CAPITALS[name]) if asks else conversation
