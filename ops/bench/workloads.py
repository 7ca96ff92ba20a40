"""What is asked in a benchmark, as words for `vllm bench serve`."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ops.console.cli import CommandError

WORDS = ["the", "of", "and", "to", "in", "is", "that", "for", "it", "as", "was", "with", "be", "by", "on"]
"""Each is a token of its own to nearly all tokenizers."""


@dataclass(frozen=True)
class Size:
    """Tokens of one request; of a conversation, of each of its messages."""

    prompt: int
    answer: int


@dataclass(frozen=True)
class Workload:
    """One kind of load. The laptop's requests are shorter: two cores take 2 s for 1000 tokens of prompt."""

    gpu: Size
    laptop: Size
    turns: int = 1
    """Messages of a conversation; each request has all before it."""
    at_once: bool = False
    """Whether all requests are sent in the same moment, instead of one for each that ends."""

    def size(self, profile: str) -> Size:
        return self.laptop if profile == "laptop" else self.gpu

    def requests(self, concurrency: int) -> int:
        """How many are measured: guesses, some seconds to a minute of each stack."""
        return max(8, concurrency) if self.at_once else max(32, 4 * concurrency) // self.turns * self.turns


WORKLOADS = {
    "chat": Workload(gpu=Size(512, 128), laptop=Size(32, 64)),
    "long": Workload(gpu=Size(2000, 200), laptop=Size(500, 64)),
    "burst": Workload(gpu=Size(512, 128), laptop=Size(32, 64), at_once=True),
    "multi-turn": Workload(gpu=Size(256, 128), laptop=Size(48, 32), turns=8),
}


def words(name: str, profile: str, concurrency: int, seed: int, folder: Path) -> list[str]:
    """The options of `vllm bench serve` for a workload, or for a file of requests.

    Args:
        name: one of WORKLOADS, or the path of a .jsonl with a `prompt` and its `output_tokens` in each line.
        seed: other prompts for each, so that none is in a KV cache from before.
        folder: where a file of requests may be written.

    Raises:
        CommandError: it is not a workload, or its file cannot be used.
    """
    if name not in WORKLOADS:
        return from_file(Path(name), lines_of(Path(name)))
    workload = WORKLOADS[name]
    size, requests = workload.size(profile), workload.requests(concurrency)
    if workload.turns > 1:
        file = folder / f"{name}-{concurrency}-{seed}.jsonl"
        made = list(conversations(requests // workload.turns, workload.turns, size, seed))
        file.write_text("".join(json.dumps(line) + "\n" for line in made))
        return from_file(file, len(made))
    return [
        "--dataset-name=random",
        f"--random-input-len={size.prompt}",
        f"--random-output-len={size.answer}",
        f"--num-prompts={requests}",
    ]


def from_file(file: Path, requests: int) -> list[str]:
    """The requests in the order of the file: the messages of conversations have to follow one another."""
    of_file = ["--dataset-name=custom", f"--dataset-path={file}", "--custom-output-len=-1", "--disable-shuffle"]
    return [*of_file, "--skip-chat-template", "--ignore-eos", f"--num-prompts={requests}"]


def check(name: str) -> None:
    """Raises CommandError: there is no such workload or file, or the file is not as it should be."""
    if name not in WORKLOADS:
        lines_of(Path(name))


def lines_of(file: Path) -> int:
    """How many requests there are in a file.

    Raises:
        CommandError: it is not there, or a line is not one.
    """
    if file.suffix != ".jsonl" or not file.is_file():
        raise CommandError(
            f"There is no workload {file}. There are: {', '.join(WORKLOADS)}; or the path of a .jsonl file with lines "
            'such as {"prompt": "Why is the sky blue?", "output_tokens": 128}.'
        )
    lines = [line for line in file.read_text().splitlines() if line.strip()]
    for number, line in enumerate(lines, 1):
        check_request(line, f"Line {number} of {file}")
    if not lines:
        raise CommandError(f"{file} has no requests.")
    return len(lines)


def check_request(line: str, where: str) -> None:
    try:
        request = json.loads(line)
    except ValueError as error:
        raise CommandError(f"{where} is not JSON: {error}") from None
    fields = request if isinstance(request, dict) else {}
    prompt, tokens = fields.get("prompt"), fields.get("output_tokens")
    if not isinstance(prompt, str) or not isinstance(tokens, int) or tokens < 1:
        raise CommandError(f'{where} wants a text as "prompt" and a number of tokens as "output_tokens".')


def conversations(number: int, turns: int, size: Size, seed: int) -> Iterator[dict[str, str | int]]:
    """First the first message of all, then the second of all: with what was said before, made up as the rest is."""
    drawn = random.Random(seed)
    said = [" ".join(drawn.choices(WORDS, k=size.prompt)) for _ in range(number)]
    for _ in range(turns):
        for text in said:
            yield {"prompt": text, "output_tokens": size.answer}
        said = [f"{text} {' '.join(drawn.choices(WORDS, k=size.answer + size.prompt))}" for text in said]
