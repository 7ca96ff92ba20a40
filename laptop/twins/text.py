"""A twin of a text model: what its architecture's file says of it, made into a checkpoint."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils.chat_template_utils import render_jinja_template

from laptop.cache import cached_checkpoint
from laptop.twins.conversations import CONVERSATIONS, Conversation, Message
from laptop.twins.training import Batch, new_tokenizer, save, text_rows, trained

FOLDER = Path(__file__).parent
SHARED = ["conversations.py", "text.py", "training.py"]


@dataclass(frozen=True)
class Mode:
    """One way the model is asked: variables of its chat template, and what it then answers to a conversation."""

    answer: Callable[[Conversation], str]
    variables: dict[str, Any] = field(default_factory=dict)
    suffix: str = ""
    """What the user appends to the question."""


@dataclass(frozen=True)
class TextTwin:
    name: str
    module: str
    """The file of its recipe."""
    chat_template: Path
    new_model: Callable[[PreTrainedTokenizerFast], PreTrainedModel]
    modes: list[Mode]
    special: list[str]
    plain: list[str]
    tokens: dict[str, str]
    """Which of them are the eos_token, pad_token and bos_token."""

    def checkpoint(self) -> Path:
        """Makes it where it is not cached, and returns its folder."""
        return twin_checkpoint(self.name, self.make, Path(self.module), self.chat_template)

    def make(self, folder: Path) -> None:
        template = self.chat_template.read_text()
        pairs = [
            (self.prompt(template, conversation, mode), mode.answer(conversation))
            for mode in self.modes
            for conversation in CONVERSATIONS
        ]
        tokenizer = new_tokenizer([text for pair in pairs for text in pair], self.special, self.plain, **self.tokens)
        tokenizer.chat_template = template
        model = trained(self.name, lambda: self.new_model(tokenizer), Batch(text_rows(tokenizer, pairs)))
        save(model, folder, {tokenizer.eos_token_id})
        tokenizer.save_pretrained(folder)

    def prompt(self, template: str, conversation: Conversation, mode: Mode) -> str:
        """The text that vLLM makes of the conversation."""
        variables: dict[str, Any] = self.tokens | mode.variables
        (text,), _ = render_jinja_template(
            conversations=[with_suffix(conversation.messages, mode.suffix)],
            tools=list(conversation.tools) or None,
            chat_template=template,
            add_generation_prompt=True,
            **variables,
        )
        return text


def with_suffix(messages: list[Message], suffix: str) -> list[Message]:
    return [m | {"content": m["content"] + suffix} if m["role"] == "user" else m for m in messages]


def twin_checkpoint(name: str, make: Callable[[Path], None], *recipe: Path) -> Path:
    """The folder of a twin, made anew when one of the files that decide what it is has changed.

    Those are the files `recipe`, and the ones that every twin is made with.
    """
    sources = [*(FOLDER / file for file in SHARED), *recipe]
    digest = hashlib.sha256(b"\0".join(source.read_bytes() for source in sources))
    return cached_checkpoint(f"{name}-{digest.hexdigest()[:8]}", make)
