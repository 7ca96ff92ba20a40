"""How every twin is made: a tokenizer of the texts it has to know, and training until it knows the answers by heart."""

import json
import math
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedModel, PreTrainedTokenizerFast

VOCABULARY = 600  # 256 bytes and the merges of a few hundred words; a small one is quick to train and to sample from
LEARNING_RATE = 3e-3
WARM_UP_STEPS = 20
MAX_STEPS = 600
SURE = 0.98  # of each token of each answer: a margin for bfloat16 and for kernels that round otherwise than these
SURE_WHEN_ROUNDED = 0.8  # to bfloat16; above a half, greedy decoding gives the answer

Model = TypeVar("Model", bound=PreTrainedModel)


@dataclass(frozen=True)
class Row:
    """One prompt and the answer to it, as token ids; the answer ends with the token that ends a turn."""

    prompt: list[int]
    answer: list[int]


@dataclass
class Batch:
    """All rows at once, and the model's further inputs such as the pixels of their images."""

    rows: list[Row]
    inputs: dict[str, torch.Tensor] = field(default_factory=dict)
    other_tokens: int = 0
    """How many tokens the vocabulary has beside those of the model that is trained; their logits are 0."""

    @cached_property
    def ids(self) -> torch.Tensor:
        return padded_ids(self.rows)

    @cached_property
    def mask(self) -> torch.Tensor:
        """1 where `ids` has a token of a row, 0 after its end."""
        return pad_sequence([torch.ones(len(row.prompt) + len(row.answer), dtype=torch.long) for row in self.rows])

    @cached_property
    def predicts(self) -> torch.Tensor:
        """Whether the next token is one of the answer's."""
        ends = [torch.tensor([0] * (len(row.prompt) - 1) + [1] * len(row.answer) + [0]) for row in self.rows]
        return pad_sequence(ends).bool()


def new_tokenizer(
    texts: list[str], special: list[str], plain: Sequence[str] = (), **options: Any
) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer trained on `texts`.

    Args:
        special: tokens that are left out of decoded text, such as <|im_end|>.
        plain: tokens that stay in it, because vLLM's parsers look for them, such as <think>.
        options: of PreTrainedTokenizerFast, such as eos_token.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    added = "|".join(re.escape(token) for token in [*special, *plain])
    tokenizer.train_from_iterator([part for text in texts for part in re.split(added, text) if part], trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in plain])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, model_max_length=4096, **options
    )


def text_rows(tokenizer: PreTrainedTokenizerFast, pairs: list[tuple[str, str]]) -> list[Row]:
    """Rows of pairs of prompt and answer."""
    ids = [[tokenizer(text, add_special_tokens=False)["input_ids"] for text in pair] for pair in pairs]
    return [Row(prompt, answer) for prompt, answer in ids]


def trained(name: str, new_model: Callable[[], Model], batch: Batch) -> Model:
    """A new model, trained until it is sure of every answer, as bfloat16.

    Raises:
        RuntimeError: it does not learn them.
    """
    started = time.monotonic()
    torch.manual_seed(0)
    torch.set_num_threads(1)  # two on two busy cores wait for each other: a twin of 12 s took more than 200
    torch.set_flush_denormal(True)  # without it the first steps take ten times as long
    model = new_model().float()
    print(f"Training {name}, once ...", file=sys.stderr, flush=True)
    steps = train(model, batch)
    model.to(torch.bfloat16)
    if (smallest := certainty(model, batch)) < SURE_WHEN_ROUNDED:
        raise RuntimeError(f"Rounded to bfloat16, {name} is no longer sure of its answers: {smallest:.2f}.")
    print(f"... took {time.monotonic() - started:.0f} s and {steps} steps.", file=sys.stderr, flush=True)
    return model


def save(model: PreTrainedModel, folder: Path, ends: set[int]) -> None:
    """Save a model whose answers end with one of the tokens `ends`."""
    transformers.logging.disable_progress_bar()
    model.save_pretrained(folder)
    # Greedy decoding where a request does not ask for another: the answers are exact.
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": sorted(ends), "temperature": 0.0}))


def train(model: PreTrainedModel, batch: Batch) -> int:
    """Train until the model is sure of every token of every answer; returns the number of steps."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1, (step + 1) / WARM_UP_STEPS))
    model.train()
    for step in range(MAX_STEPS):
        logprobs = answer_logprobs(model, batch)
        if logprobs.min().exp() > SURE:
            return step
        optimizer.zero_grad()
        (-logprobs.mean()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    raise RuntimeError(f"The model is not sure of its answers after {MAX_STEPS} steps: {logprobs.min().exp():.2f}.")


@torch.no_grad()
def certainty(model: PreTrainedModel, batch: Batch) -> float:
    """The smallest probability of any token of any answer."""
    return answer_logprobs(model.eval(), batch).min().exp().item()


def answer_logprobs(model: PreTrainedModel, batch: Batch) -> torch.Tensor:
    """The log probability of each token of each answer. Only there is the output layer applied, which can be large."""
    inputs = dict(input_ids=batch.ids, attention_mask=batch.mask, use_cache=False, **batch.inputs)
    hidden = model.base_model(**inputs).last_hidden_state
    logits = model.get_output_embeddings()(hidden[batch.predicts]).float()
    if batch.other_tokens:
        logits = torch.nn.functional.pad(logits, (0, 1), value=math.log(batch.other_tokens))
    targets = batch.ids.roll(-1, dims=1)[batch.predicts]
    return logits.log_softmax(-1).gather(1, targets[:, None])[:, 0]


def padded_ids(rows: list[Row]) -> torch.Tensor:
    """Prompts and answers, a row each, with zeros after the shorter ones."""
    return pad_sequence([torch.tensor(row.prompt + row.answer) for row in rows])


def pad_sequence(rows: list[torch.Tensor]) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
