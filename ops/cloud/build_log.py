"""The log of an image build, shown while the CLI waits for the build to end."""

import re
import threading

from ops.console.cli import err

POLL_S = 5  # guess: often enough to see that it goes on


class Follower:
    """A context manager that prints the log of the build whose id it was shown, until the context ends."""

    def __init__(self) -> None:
        self.build: str | None = None
        self.shown = 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.follow, daemon=True)

    def __enter__(self) -> "Follower":
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        if self.build:
            self.thread.join(POLL_S)
            self.show_new_lines()

    def look_for_build(self, line: str) -> None:
        """Start to follow the build that a line of the CLI names, if it names one."""
        found = re.search(r"\bbld_\w+", line)
        if found and not self.build:
            self.build = found[0]
            self.thread.start()

    def follow(self) -> None:
        while not self.ended.wait(POLL_S):
            self.show_new_lines()

    def show_new_lines(self) -> None:
        from anyscale.authenticate import get_auth_api_client

        try:
            client = get_auth_api_client(log_output=False).api_client
            log = client.get_build_logs_api_v2_builds_build_id_logs_get(self.build).result.logs or ""
        except Exception as error:  # the log is a help to whoever waits; the CLI itself tells how the build ends
            err.print(f"  build: its log cannot be read just now ({type(error).__name__})", markup=False, style="dim")
            return
        for line in log[self.shown :].splitlines():
            err.print(f"  build: {line}", markup=False, style="dim")
        self.shown = len(log)
