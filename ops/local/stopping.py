"""How a program that serves on a Ray cluster of its own is stopped."""

import signal
import sys
import time
from typing import NoReturn


def stop_on_signals() -> None:
    """Ctrl-C, a closed terminal and `scripts/dev --stop` raise KeyboardInterrupt from now on.

    SIGINT does so also where a shell had us ignore it, SIGHUP not under nohup. It is not a class of our own: while a
    process waits in Ray's core (2.59), Ray drops other exceptions of a signal handler, and goes on waiting.

    Send SIGINT to stop such a process. ray.init gives SIGTERM to handlers of Ray's own, which end the process with an
    error, and where they come at a bad moment after some time only.
    """
    numbers = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        numbers.remove(signal.SIGHUP)

    def stop(*_: object) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)  # stopping takes seconds; a second Ctrl-C must not cut it short
        raise KeyboardInterrupt

    for number in numbers:
        signal.signal(number, stop)


def wait_until_stopped() -> NoReturn:
    """Wait for such a signal. Not by signal.pause(): where a thread of Ray's gets it, nothing ends that."""
    while True:
        time.sleep(1)


def stop_ray() -> None:
    """Stop Ray if it may have been started; a run that was stopped before has not imported what starts it."""
    if local_serve := sys.modules.get("ops.local.serve_app"):
        local_serve.stop_ray()
