"""Changes to a service's serve.py that are worth a rollout: one that is harmless, and one that breaks its answers."""

import re
from pathlib import Path


def harmless(serve: Path) -> None:
    """Let each replica take one more request at a time, and say so in the README, which is checked before a rollout."""
    patterns = {
        serve: "(max_ongoing_requests=)",
        serve.with_name("README.md"): r"(`max_ongoing_requests` \| (?:\d+, )?)",
    }
    for file, before in patterns.items():
        replace(file, rf"{before}(\d+)", lambda found: f"{found[1]}{int(found[2]) + 1}")


def breaking(serve: Path) -> None:
    """Give the models a reasoning parser that is not theirs.

    One that has none gets Qwen3's, which takes a whole answer without thoughts for thoughts: its content is empty. One
    that has one gets Mistral's, which fails on tokens of other models. Both start, and pass every health check.
    """
    text = serve.read_text()
    if "reasoning_parser=" in text:
        replace(serve, r'reasoning_parser="\w+"', lambda _: 'reasoning_parser="mistral"')
    else:
        replace(serve, r"engine_kwargs=dict\(", lambda _: 'engine_kwargs=dict(reasoning_parser="qwen3", ')


def replace(file: Path, pattern: str, new) -> None:
    text, count = re.subn(pattern, new, file.read_text())
    if not count:
        raise ValueError(f"{file} has nothing that looks like {pattern}")
    file.write_text(text)
