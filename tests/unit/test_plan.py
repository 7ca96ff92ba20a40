"""scripts/plan: what it tells of every service, and of services with something that it does not know."""

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ops.cloud import service_state
from ops.cloud.service_state import ServiceState, Target, Version
from ops.cloud.version_spec import VersionSpec
from ops.console.cli import CommandError
from ops.plan import config_diff as plan_changes
from ops.plan import rendering as plan_page
from ops.plan import summary as plan_summary
from ops.plan.config_diff import ConfigDiff
from ops.plan.summary import Summary
from ops.project import model_facts
from ops.project.catalogue import Service
from ops.rollouts import journal
from ops.rollouts.journal import Entry, Plan, State
from ops.sizing.capacity import RequestSize

NO_CHANGES = ConfigDiff(against=None, lines=[], notes=[])
CHAT = RequestSize(input_tokens=1000, output_tokens=200)
VERSION = "20261122-235912-5a40ecd"


def summary(
    service: Service, request: RequestSize | None = None, rate: float | None = None, **own_prices: float
) -> Summary:
    prices = {name.replace("_", "."): price for name, price in own_prices.items()}
    return plan_summary.of(service, NO_CHANGES, prices, request, rate)


@pytest.fixture
def small(tmp_path, project) -> Service:
    """small-size-llm in a folder where its files can be changed."""
    for folder in ("services/small_size_llm", "serving"):
        shutil.copytree(project / folder, tmp_path / folder)
    return Service(tmp_path / "services" / "small_size_llm")


@pytest.fixture
def journals(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(journal, "FOLDER", tmp_path / "rollouts")
    return journal.FOLDER


def change(service: Service, file: str, old: str, new: str) -> None:
    path = service.folder / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def command(project: Path, *words: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "ops.commands.plan", *words], cwd=project, capture_output=True, text=True
    )


def test_every_service_as_it_is(service):
    made = summary(service)
    assert made.problems == []
    if any(one.source not in model_facts.read(service.folder) for one in made.models):
        pytest.skip("scripts/new makes a service without the facts of its model")
    assert made.unknown == []
    assert made.cost.usd_per_hour_at_least > 0
    text = plan_page.text(made)
    for one in made.models:
        assert one.fit.fits
        assert one.speeds[0].usd_per_million_output_tokens[0] > 0
        whose = f"{one.model}: " if len(made.models) > 1 else ""
        for title in ("Machines", "Quota", f"{whose}Memory", f"{whose}Speed", f"{whose}Cold start"):
            assert f"\n{title}" in text
    assert max(map(len, text.splitlines())) <= 120


def test_every_model_of_a_service(service, tmp_path, project):
    """Also those that service.yaml does not deploy: no exception, and a sentence for what is not known."""
    for folder in (f"services/{service.folder.name}", "serving"):
        shutil.copytree(project / folder, tmp_path / folder)
    copied = Service(tmp_path / "services" / service.folder.name)
    if "model" not in copied.application["args"]:
        pytest.skip("all models of this service are served at once, and planned as it is")
    deployed = copied.application["args"]["model"]
    for model in plan_summary.ServiceFiles(tmp_path, copied.folder).models:
        change(copied, "service.yaml", f"model: {deployed}", f"model: {model}")
        deployed = model
        made = summary(Service(copied.folder), CHAT, rate=1)
        (planned,) = made.models
        assert planned.model == model
        assert planned.fit or made.unknown
        assert plan_page.html(made)


def test_without_a_model_in_the_data(small):
    change(small, "models.yaml", "meta-llama/Llama-3.1-8B-Instruct:", "meta-llama/Another:")
    made = summary(small, CHAT, rate=1)
    (planned,) = made.models
    assert planned.fit is None
    assert planned.speeds == []
    assert planned.load is None
    assert "meta-llama/Llama-3.1-8B-Instruct is unknown" in made.unknown[0]
    assert "services/small_size_llm/models.yaml" in made.unknown[0]
    assert "How many replicas the load needs is unknown" in made.unknown[1]
    assert made.cost.usd_per_hour_at_least == pytest.approx(0.384 + 0.9776)
    assert "weights downloaded" in plan_page.text(made)
    assert made.problems == []


def test_with_a_gpu_that_is_not_in_the_data(small):
    change(small, "service.yaml", "g6.2xlarge", "g9.2xlarge")
    change(small, "serve.py", 'accelerator_type="L4"', 'accelerator_type="L9"')
    made = summary(small)
    assert made.unknown == [
        "GPUs, quota and price of g9.2xlarge are unknown. Add it to ops/sizing/hardware.yaml.",
        "The GPU L9 is unknown: what fits, and the speed. Add it to ops/sizing/hardware.yaml.",
    ]
    assert made.problems == []
    assert re.search("total .* unknown", plan_page.text(made))


