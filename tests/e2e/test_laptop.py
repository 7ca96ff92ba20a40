"""What services do on the laptop profile. conftest.py says which of tests/fixtures are started, and for which tests."""

import ast
import base64
import io
import json
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import httpx
import openai
import psutil
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from laptop.twins import llama_adapters
from ops.local import preflight
from ops.monitoring import prometheus
from ops.probing import client
from ops.probing.client import Answer
from ops.project import routes
from serving.lora.storage import WEIGHTS
from tests import keys, watched
from tests.running import answer_of, check_probe_passes, check_stop_ends_all

LOOK = "What colour is this image? Answer with one word."


@pytest.fixture
def once() -> None:
    """What is tested is the same for all services: on one of them is enough."""


def test_printed_curl_lines_get_answers_from_the_weights(served, environment):
    assert len(served.curl_lines) == len(served.models)
    for line in served.curl_lines:
        assert "Paris" in answer_of(line, environment)["content"]


def test_printed_python_snippet_streams_an_answer(served, environment):
    snippet = served.printed_lines("(?:import os\n)?from openai", "\n\n")
    python = [sys.executable, "-c", snippet]
    answer = subprocess.run(python, env=environment, capture_output=True, text=True, check=True)
    assert answer.stdout.strip()


def test_printed_changes_of_the_laptop_profile(served):
    assert "accelerator_config: {'kind': 'gpu'} -> {'kind': 'cpu'}" in served.printed


def test_probe_passes(served, checkout):
    check_probe_passes(served, checkout.run)


def test_benchmark_beside_bare_vllm(once, served, checkout, tmp_path):
    requests = tmp_path / "three.jsonl"
    requests.write_text('{"prompt": "What is the capital of France?", "output_tokens": 8}\n' * 3)
    once_each = ["--workload", str(requests), "--concurrency", "1,3", "--rounds", "1"]
    words = ["--url", served.url, "--against", "vllm", *once_each, "--html", "--json"]
    bench = checkout.run("bench", served.service.name, *words)
    assert bench.returncode == 0, bench.stderr
    result = json.loads(bench.stdout)
    cells = {(cell["stack"], cell["concurrency"]): cell for cell in result["cells"]}
    assert cells.keys() == {(stack, at_a_time) for stack in (served.service.name, "vllm serve") for at_a_time in (1, 3)}
    assert {(cell["requests"], cell["failed"]) for cell in cells.values()} == {(3, 0)}
    assert all(cell["output_tokens_per_s"] > 0 for cell in cells.values())
    assert "--max-model-len=2048" in result["stacks"]["vllm serve"], "as the service, not as vLLM would without"
    folder = Path(re.search(r"In (\S+):", bench.stderr)[1])
    assert "vllm serve" in (folder / "report.html").read_text()
    assert json.loads((folder / "result.json").read_text()) == result


def test_probe_names_what_failed_when_its_model_id_is_wrong(once, served, checkout, tmp_path):
    copy = tmp_path / "probe.yaml"
    text = served.service.probe_file.read_text()
    copy.write_text(text.replace("\nmodel: ", "\nmodel: not-", 1))
    probe = checkout.run("probe", str(copy), "--url", served.url)
    assert probe.returncode == 1, probe.stdout + probe.stderr
    assert "expected status 200, got 404" in probe.stdout
    assert "expected model not-" in probe.stdout


def test_probe_refuses_a_file_with_an_unknown_key(once, served, checkout, tmp_path):
    copy = tmp_path / "probe.yaml"
    copy.write_text(served.service.probe_file.read_text() + "\nunknown_key: 1\n")
    probe = checkout.run("probe", str(copy), "--url", served.url)
    assert probe.returncode == 2
    assert "unknown_key" in probe.stderr


def test_probe_without_a_service_could_not_ask(once, checkout, service):
    probe = checkout.run("probe", service.name, "--url", f"http://127.0.0.1:{preflight.free_port()}")
    assert probe.returncode == 2
    assert "Is it running?" in probe.stderr


def test_chat_answers_and_ends_with_its_input(served, checkout):
    chat = checkout.run("chat", served.service.name, "--url", served.url, stdin="What is the capital of France?\n")
    assert chat.returncode == 0, chat.stderr
    _, answer = chat.stdout.split("> ", 1)
    assert answer.strip(" >\n")


