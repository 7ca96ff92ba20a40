"""Run the `anyscale` CLI from the root of the repository, and keep what is secret out of what it prints."""

import re
import subprocess
import sys
import threading
from collections.abc import Collection
from dataclasses import dataclass

from ops.cloud import build_log
from ops.console.cli import err
from ops.project.catalogue import ROOT

CALL_TIMEOUT_S = 300  # guess: seconds for the calls, the rest for uploading the working directory
BUILD_TIMEOUT_S = 3900  # the CLI gives up an image build after 3600


@dataclass(frozen=True)
class Outcome:
    code: int
    printed: str
    """Everything it printed, without secrets."""

    @property
    def reason(self) -> str:
        """What it printed as error, else its last line."""
        errors = re.findall(r"^(?:Error: |\(anyscale.*\) )?(.*(?:[Ee]rror|[Ff]ailed).*)$", self.printed, re.MULTILINE)
        lines = errors or self.printed.strip().splitlines() or ["it printed nothing"]
        return lines[-1].strip()

    @property
    def may_be_tried_again(self) -> bool:
        """Whether Anyscale was busy or out of reach: the CLI's status 2, or 1 for too many requests."""
        return self.code == 2 or "429" in self.printed


def run(*words: str, secrets: Collection[str] = (), timeout_s: float = CALL_TIMEOUT_S, show: bool = True) -> Outcome:
    """Run `anyscale WORDS`; its lines appear as they come, on stderr.

    Args:
        secrets: values that must not be shown or kept.
        timeout_s: after that it is stopped, and `may_be_tried_again`: what it asked for may be done or not.
        show: whether to print what it prints.
    """
    command = [sys.executable, "-c", "from anyscale.scripts import main; main()", *words]
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    timer = threading.Timer(timeout_s, process.kill)
    timer.start()
    printed = []
    with build_log.Follower() as follower:
        for line in process.stdout or ():
            line = redacted(without_colours(line), secrets)
            printed.append(line)
            if show:
                err.print(f"  anyscale: {line.rstrip()}", markup=False, style="dim")
            follower.look_for_build(line)
        code = process.wait()
    if not timer.is_alive():
        return Outcome(2, "".join(printed) + f"Error: anyscale {words[0]} {words[1]} did not end in {timeout_s:.0f} s.")
    timer.cancel()
    return Outcome(code, "".join(printed))


def without_colours(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def redacted(text: str, secrets: Collection[str]) -> str:
    """The text without these secrets, and without bearer tokens: the CLI prints a service's after each deploy."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "***")
    return re.sub(r"(Bearer|query_auth_token:) [^\s\"']+", r"\1 ***", text)


def secret_words(secrets: dict[str, str]) -> list[str]:
    return [word for name, value in secrets.items() for word in ("--env", f"{name}={value}")]
