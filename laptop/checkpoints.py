"""Makes every checkpoint of the laptop profile that is not cached, so that no start has to wait for one.

Run as a program: python -m laptop.checkpoints. A start makes the one that it needs by itself.
"""

import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed

from laptop.models import MODELS
from laptop.twins.llama_adapters import CAPITALS, adapter


def main() -> None:
    """Make as many at a time as there are processors: each is trained on one."""
    begun = time.monotonic()
    names = {MODELS[name].checkpoint: name for name in reversed(MODELS)}.values()  # the slowest are the last there
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        report({pool.submit(make, name): name for name in names}, begun)
        report({pool.submit(adapter, name): f"the adapter {name}" for name in CAPITALS}, begun)  # of a twin made above


def make(name: str) -> None:
    MODELS[name].checkpoint()


def report(making: dict, begun: float) -> None:
    """Wait for all, and say of each when it is there."""
    for count, made in enumerate(as_completed(making), 1):
        made.result()
        seconds = time.monotonic() - begun
        print(f"{making[made]} is there: {count} of {len(making)}, {seconds:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