@pytest.fixture
def seeing(served):
    """A service whose model takes images."""
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
    port = preflight.free_port()
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


@pytest.fixture
def watching(served, prometheus_tools, api_keys) -> Iterator[prometheus.Server]:
    """The Prometheus beside the service, which is asked for tokens all the while.

    A counter that has not moved since Prometheus first saw it has no rate, and a gauge of an idle engine has gaps.
    """
    if prometheus_tools is None:
        pytest.skip(prometheus.HOW_TO_GET_IT)
    server = prometheus.Server(served.printed_lines("Prometheus: ", " asks").split()[-1])

    def ask() -> None:
        for model in served.models:
            assert ask_for_tokens(served, api_keys, model).is_success
        time.sleep(1)

    with meanwhile(ask):
        assert watched.without_values(server, {"the engine": "ray_vllm_generation_tokens_total > 0"}) == []
        yield server


@contextmanager
def meanwhile(ask: Callable[[], object], clients: int = 1) -> Iterator[None]:
    """Ask again and again, from so many threads; raises what went wrong there."""
    done = threading.Event()

    def keep_asking() -> None:
        while not done.is_set():
            ask()

    with ThreadPoolExecutor(clients) as pool:
        asking = [pool.submit(keep_asking) for _ in range(clients)]
        try:
            yield
        finally:
            done.set()  # or the pool would wait for ever
        for client in asking:
            client.result()


def ask_for_tokens(served, api_keys, model: str, tokens: int = 8, **headers: str) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": tokens, "ignore_eos": True}
    headers |= {"Authorization": f"Bearer {api_keys.by_name['admin']}"}
    return httpx.post(f"{served.url}/v1/chat/completions", json=body, headers=headers, timeout=60)


def test_prometheus_has_every_metric_of_the_dashboard(watching):
    queries = watched.queries()
    assert watched.without_values(watching, {name: text for name, (text, empty) in queries.items() if not empty}) == []
    assert [name for name, (text, empty) in queries.items() if empty and watching.query(text)] == []


def test_prometheus_has_every_metric_of_the_alerts_and_none_says_that_something_is_broken(watching, service):
    rules = watched.rules(service)
    names = watched.metrics([rule["expr"] for rule in rules]) - watched.never_seen_here()
    assert watched.without_values(watching, {name: f"count({name})" for name in names}) == []
    evaluated = watching.rules(service.name)
    assert [rule["name"] for rule in evaluated] == [rule["alert"] for rule in rules]
    assert {rule["health"] for rule in evaluated} == {"ok"}
    broken = {"LLMNoReplica", "LLMReplicasMissing", "LLMApplicationFailed", "LLMNoMetrics", "LLMNoEngineMetrics"}
    assert watched.raised(watching, service.name, broken) == []


def test_prometheus_sees_the_run_that_it_was_started_for_and_no_other(watching, service):
    (series,) = watching.query("count by (application, SessionName) (ray_serve_application_status)")
    assert series["metric"]["application"] == service.application["name"]


@pytest.fixture
def collected(served, traces):
    """The traces of the service."""
    return traces[0]


def test_trace_of_a_request_goes_from_the_client_to_the_engine(served, collected, api_keys):
    trace, client_span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    model = served.models[0]
    for header in (f"00-{trace}-{client_span}-01", f"00-{'1' * 32}-{client_span}-00"):  # the second is not to be kept
        assert ask_for_tokens(served, api_keys, model, traceparent=header).is_success
    engine = collected.wait_for(lambda span: span.trace == trace and span.name == "llm_request")
    assert 0 < engine.attributes["gen_ai.latency.time_to_first_token"] < engine.attributes["gen_ai.latency.e2e"]
    assert engine.attributes["gen_ai.usage.completion_tokens"] == 8
    assert engine.service == model
    entered = collected.wait_for(lambda span: span.parent == client_span and span.name.startswith("replica_handle"))
    replica = collected.wait_for(lambda span: span.trace == trace and " LLMServer:" in span.name)
    assert entered.trace == trace
    if entered is replica:  # direct streaming
        assert engine.parent == replica.id
    else:
        assert "OpenAiIngress" in entered.name
        assert engine.parent == client_span, "Ray's ingress hands vLLM the headers of the request as they came"
    assert "1" * 32 not in {span.trace for span in collected.spans}