def test_with_a_setting_whose_memory_is_not_known(small):
    change(small, "serve.py", "max_model_len=8192),  # 128k", "max_model_len=8192, cpu_offload_gb=4),  # 128k")
    assert "What fits is unknown" in summary(small).unknown[0]


def test_with_a_gpu_that_has_no_bf16(small):
    change(small, "service.yaml", "g6.2xlarge", "g4dn.12xlarge")
    change(small, "serve.py", 'accelerator_type="L4"', 'accelerator_type="T4"')
    change(small, "serve.py", "max_model_len=8192),  # 128k", "max_model_len=2048, tensor_parallel_size=4),  # 128k")
    assert summary(small).unknown == ["The speed is unknown: ops/sizing/hardware.yaml has no bf16_tflops of the T4."]


def test_context_that_does_not_fit(small):
    change(small, "serve.py", "max_model_len=8192),  # 128k", "max_model_len=131072),  # 128k")
    (problem,) = summary(small).problems
    assert re.search(
        r"max_model_len is 131,072, each L4 has 22.0 GiB, and its KV cache holds \d\d,\d\d\d tokens", problem
    )


def test_weights_that_do_not_fit(small, project):
    change(small, "serve.py", "meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.3-70B-Instruct")
    shutil.copy(project / "services/medium_size_llm/models.yaml", small.folder / "models.yaml")
    (problem,) = summary(small).problems
    assert "does not fit: each L4 has 22.0 GiB, and the weights alone take 131" in problem


def test_serve_py_that_cannot_be_read(small):
    change(small, "serve.py", "DEPLOYMENT = dict(", "DEPLOYMENT = dict(**nothing,")
    with pytest.raises(CommandError, match=r"serve\.py cannot be planned with: NameError"):
        summary(small)


def test_own_prices(small):
    made = summary(small, m5_2xlarge=1, g6_2xlarge=10)
    assert (made.cost.usd_per_hour_at_least, made.cost.usd_per_hour_at_most) == (11, 41)
    alone = made.models[0].speeds[0]
    millions_an_hour = alone.speed.output_tokens_per_s * 3600 / 1e6
    assert alone.usd_per_million_output_tokens == pytest.approx((11 / millions_an_hour, 41 / 4 / millions_an_hour))
    assert "Prices: your prices." in plan_page.text(made)


def test_cold_start_is_of_the_size_of_the_weights(small):
    parts = {part.name: part for part in summary(small).models[0].cold_start.parts}
    assert parts["weights downloaded"].least_s == pytest.approx(8.03e9 * 2 / 250e6, rel=0.01)
    assert parts["weights read"].least_s == pytest.approx(8.03e9 * 2 / 1e9, rel=0.01)
    assert parts["machine found and started"].least_s is None
    assert parts["torch.compile"].how == "measured: 5 models"


def test_cold_start_without_compiling(small):
    change(small, "serve.py", "max_model_len=8192),  # 128k", "max_model_len=8192, enforce_eager=True),  # 128k")
    names = [part.name for part in summary(small).models[0].cold_start.parts]
    assert "torch.compile" not in names
    assert "CUDA graphs captured" not in names


def test_cold_start_of_weights_in_a_bucket(small):
    change(small, "serve.py", "meta-llama/Llama-3.1-8B-Instruct", "s3://ours/llama")
    change(small, "models.yaml", "meta-llama/Llama-3.1-8B-Instruct:", '"s3://ours/llama":')
    parts = {part.name: part for part in summary(small).models[0].cold_start.parts}
    assert parts["weights downloaded"].least_s is None
    assert parts["weights read"].least_s > 0


