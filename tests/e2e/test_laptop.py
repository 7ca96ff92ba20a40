"""Every service, started as the README says, does what its probe says. Runs once per service."""

import base64
import io
import json
import random
import subprocess
import sys
import time

import httpx
import psutil
import pytest
from PIL import Image

from ops import preflight

LOOK = "What colour is this image? Answer with one word."


@pytest.fixture
def once(service) -> None:
    if service.name != "small-size-llm":
        pytest.skip("what is tested is the same for all services: once is enough")


def test_printed_curl_line_gets_an_answer_from_the_weights(served):
    line = served.printed_lines("curl ", "\n")
    answer = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    assert "Paris" in json.loads(answer.stdout)["choices"][0]["message"]["content"]


def test_printed_python_snippet_streams_an_answer(served):
    snippet = served.printed_lines("from openai", "\n\n")
    answer = subprocess.run([sys.executable, "-c", snippet], capture_output=True, text=True, check=True)
    assert answer.stdout.strip()


def test_printed_changes_of_the_laptop_profile(served):
    assert "accelerator_config: {'kind': 'gpu'} -> {'kind': 'cpu'}" in served.printed


def test_probe_passes(served, scripts):
    probe = scripts("probe", served.service.name, "--url", served.url, "--json")
    assert probe.returncode == 0, probe.stdout + probe.stderr
    assert all(not result["failures"] for result in json.loads(probe.stdout)["results"])


def test_probe_names_what_failed_when_its_model_id_is_wrong(once, served, scripts, tmp_path):
    copy = tmp_path / "probe.yaml"
    text = served.service.probe_file.read_text()
    copy.write_text(text.replace("\nmodel: ", "\nmodel: not-", 1))
    probe = scripts("probe", str(copy), "--url", served.url)
    assert probe.returncode == 1, probe.stdout + probe.stderr
    assert "expected status 200, got 404" in probe.stdout
    assert "expected model not-" in probe.stdout


def test_probe_refuses_a_file_with_an_unknown_key(once, served, scripts, tmp_path):
    copy = tmp_path / "probe.yaml"
    copy.write_text(served.service.probe_file.read_text() + "\nunknown_key: 1\n")
    probe = scripts("probe", str(copy), "--url", served.url)
    assert probe.returncode == 2
    assert "unknown_key" in probe.stderr


def test_probe_without_a_service_could_not_ask(once, scripts, service):
    probe = scripts("probe", service.name, "--url", f"http://127.0.0.1:{preflight.free_port(8999)}")
    assert probe.returncode == 2
    assert "Is it running?" in probe.stderr


def test_chat_answers_and_ends_with_its_input(served, scripts):
    chat = scripts("chat", served.service.name, "--url", served.url, stdin="What is the capital of France?\n")
    assert chat.returncode == 0, chat.stderr
    _, answer = chat.stdout.split("> ", 1)
    assert answer.strip(" >\n")


@pytest.fixture
def seeing(served, category):
    """The service, where its model takes images."""
    if "allowed_media_domains" not in next(iter(category.MODELS.values())).engine_kwargs:
        pytest.skip("the models of this service do not see")
    return served


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def look(seeing, url: str) -> dict:
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": LOOK}]
    request = {"model": seeing.service.application["args"]["model"], "messages": [{"role": "user", "content": content}]}
    answer = httpx.post(f"{seeing.url}/v1/chat/completions", json=request, timeout=60)
    assert answer.is_success, answer.text
    return answer.json()


def test_image_by_url(seeing, tmp_path):
    (tmp_path / "picture.png").write_bytes(png(Image.new("RGB", (64, 64), "blue")))
    port = preflight.free_port(8700)
    server = subprocess.Popen([sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"], cwd=tmp_path)
    try:
        while preflight.is_free(port):
            time.sleep(0.1)
        answer = look(seeing, f"http://127.0.0.1:{port}/picture.png")
    finally:
        server.terminate()
    assert answer["choices"][0]["message"]["content"] == "blue"


def test_large_image_arrives_and_is_scaled_down(seeing):
    noise = Image.frombytes("RGB", (1700, 1700), random.Random(0).randbytes(1700 * 1700 * 3))
    data = base64.b64encode(png(noise)).decode()
    assert len(data) > 8_000_000, "larger than the messages that gRPC and many proxies take"
    answer = look(seeing, f"data:image/png;base64,{data}")
    assert answer["usage"]["prompt_tokens"] < 500, "256 tokens of image at most, see laptop.models"


def test_second_run_on_the_same_port_names_the_first(once, served, scripts):
    port = served.url.rpartition(":")[2]
    second = scripts("dev", served.service.name, "--port", port)
    assert second.returncode == 2
    assert f"Port {port} is taken by process" in second.stderr
    assert "--port" in second.stderr


def test_service_heals_when_its_engine_is_killed(once, served, scripts, environment):
    (engine,) = [process for process in run_processes(environment) if "VLLM::EngineCore" in " ".join(process.cmdline())]
    engine.kill()
    deadline = time.monotonic() + 300
    while (probe := scripts("probe", served.service.name, "--url", served.url)).returncode:
        assert time.monotonic() < deadline, probe.stdout + probe.stderr
        time.sleep(2)


def test_stop_ends_every_process_of_the_run(served, scripts, environment):
    ours = run_processes(environment)
    assert len(ours) > 5, "Ray, HAProxy and vLLM run as processes of their own"
    stopped = scripts("dev", "--stop")
    assert stopped.returncode == 0
    assert f"Stopped {served.service.name} on {served.url}" in stopped.stdout
    _, alive = psutil.wait_procs(ours, timeout=20)
    assert alive == []
    assert "Nothing to stop" in scripts("dev", "--stop").stdout


def run_processes(environment: dict[str, str]) -> list[psutil.Process]:
    """The processes of the served run: all that have the cache folder of these tests in their environment."""
    cache = environment["XDG_CACHE_HOME"]
    return [p for p in psutil.process_iter(["environ"]) if (p.info["environ"] or {}).get("XDG_CACHE_HOME") == cache]
