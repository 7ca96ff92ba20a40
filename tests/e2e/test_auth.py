"""API keys where Ray's own ingress takes the requests, in two replicas, with limits that hold over both.

Ray, Serve, its proxy, the ingress and the actor that counts are real; a small deployment answers in the place of an
engine, which would take minutes to start. With an engine and direct streaming: test_laptop.py.
"""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from ops.local import preflight
from tests import keys
from tests.keys import without_a_key

MODEL = "stub"
PER_MINUTE, PER_DAY = 20, 100
TOKENS = 30
"""What each answer says that it took."""
COME_BACK_S = 60
"""Serve looks after the actor every 10 s, and starting one takes a few."""


class Stub:
    """Answers as an LLMServer does, each time with TOKENS of usage."""

    def __init__(self):
        # It imports vLLM, 20 s of a processor, in which no health check would be answered if `chat` did it.
        from ray.serve.llm.openai_api_models import ChatCompletionResponse

        self.response = ChatCompletionResponse

    async def chat(self, request, raw_request_info):
        assert not {"authorization", "x-api-key"} & raw_request_info.headers.keys()
        usage = {"prompt_tokens": 10, "completion_tokens": TOKENS - 10, "total_tokens": TOKENS}
        if not request.stream:
            choice = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
            yield self.response(model=MODEL, choices=[choice], usage=usage)
            return
        for choices in ([{"delta": {"content": "hi"}}], []):
            yield f"data: {json.dumps({'choices': choices, 'usage': usage}, separators=(',', ':'))}\n\n"
        yield "data: [DONE]\n\n"


@dataclass
class Keyed:
    url: str
    file: Path
    keys: dict[str, str]

    def ask(self, name: str = "", path: str = "/v1/models", **more) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.keys[name]}"} if name else {}
        return httpx.request(more.pop("method", "GET"), self.url + path, headers=headers, timeout=60, **more)

    def chat(self, name: str, **more) -> httpx.Response:
        body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], **more}
        return self.ask(name, "/v1/chat/completions", method="POST", json=body)


@pytest.fixture(scope="module")
def keyed(tmp_path_factory, root, laptop_packages) -> Iterator[Keyed]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(root))  # of the replicas
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.delenv("RAY_ADDRESS", raising=False)
        from ray import serve
        from ray.llm._internal.serve.core.configs.openai_api_models import ModelCard  # no public name
        from ray.serve.llm import LLMConfig
        from ray.serve.llm.ingress import make_fastapi_ingress

        from ops.local import serve_app
        from serving.auth.application import with_api_keys
        from serving.ingress import OpenAiIngress

        file = tmp_path_factory.mktemp("keys") / "keys.yaml"
        limits = dict(requests_per_minute=PER_MINUTE)
        made = keys.make(file, admin={}, bob=limits, dave=limits, carol=dict(tokens_per_day=PER_DAY), erin={})
        config = LLMConfig(model_loading_config=dict(model_id=MODEL))
        given = with_api_keys({"llm_configs": [config], "ingress_deployment_config": {"num_replicas": 2}}, str(file))
        ingress = given["ingress_cls_config"]
        options = given["ingress_deployment_config"] | {"ray_actor_options": {"num_cpus": 0}}
        card = ModelCard(id=MODEL, object="model", owned_by="tests", permission=[], metadata={})
        application = serve.deployment(make_fastapi_ingress(OpenAiIngress), **options).bind(
            llm_deployments={MODEL: serve.deployment(Stub, ray_actor_options={"num_cpus": 0}).bind()},
            model_cards={MODEL: card},
            **ingress["ingress_extra_kwargs"],
        )
        port = preflight.free_port()
        try:
            logs = serve_app.start_ray("laptop")
            serve_app.deploy(application, "keyed", "/", port)
            serve_app.wait_until_running("keyed", logs, lambda what: None)
            yield Keyed(f"http://127.0.0.1:{port}", file, made)
        finally:
            serve_app.stop_ray()


