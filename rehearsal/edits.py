"""Changes to a service's serve.py that are worth a rollout: one that is harmless, and one that breaks its answers."""

import re
from pathlib import Path


def harmless(serve: Path) -> None:
    """Add a comment: what is uploaded changes, and what is served does not."""
    serve.write_text(f"{serve.read_text().rstrip()}\n# A change for a rehearsal.\n")


def breaking(serve: Path) -> None:
    """Give the models a reasoning parser that is not theirs.

    One that has none gets Qwen3's, which takes a whole answer without thoughts for thoughts: its content is empty. One
    that has one gets Mistral's, which fails on tokens of other models. Both start, and pass every health check.

    Raises:
        ValueError: serve.py has no `engine_kwargs=dict(` to write it into.
    """
    text = serve.read_text()
    if "reasoning_parser=" in text:
        changed = re.sub(r'reasoning_parser="\w+"', 'reasoning_parser="mistral"', text)
    else:
        changed = text.replace("engine_kwargs=dict(", 'engine_kwargs=dict(reasoning_parser="qwen3", ')
    if changed == text:
        raise ValueError(f"{serve} has no engine_kwargs=dict( to write a reasoning parser into.")
    serve.write_text(changed)