def test_trace_of_a_start_says_what_took_how_long(collected):
    start = collected.wait_for(lambda span: span.name == "Overall Loading")
    assert collected.wait_for(lambda span: span.name == "Load weights" and span.trace == start.trace)


@pytest.fixture
def scaled_by_engine(served):
    """A service with the policy that follows the engine."""
    return served


def test_autoscaling_gets_the_queue_and_the_kv_cache_of_the_engine(watching, scaled_by_engine, api_keys):
    served = scaled_by_engine
    model = served.models[0]
    # Two clients, and long answers: a twin writes 8 tokens faster than a client sends the next request.
    with meanwhile(lambda: ask_for_tokens(served, api_keys, model, tokens=256), clients=2):
        assert watched.without_values(watching, {"requests": "ray_serve_autoscaling_total_requests > 0"}) == []
    (log,) = (served.logs / "serve").glob("controller_*.log")
    assert "reports its engine's queue and KV cache" not in log.read_text(), "the policy says so where it gets nothing"


@pytest.fixture
def with_adapters(served):
    """A service whose model has LoRA adapters."""
    return served


@pytest.fixture
def upload(with_adapters, tmp_path) -> Callable[..., str]:
    """Put a changed copy of an adapter into the running service's S3; returns the id of its model."""
    environment = ast.literal_eval(with_adapters.printed_lines("  ray_actor_options: ", "\n").partition(" -> ")[2])
    variables = environment["runtime_env"]["env_vars"]
    client = boto3.client(
        "s3",
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        region_name=variables["AWS_REGION"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
    )

    def upload(name: str, slice_of: Callable[[Tensor], Tensor] = lambda tensor: tensor, **config: Any) -> str:
        folder = llama_adapters.adapter("polite")
        written = json.loads((folder / "adapter_config.json").read_text()) | config
        tensors = {key: slice_of(tensor).contiguous() for key, tensor in load_file(folder / WEIGHTS).items()}
        save_file(tensors, tmp_path / WEIGHTS)
        client.put_object(Bucket="laptop", Key=f"adapters/{name}/adapter_config.json", Body=json.dumps(written))
        client.upload_file(str(tmp_path / WEIGHTS), "laptop", f"adapters/{name}/{WEIGHTS}")
        return f"{with_adapters.service.application['args']['model']}:{name}"

    return upload


def ask_capital(served, model: str) -> httpx.Response:
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    request = {"model": model, "messages": messages, "temperature": 0}
    return httpx.post(f"{served.url}/v1/chat/completions", json=request, timeout=60)


def ask_at_once(served, models: list[str]) -> list[tuple[str, str]]:
    """Each model, and its answer."""
    with ThreadPoolExecutor(len(models)) as pool:
        answers = list(pool.map(lambda model: ask_capital(served, model), models))
    assert [answer.status_code for answer in answers] == [200] * len(models), [answer.text for answer in answers]
    return [(m, a.json()["choices"][0]["message"]["content"]) for m, a in zip(models, answers, strict=True)]


def test_base_model_and_adapters_answer_for_themselves_at_the_same_time(with_adapters):
    base = with_adapters.service.application["args"]["model"]
    expected = {base: "Paris"} | {f"{base}:{name}": answer for name, answer in llama_adapters.CAPITALS.items()}
    assert set(ask_at_once(with_adapters, [*expected] * 4)) == set(expected.items())


def test_several_first_requests_for_one_adapter_at_once(with_adapters, upload):
    model = upload("asked-for-by-four")
    assert set(ask_at_once(with_adapters, [model] * 4)) == {(model, llama_adapters.CAPITALS["polite"])}


def test_adapter_that_made_room_for_another_is_loaded_again(with_adapters):
    model = f"{with_adapters.service.application['args']['model']}:london"
    (replica,) = with_adapters.logs.glob("serve/replica_*LLMServer*.log")
    assert replica.read_text().count(f"{model} was downloaded.") == 1
    assert f"{model} is loaded again" in replica.read_text()


def test_models_are_the_base_model_and_its_adapters(with_adapters, upload):
    uploaded = upload("uploaded-while-it-runs")
    listed = {model["id"] for model in httpx.get(f"{with_adapters.url}/v1/models", timeout=60).json()["data"]}
    base = with_adapters.service.application["args"]["model"]
    assert {base, uploaded, *(f"{base}:{name}" for name in llama_adapters.CAPITALS)} <= listed


@pytest.mark.parametrize("name", ["nobody", "../adapters/london", "", "a:b"])
def test_adapter_that_is_not_there_is_a_404_that_names_it(with_adapters, name):
    model = f"{with_adapters.service.application['args']['model']}:{name}"
    answer = ask_capital(with_adapters, model)
    assert answer.status_code == 404
    assert answer.json() == {
        "error": {
            "message": f"There is no model {model}: its base model has no adapter {name!r}.",
            "type": "NotFoundError",
            "param": None,
            "code": 404,
        }
    }


def test_adapter_that_cannot_be_served_is_a_400_that_says_why_and_harms_no_other(with_adapters, upload):
    def half(tensor):
        """As of a model half as wide: it would fit into a corner of this one's tensors."""
        return tensor[:, : tensor.shape[1] // 2]

    reasons = {
        upload("high-rank", r=32): "its rank is 32, and this service takes up to 16",
        upload("of-another-model", half): "it is an adapter of another model",
        upload("of-another-kind", use_dora=True): "vLLM does not yet support DoRA",
    }
    for model, reason in reasons.items():
        answer = ask_capital(with_adapters, model)
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["message"].startswith(f"{model} cannot be served: ")
        assert reason in answer.json()["error"]["message"]
        assert "Traceback" not in answer.text
    base = with_adapters.service.application["args"]["model"]
    assert ask_at_once(with_adapters, [base, f"{base}:london"]) == [(base, "Paris"), (f"{base}:london", "London")]


def test_second_run_on_the_same_port_names_the_first(once, served, checkout):
    port = served.url.rpartition(":")[2]
    second = checkout.run("dev", served.service.name, "--port", port)
    assert second.returncode == 2
    assert f"Port {port} is taken by process" in second.stderr
    assert "--port" in second.stderr


@pytest.fixture
def keyed(once, served, api_keys):
    """The service with API keys: asks it, with the key of a name or with none."""
    assert served.service.name == keys.SERVICE

    def ask(name: str, path: str = "/v1/models", body: dict | None = None, header: str = "x-api-key"):
        key = api_keys.by_name.get(name)
        headers = {} if key is None else {header: f"Bearer {key}" if header == "Authorization" else key}
        return httpx.request("POST" if body else "GET", served.url + path, headers=headers, json=body, timeout=60)

    return ask


def test_every_route_of_the_live_schema_needs_a_key(once, served, api_keys):
    asked = list(keys.without_a_key(served.url, api_keys.by_name["admin"]))
    open_to_all = {(one.method, one.path) for one in asked if one.status != 401}
    assert open_to_all == {("get", "/health")}
    refused = [one for one in asked if one.path != "/health"]
    assert {one.error.get("code") for one in refused if one.method != "head"} == {"invalid_api_key"}
    guarded = {one.path for one in refused}
    assert {"/v1/chat/completions", "/v1/messages", "/tokenize", "/load", "/version", "/metrics", "/ping"} <= guarded
    assert len(refused) >= 2 * 30


def test_what_haproxy_itself_answers_is_open_and_its_router_is_not_reached(keyed):
    assert keyed("", "/-/healthz").status_code == 200
    assert keyed("", "/-/routes").json() == {"/": keys.SERVICE}
    assert keyed("", "/internal/route", {"prompt": "Hi"}).status_code == 401
    assert keyed("admin", "/internal/route", {"prompt": "Hi"}).status_code == 404


CHAT = {"messages": [{"role": "user", "content": "What is the capital of France?"}], "temperature": 0, "max_tokens": 30}


def test_both_headers_are_taken(keyed, served):
    body = CHAT | {"model": served.service.application["args"]["model"]}
    assert "Paris" in keyed("admin", "/v1/chat/completions", body, "Authorization").text
    assert "Paris" in keyed("admin", "/v1/messages", body, "x-api-key").text


def test_usage_comes_to_those_who_ask_for_it(keyed, served):
    body = CHAT | {"model": served.service.application["args"]["model"], "stream": True}
    unasked = keyed("admin", "/v1/chat/completions", body).text
    asked = keyed("admin", "/v1/chat/completions", body | {"stream_options": {"include_usage": True}}).text
    assert '"choices":[]' in asked
    assert '"choices":[]' not in unasked
    assert unasked.endswith("data: [DONE]\n\n")


def test_limits_are_kept(keyed, served):
    assert [keyed("minute").status_code for _ in range(4)] == [200, 200, 200, 429]
    body = CHAT | {"model": served.service.application["args"]["model"], "stream": True}
    assert keyed("day", "/v1/chat/completions", body).status_code == 200
    assert keyed("day", "/v1/chat/completions", body).status_code in (200, 429), "50 tokens may be one answer or two"
    refused = keyed("day", "/v1/chat/completions", body)
    assert (refused.status_code, refused.json()["error"]["type"]) == (429, "tokens")


def test_probe_without_a_key_is_told_what_to_do(keyed, served, checkout):
    probe = checkout.run("probe", served.service.name, "--url", served.url, SERVICE_API_KEY="")
    assert probe.returncode == 2
    assert "answers 401" in probe.stderr
    assert "export SERVICE_API_KEY=" in probe.stderr


def test_logs_have_the_names_of_keys_and_no_key(keyed, served, api_keys):
    logs = "".join(file.read_text(errors="replace") for file in served.logs.rglob("*.*") if file.is_file())
    assert "API key admin: POST /v1/chat/completions 200" in logs
    assert "API key minute: GET /v1/models 429" in logs
    assert not [name for name, key in api_keys.by_name.items() if key in logs + served.printed]


def test_service_heals_when_its_engine_is_killed(keyed, served, checkout, processes):
    (engine,) = engines(processes())
    engine.kill()
    deadline = time.monotonic() + 300
    while (probe := checkout.run("probe", served.service.name, "--url", served.url)).returncode:
        assert time.monotonic() < deadline, probe.stdout + probe.stderr
        time.sleep(2)
    assert keyed("day").status_code == 429, "what a key has spent outlives the replica"


def test_alert_told_of_the_engine_that_was_killed(once, watching):
    told = 'max_over_time(ALERTS{alertname="LLMReplicaUnhealthy", alertstate="firing"}[30m])'
    assert watched.without_values(watching, {"LLMReplicaUnhealthy": told}) == []


@pytest.fixture
def several(served) -> list[str]:
    """The models of a service that serves several at once."""
    return served.models


def test_a_killed_engine_leaves_the_other_models_alone_and_comes_back(served, several, processes):
    killed, other = several[-1], several[0]
    replica = f"LLMServer:{killed.replace('.', '_')}"
    (engine,) = [process for process in engines(processes()) if replica in " ".join(process.parent().cmdline())]
    with Asking(served.url, other) as asking:
        engine.kill()
        deadline = time.monotonic() + 300
        while (answer := ask(served.url, killed, stream=False)).status != 200:
            assert time.monotonic() < deadline, answer
            assert "site-packages" not in answer.error, "clients learn what is inside the cluster"
            time.sleep(1)
    assert "Paris" in answer.content
    assert len(asking.answers) > 10
    assert [answer for answer in asking.answers if answer.status != 200 or not answer.finish_reason] == []


def ask(url: str, model: str, stream: bool) -> Answer:
    question = [{"role": "user", "content": "What is the capital of France?"}]
    body = {"model": model, "messages": question, "max_tokens": 256, "temperature": 0, "stream": stream}
    return client.ask(client.connect(url, None, 300), routes.CHAT, body)


class Asking:
    """A client that asks a model without pause, streamed and not, until the end of a `with`."""

    def __init__(self, url: str, model: str) -> None:
        self.url, self.model, self.ended = url, model, threading.Event()
        self.answers: list[Answer] = []
        self.thread = threading.Thread(target=self.run)

    def __enter__(self) -> "Asking":
        self.thread.start()
        while not self.answers:
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()

    def run(self) -> None:
        while not self.ended.is_set():
            try:
                self.answers.append(ask(self.url, self.model, stream=len(self.answers) % 2 == 1))
            except openai.APIConnectionError as error:
                self.answers.append(Answer(0, error=repr(error)))


def test_stop_ends_every_process_of_the_run(served, checkout, processes):
    check_stop_ends_all(served, checkout.run, processes)


def engines(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [process for process in processes if "VLLM::EngineCore" in " ".join(process.cmdline())]