def test_every_route_of_the_live_schema_needs_a_key(keyed):
    asked = list(without_a_key(keyed.url, keyed.keys["admin"]))
    assert {"/v1/models", "/v1/chat/completions", "/tokenize", "/docs", "/openapi.json"} <= {one.path for one in asked}
    assert len(asked) >= 2 * 15
    assert {(one.status, one.error.get("code")) for one in asked if one.method != "head"} == {(401, "invalid_api_key")}


def test_what_serve_itself_answers_is_open(keyed):
    """For load balancers: that it is healthy, and where its applications are."""
    assert keyed.ask(path="/-/healthz").text == "success"
    assert keyed.ask(path="/-/routes").json() == {"/": "keyed"}


def test_a_key_is_answered_and_unasked_usage_is_held_back(keyed):
    assert keyed.chat("admin").json()["choices"][0]["message"]["content"] == "hi"
    assert '"choices":[]' not in keyed.chat("admin", stream=True).text
    assert '"choices":[]' in keyed.chat("admin", stream=True, stream_options={"include_usage": True}).text


def test_requests_per_minute_hold_over_both_replicas(keyed):
    """Many at once, on connections of their own, which Serve spreads over the replicas."""
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: keyed.ask("bob"), range(3 * PER_MINUTE)))
    assert sorted(answer.status_code for answer in answers) == [200] * PER_MINUTE + [429] * 2 * PER_MINUTE
    refused = [answer for answer in answers if answer.status_code == 429]
    assert all(1 <= int(answer.headers["retry-after"]) <= 60 for answer in refused)


def test_tokens_per_day_hold_over_both_replicas(keyed):
    statuses = [keyed.chat("carol", stream=stream).status_code for stream in (True, False, True, False, True, False)]
    assert statuses == [200, 200, 200, 200, 429, 429], f"{PER_DAY} are reached with the fourth answer of {TOKENS}"


def test_limits_outlive_the_actor_that_counts_them(keyed):
    """While it is away each replica counts for itself; the new one knows the day's tokens."""
    import ray

    first = actor_id()
    ray.kill(limits_actor())
    assert keyed.ask("admin").status_code == 200
    own = [keyed.ask("dave").status_code for _ in range(4 * PER_MINUTE)]
    most = 3 * PER_MINUTE  # of two replicas, and of the new actor, should it be there already
    assert PER_MINUTE <= own.count(200) <= most
    assert set(own) == {200, 429}
    until(lambda: actor_id() not in (None, first))
    until(lambda: {keyed.ask("carol").status_code for _ in range(10)} == {429})  # once both replicas ask the new one
    assert keyed.ask("carol").json()["error"]["type"] == "tokens"


def test_metrics_have_the_names_of_keys(keyed):
    import ray

    def counted() -> list[str]:
        (node,) = ray.nodes()
        text = httpx.get(f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics").text
        return [line for line in text.splitlines() if line.startswith("ray_serve_api_key_")]

    until(lambda: any('key="carol"' in line for line in counted()))
    assert any("tokens" in line and 'key="admin"' in line for line in counted())
    assert any('key="bob"' in line and 'status="429"' in line for line in counted())
    assert any('key="(none)"' in line and 'status="401"' in line for line in counted())


def test_a_key_that_is_taken_out_of_the_file_is_refused_without_a_restart(keyed):
    assert keyed.ask("erin").status_code == 200
    entries = json.loads(keyed.file.read_text())["keys"]
    keys.write(keyed.file, *(entry for entry in entries if entry["name"] != "erin"))
    time.sleep(6)  # each process looks every 5 s
    assert {keyed.ask("erin").status_code for _ in range(10)} == {401}
    assert keyed.ask("admin").status_code == 200


def limits_actor():
    import ray
    from ray.util import list_named_actors

    (name,) = [one["name"] for one in list_named_actors(all_namespaces=True) if "api-key-limits" in one["name"]]
    return ray.get_actor(name, namespace="serve")


def actor_id() -> str | None:
    try:
        return limits_actor()._actor_id.hex()
    except ValueError:  # just now there is none
        return None


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + COME_BACK_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.5)
