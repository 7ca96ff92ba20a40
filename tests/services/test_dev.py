"""Every service, started on the laptop profile as the README says, passes its probe and answers."""

import subprocess
import sys

from ops.probing import service_key
from tests.running import answer_of, check_probe_passes, check_stop_ends_all


def test_probe_passes(served, scripts):
    check_probe_passes(served, scripts)


def test_printed_curl_lines_get_answers(served, environment):
    assert len(served.curl_lines) == len(served.models)
    for line in served.curl_lines:
        message = answer_of(line, environment)
        assert any(message.get(field) for field in ("content", "reasoning", "tool_calls")), message


def test_client_runs(served, client, environment):
    own = {"OPENAI_BASE_URL": f"{served.url}/v1", "OPENAI_API_KEY": environment[service_key.VARIABLE]}
    ran = subprocess.run(
        [sys.executable, client], env=environment | own, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.strip()


def test_stop_ends_every_process_of_the_run(served, scripts, processes):
    check_stop_ends_all(served, scripts, processes)