def test_load_that_it_holds(small):
    load = summary(small, CHAT, rate=2).models[0].load
    assert load.basis == "estimate (roofline)"
    assert load.problems == []
    assert 1 <= load.replicas <= 4
    assert load.usd_per_hour == pytest.approx(0.384 + 0.9776 * max(load.replicas, load.autoscaled_replicas))
    assert load.replicas == -(-2 // (load.within_slo.requests_per_s * 0.8))
    assert load.autoscaled.requests == 16
    assert [held.kept for held in load.objectives] == [True, True, True]


def test_twice_the_load_takes_twice_the_replicas(small):
    some, more = summary(small, CHAT, rate=100).models[0].load, summary(small, CHAT, rate=200).models[0].load
    assert more.replicas == pytest.approx(2 * some.replicas, abs=1)


def test_load_that_max_replicas_does_not_hold(small):
    (problem,) = summary(small, CHAT, rate=50).problems
    assert re.search(r"needs \d\d replicas by this estimate, and service.yaml and serve.py allow 4", problem)


def test_target_that_breaks_the_slo(small):
    change(small, "serve.py", "target_ongoing_requests=16", "target_ongoing_requests=60")
    (problem,) = summary(small, CHAT, rate=1).problems
    assert "(target_ongoing_requests), and by this estimate" in problem


@pytest.mark.parametrize(
    ("input_tokens", "output_tokens", "said"),
    [(8000, 1000, "longer than max_model_len, 8,192"), (8000, 100, "not even one request at a time meets the SLO")],
)
def test_requests_that_cannot_be_served_so(small, input_tokens, output_tokens, said):
    made = summary(small, RequestSize(input_tokens=input_tokens, output_tokens=output_tokens), rate=1)
    (problem,) = made.problems
    assert said in problem
    assert made.models[0].load.replicas is None
    assert "$/hour for it  unknown" in re.sub(" +", "  ", plan_page.text(made)).replace(
        "$/hour  for  it", "$/hour for it"
    )


def test_every_speed_says_that_it_is_an_estimate(small):
    titles = [section.title for section in plan_page.sections(summary(small, CHAT, rate=2))]
    assert len([title for title in titles if title.endswith("estimate (roofline)")]) == 2


def deployed(service: Service, config: dict, state: State = State.FINISHED, version: str = VERSION) -> None:
    """A deploy as scripts/deploy journals it."""
    target = Target(service.config["name"])
    log = journal.new(target.name)
    plan = Plan(
        kind="deploy",
        service=service.name,
        name=target.name,
        cloud=None,
        project=None,
        version=version,
        steps=[100],
        bake_s=0,
        start_timeout_s=1800,
        slo=None,
        previous=None,
    )
    log.write(Entry(state=State.PLANNED, plan=plan))
    VersionSpec(target, version, config | {"version_name": version}, {}).write(log.folder)
    log.write(Entry(state=state))


def test_nothing_was_deployed(small, journals):
    found = plan_changes.against_last_deploy(small)
    assert found == ConfigDiff(against=None, lines=[], notes=["Nothing was deployed from here yet."])


def test_deployed_as_it_is(small, journals):
    deployed(small, small.config)
    found = plan_changes.against_last_deploy(small)
    assert found.lines == []
    assert found.against.startswith(f"{VERSION}, the last deploy from here (")
    assert found.notes == ["serve.py is not compared: git diff 5a40ecd -- services/small_size_llm serving."]
    assert "Nothing in service.yaml." in plan_page.text(summary(small).model_copy(update={"changes": found}))


def test_only_what_changes_is_told(small, journals):
    deployed(small, small.config)
    change(small, "service.yaml", "max_nodes: 4", "max_nodes: 8")
    change(small, "service.yaml", "model: llama-3.1-8b", "model: phi-4-mini")
    change(small, "service.yaml", '  VLLM_NO_USAGE_STATS: "1"\n', "")
    change(small, "service.yaml", '  HF_TOKEN: ""', '  HF_TOKEN: ""\n  ANOTHER_SECRET: ""')
    found = plan_changes.against_last_deploy(Service(small.folder))
    assert found.lines == [
        "- applications.small-size-llm.args.model: llama-3.1-8b",
        "+ applications.small-size-llm.args.model: phi-4-mini",
        "- compute_config.worker_nodes.l4.max_nodes: 4",
        "+ compute_config.worker_nodes.l4.max_nodes: 8",
        "+ env_vars.ANOTHER_SECRET: (a secret)",
        "- env_vars.VLLM_NO_USAGE_STATS: 1",
    ]


def test_a_deploy_that_failed_is_told_and_not_compared_with(small, journals):
    deployed(small, small.config)
    later = small.config | {"image_uri": "anyscale/ray-llm:broken"}
    deployed(small, later, State.FAILED, "20261123-000000-aaaaaaa")
    found = plan_changes.against_last_deploy(small)
    assert found.lines == []
    assert found.notes[0] == "The deploy of 20261123-000000-aaaaaaa since then: failed."


def running(config: dict) -> ServiceState:
    version = Version(id="v", name=VERSION, state="RUNNING", weight=100, config=config)
    return ServiceState("s", "small-size-llm", "RUNNING", "https://s", "its-token", "aws", version, None)


def test_against_the_service_that_runs(small, monkeypatch):
    """Nothing is asked of Anyscale here: what its SDK would answer is given."""
    here = small.config
    compute = here["compute_config"] | {"cloud": "aws", "auto_select_worker_config": False}
    compute["worker_nodes"] = [compute["worker_nodes"][0] | {"max_nodes": 2}]
    values = here["env_vars"] | {"HF_TOKEN": "hf_its_value", "HF_HOME": "/elsewhere", "OLD": "its-value"}
    runtime_env = {"working_dir": "s3://uploaded.zip", "env_vars": values}
    config = {
        "name": here["name"],
        "image_uri": "anyscale/ray-llm:2.58.1-py312-cu130",
        "compute_config": compute | {"enable_cross_zone_scaling": False},
        "applications": [here["applications"][0] | {"runtime_env": runtime_env}],
        "query_auth_token_enabled": True,
    }
    monkeypatch.setattr(service_state, "find", lambda target: running(config))
    found = plan_changes.against_running(small, Target("small-size-llm"))
    assert found.lines == [
        "- compute_config.worker_nodes.l4.max_nodes: 2",
        "+ compute_config.worker_nodes.l4.max_nodes: 4",
        "- env_vars.HF_HOME: another value",
        "+ env_vars.HF_HOME: /mnt/local_storage",
        "- env_vars.OLD: (a secret)",
        "- image_uri: anyscale/ray-llm:2.58.1-py312-cu130",
        f"+ image_uri: {here['image_uri']}",
    ]
    assert "its-value" not in found.model_dump_json()
    assert "hf_its_value" not in found.model_dump_json()


def test_against_a_service_that_is_not_there(small, monkeypatch):
    monkeypatch.setattr(service_state, "find", lambda target: None)
    with pytest.raises(CommandError, match="There is no service other in the default cloud"):
        plan_changes.against_running(small, Target("other"))


class Reader(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


def test_page_for_a_browser_has_all_of_the_text_and_loads_nothing(small):
    made = summary(small, CHAT, rate=50)
    page = plan_page.html(made)
    read = Reader(page)
    for section in plan_page.sections(made):
        for cell in [section.title, *(cell for row in section.rows for cell in row if cell), *section.notes]:
            assert cell in read.texts
    assert "://" not in page
    assert ("html", {"lang": "en"}) in read.tags
    assert all("scope" in attributes for tag, attributes in read.tags if tag == "th")


def test_page_shows_texts_as_texts(small):
    made = summary(small).model_copy(update={"changes": ConfigDiff(against="<b>v1</b>", lines=["+ <b>"], notes=[])})
    assert not {"b"} & {tag for tag, _ in Reader(plan_page.html(made)).tags}


def test_command_prints_the_page_and_the_same_as_json(project, tmp_path):
    words = ["small-size-llm", "--rate", "2", "--input-tokens", "1000", "--output-tokens", "200"]
    file = tmp_path / "plan.html"
    told = command(project, *words, "--json", "--html", str(file))
    assert told.returncode == 0
    data = json.loads(told.stdout)
    (planned,) = data["models"]
    assert planned["model"] == "llama-3.1-8b"
    assert planned["load"]["request"] == {"input_tokens": 1000, "output_tokens": 200}
    assert planned["load"]["basis"] == planned["speeds"][0]["basis"] == "estimate (roofline)"
    assert data["cost"]["usd_per_hour_at_most"] == pytest.approx(0.384 + 4 * 0.9776)
    assert str(file) in told.stderr
    assert "<h1>small-size-llm: llama-3.1-8b" in file.read_text()


def test_command_ends_with_1_where_there_are_problems(project):
    told = command(project, "small-size-llm", "--rate", "50", "--input-tokens", "1000", "--output-tokens", "200")
    assert told.returncode == 1
    assert "\nProblems\n  The load needs" in told.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rate", "2"], "Give --input-tokens and --output-tokens too"),
        (["--input-tokens", "2", "--output-tokens", "3"], "Give --rate too"),
        (["--rate", "0", "--input-tokens", "2", "--output-tokens", "3"], "more than 0"),
        (["--prices", "no-such-file.yaml"], "no-such-file.yaml cannot be read"),
        (["--html", "no-such-folder/plan.html"], "no-such-folder/plan.html cannot be written"),
    ],
)
def test_command_that_cannot_be_done(project, words, said):
    told = command(project, "small-size-llm", *words)
    assert told.returncode == 2
    assert said in told.stderr


def test_asks_nobody_and_does_not_wait_for_what_it_does_not_need(project):
    slow = ["ray", "vllm", "torch", "anyscale", "matplotlib"]
    code = (
        "import sys; from ops.commands.plan import plan\n"
        "try: plan('large-size-llm')\n"
        f"except SystemExit: sys.exit(str([name for name in {slow} if name in sys.modules]))"
    )
    told = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True)
    assert told.stderr.strip() == "[]"
