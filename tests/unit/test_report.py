"""What a report says of a rollout, read as its reader would."""

import html
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ops.cloud.version_spec import Previous
from ops.probing.measurement import Measurement, Percentiles
from ops.rollouts import report
from ops.rollouts.journal import Entry, Journal, Plan, State

BEGAN = datetime(2026, 7, 1, 10, 0, tzinfo=UTC)
PREVIOUS = Previous(version="v1", config={"env_vars": {"MODE": "a-value-of-its-own"}}, secrets=["HF_TOKEN"])
PLAN = Plan(
    kind="rollout",
    service="small-size-llm",
    name="my-llm",
    cloud="aws-prod",
    project=None,
    version="v2",
    steps=[5, 100],
    start_timeout_s=1800,
    bake_s=300,
    slo=None,
    previous=PREVIOUS,
)
CANARY = Measurement(
    requests=40,
    errors=0,
    empty_answers=0,
    ttft=Percentiles(p50=0.211, p95=0.487),
    inter_token=Percentiles(p50=0.012, p95=0.031),
    tokens_per_second=81.25,
)
PRIMARY = CANARY.model_copy(update={"ttft": Percentiles(p50=0.199, p95=0.455)})
FAILING = Measurement(requests=40, errors=40, empty_answers=0, first_error="500: <script>alert(1)</script>")
PLANNED = Entry(state=State.PLANNED, plan=PLAN)
AT_5 = [
    Entry(state=State.DEPLOYING, weight=5),
    Entry(state=State.MOVING, weight=5),
    Entry(state=State.BAKING, weight=5),
    Entry(state=State.CHECKING, weight=5),
]
PASSED_5 = Entry(state=State.PASSED, weight=5, readings={"canary": CANARY, "primary": PRIMARY})
ROLLING_BACK = Entry(
    state=State.ROLLING_BACK,
    weight=5,
    readings={"canary": FAILING, "primary": PRIMARY},
    why=["40 of 40 requests failed; the SLO allows 1%. The first: <b>no</b>.", "TTFT p50 is too long."],
)
ROLLED_BACK = Entry(state=State.ROLLED_BACK, why=ROLLING_BACK.why)


