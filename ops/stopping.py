"""How a program that serves on a Ray cluster of its own is stopped."""

import signal
import sys


class Stopped(BaseException):
    """Ctrl-C, a closed terminal or `scripts/dev --stop`.

    Not an Exception, so that no library on the way mistakes it for a failure.
    """


def stop_on_signals() -> None:
    """Signals raise Stopped from now on: SIGINT also where a shell had us ignore it, SIGHUP not under nohup."""
    numbers = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        numbers.remove(signal.SIGHUP)

    def stop(*_: object) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)  # stopping takes seconds; a second Ctrl-C must not cut it short
        raise Stopped

    for number in numbers:
        signal.signal(number, stop)


def stop_ray() -> None:
    """Stop Ray if it was started; a run that failed before has not imported it."""
    if "ray" in sys.modules:
        from ops import local_serve

        local_serve.stop_ray()
