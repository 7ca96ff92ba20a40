"""What ends a program that serves on a Ray cluster of its own."""

import subprocess
import sys

ANOTHER_THREAD_GETS_THE_SIGNAL = """
import signal, threading, time
from ops.local.stopping import stop_on_signals, wait_until_stopped

stop_on_signals()
other = threading.Thread(target=time.sleep, args=(60,), daemon=True)
other.start()
threading.Timer(1, signal.pthread_kill, (other.ident, signal.SIGINT)).start()
try:
    wait_until_stopped()
except KeyboardInterrupt:
    print("stopped")
"""


def test_a_signal_that_another_thread_gets_stops_it(root):
    words = [sys.executable, "-c", ANOTHER_THREAD_GETS_THE_SIGNAL]
    run = subprocess.run(words, cwd=root, capture_output=True, text=True, timeout=30, check=False)
    assert run.stdout == "stopped\n", run.stderr