class Reader(HTMLParser):
    """The tags of a page with their attributes, and its text with each run of spaces as one."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(page)
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture
def page(tmp_path: Path):
    """Writes a report of entries that follow each other by a minute; gives its text."""

    def write(*entries: Entry) -> str:
        journal = Journal(tmp_path)
        for minutes, entry in enumerate(entries):
            journal.write(entry.model_copy(update={"at": BEGAN + timedelta(minutes=minutes)}))
        file = report.write(journal)
        assert file == tmp_path / "report.html"
        return file.read_text()

    return write


def heading(page: str) -> str:
    return html.unescape(re.search("<h1>(.*?)</h1>", page)[1])


def plots(page: str) -> list[str]:
    return re.findall("<figcaption>(.*?)</figcaption>", page)


def test_promoted(page):
    at_100 = Entry(state=State.PASSED, weight=100, readings={"canary": CANARY})
    text = page(PLANNED, *AT_5, PASSED_5, at_100, Entry(state=State.PROMOTED), Entry(state=State.FINISHED))
    assert heading(text) == "Version v2 of my-llm was promoted on 2026-07-01 10:08:00 UTC, after 8 min."
    read = Reader(text).text
    assert "It met the SLO at 5 %, 100 % of it." in read
    assert "Steps 5 %, 100 % of the traffic Bake 5 min at each step Cloud aws-prod Project the default" in read
    assert "5 % passed canary 40 0 0 211 ms 487 ms 12 ms 31 ms 81.25" in read
    assert "5 % passed primary 40 0 0 199 ms 455 ms 12 ms 31 ms 81.25" in read
    assert "100 % passed canary 40 0 0 211 ms" in read
    assert "2026-07-01 10:01:00 UTC 1 min deploying to 5 % 2026-07-01 10:02:00 UTC 2 min moving to 5 %" in read
    assert "2026-07-01 10:03:00 UTC 3 min baking 5 %" in read
    assert plots(text) == [
        "Weight of the new version",
        "TTFT",
        "Inter-token time",
        "Speed of the median answer",
        "Errors and empty answers",
    ]


def test_rolled_back(page):
    text = page(PLANNED, *AT_5, ROLLING_BACK, ROLLED_BACK)
    assert heading(text) == "Version v2 of my-llm was rolled back on 2026-07-01 10:06:00 UTC, after 6 min."
    read = Reader(text).text
    assert "The version before, v1, has all traffic again and passed its probe." in read
    assert "Rolling back at 5 % of the traffic, 2026-07-01 10:05:00 UTC: 40 of 40 requests failed" in read
    assert text.count("<li>TTFT p50 is too long.</li>") == 1
    assert "5 % rolling back canary 40 40 0 \N{EN DASH} \N{EN DASH}" in read
    assert "rolled back 0 %" in read


def test_texts_of_a_server_stay_texts(page):
    text = page(PLANNED, *AT_5, ROLLING_BACK, ROLLED_BACK)
    read = Reader(text)
    assert "First error of the canary at 5 %: 500: <script>alert(1)</script>" in read.text
    assert "The first: <b>no</b>." in read.text
    assert not {"script", "b"} & {tag for tag, _ in read.tags}


def test_is_one_file_and_keeps_the_previous_config_to_itself(page):
    text = page(PLANNED, *AT_5, PASSED_5, ROLLING_BACK, ROLLED_BACK)
    assert "://" not in text
    assert "a-value-of-its-own" not in text
    names = [(name, value) for _, attributes in Reader(text).tags for name, value in attributes.items()]
    assert all(value.startswith("#") for name, value in names if name in ("src", "href", "xlink:href"))


def test_can_be_read_by_a_screen_reader(page):
    tags = Reader(page(PLANNED, *AT_5, PASSED_5)).tags
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert ("html", {"lang": "en"}) in tags
    assert len(ids) == len(set(ids))
    assert len([tag for tag, _ in tags if tag == "svg"]) == 5
    assert (
        len([attributes for _, attributes in tags if attributes.get("role") == "img" and attributes["aria-label"]]) == 5
    )
    assert all("scope" in attributes for tag, attributes in tags if tag == "th")


def test_resumed(page):
    resumed = Entry(state=State.BAKING, weight=5, resumed=True)
    text = page(PLANNED, *AT_5[:3], resumed)
    assert "Resumed by another command while baking, 2026-07-01 10:04:00 UTC." in text
    assert "baking, resumed here" in text
    assert re.search("<text[^>]*>resumed</text>", text)


def test_what_a_resumed_rollout_repeats_is_told_once(page):
    passed, rolling_back = (entry.model_copy(update={"resumed": True}) for entry in (PASSED_5, ROLLING_BACK))
    text = page(PLANNED, *AT_5, PASSED_5, passed, ROLLING_BACK, rolling_back, ROLLING_BACK, ROLLED_BACK)
    assert text.count("<li>TTFT p50 is too long.</li>") == 1
    assert text.count('<th scope="row">canary</th>') == 2


def test_version_before_does_not_pass_its_probe(page):
    failed = Entry(state=State.FAILED, why=["v1 has all traffic again and does not pass its probe."])
    text = Reader(page(PLANNED, *AT_5, ROLLING_BACK, failed)).text
    assert "Failed at 0 % of the traffic, 2026-07-01 10:06:00 UTC: v1 has all traffic again and does not" in text


def test_under_way(page):
    resumed = PASSED_5.model_copy(update={"resumed": True})
    text = page(PLANNED, *AT_5, PASSED_5, resumed, Entry(state=State.MOVING, weight=100))
    assert heading(text) == (
        "The rollout of version v2 of my-llm is still under way: moving since 2026-07-01 10:07:00 UTC, "
        "7 min after it began."
    )
    assert "Nothing is decided yet. So far it met the SLO at 5 % of the traffic." in text
    assert "to 100 %" in text


def test_planned_only(page):
    text = page(PLANNED)
    assert "still under way: planned since" in heading(text)
    assert "Nothing was changed yet." in text
    assert "Nothing was measured." in text
    assert plots(text) == []


def test_first_deploy_that_failed(page):
    first = PLAN.model_copy(update={"kind": "deploy", "steps": [100], "previous": None})
    failed = Entry(state=State.FAILED, why=["The image could not be built."])
    text = page(Entry(state=State.PLANNED, plan=first), Entry(state=State.DEPLOYING), failed)
    assert heading(text) == "The deploy of version v2 of my-llm failed on 2026-07-01 10:02:00 UTC, after 2 min."
    assert "The image could not be built." in text
    assert "nothing, it is the first version" in text
    assert "Nothing was measured." in text


def test_only_readings_of_a_canary_that_answered_nothing(page):
    text = page(PLANNED, Entry(state=State.DEPLOYING), Entry(state=State.FINISHED, readings={"canary": FAILING}))
    assert plots(text) == ["Weight of the new version", "Errors and empty answers"]
    assert "canary errors" in text
    assert "primary errors" not in text


def test_other_commands_do_not_wait_for_matplotlib(root):
    code = "import sys; from ops.rollouts import report; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0


def test_several_models_have_plots_and_rows_of_their_own(page):
    readings = {f"{version}, {model}": CANARY for version in ("canary", "primary") for model in ("small", "large")}
    text = page(PLANNED, *AT_5, PASSED_5.model_copy(update={"readings": readings}))
    assert "5 % passed canary, large 40 0 0 211 ms" in Reader(text).text
    assert plots(text)[1:] == [
        f"{plot}, {model}"
        for model in ("small", "large")
        for plot in ("TTFT", "Inter-token time", "Speed of the median answer", "Errors and empty answers")
    ]
