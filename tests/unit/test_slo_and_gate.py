"""SLO files are read with their units, and the gate says what a version does not meet."""

import re

import pytest

from ops.console.cli import CommandError
from ops.probing.measurement import Measurement, Percentiles
from ops.project import slo
from ops.rollouts import gate

TEXT = """
load: {requests: 20, concurrency: 2, output_tokens: 64, prompts: [Hello]}
objectives: {errors: 5%, ttft_p50: 500ms, ttft_p95: 2s, inter_token_p95: 100ms, tokens_per_second: 10tokens/s}
against_primary: {ttft_p50: 1.5x, inter_token_p50: 1.5x, tokens_per_second: 0.8x}
"""
GOOD = Measurement(
    requests=20,
    errors=0,
    empty_answers=0,
    ttft=Percentiles(p50=0.2, p95=0.4),
    inter_token=Percentiles(p50=0.02, p95=0.05),
    tokens_per_second=40,
)


@pytest.fixture
def limits(tmp_path) -> slo.Slo:
    file = tmp_path / "slo.yaml"
    file.write_text(TEXT)
    return slo.load(file)


def test_every_service_has_an_slo_file(service):
    assert slo.load(service.slo_file).load.requests


def test_units_are_read(limits):
    assert (limits.objectives.ttft_p50, limits.objectives.ttft_p95) == (0.5, 2)
    assert limits.objectives.errors == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("right", "wrong", "place"),
    [
        ("ttft_p50: 500ms", "ttft_p50: 500", "objectives.ttft_p50"),
        ("ttft_p50: 500ms", "ttft_p50: 500us", "objectives.ttft_p50"),
        ("errors: 5%", "errors: 0.05", "objectives.errors"),
        ("errors: 5%", "errors: 500%", "objectives.errors"),
        ("tokens_per_second: 0.8x", "tokens_per_second: 0.8", "against_primary.tokens_per_second"),
        ("ttft_p95: 2s", "ttft_p99: 2s", "objectives.ttft_p99"),
        ("requests: 20", "requests: 0", "load.requests"),
        ("prompts: [Hello]", "prompts: []", "load.prompts"),
        ("requests: 20", "requests: 20, requests: 30", "given twice"),
    ],
)
def test_a_wrong_file_is_refused_by_place(tmp_path, right, wrong, place):
    file = tmp_path / "slo.yaml"
    assert right in TEXT
    file.write_text(TEXT.replace(right, wrong))
    with pytest.raises(CommandError, match=place):
        slo.load(file)


def test_a_version_like_its_primary_passes(limits):
    assert gate.breaches(limits, GOOD, GOOD) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"errors": 2, "first_error": "500: engine is dead"}, "2 of 20 requests failed; .* engine is dead"),
        ({"empty_answers": 1}, "1 of 20 requests were answered without content"),
        ({"ttft": Percentiles(p50=0.6, p95=0.7)}, "TTFT p50 is 600 ms; the SLO allows 500 ms"),
        ({"ttft": Percentiles(p50=0.2, p95=2.1)}, "TTFT p95 is 2100 ms"),
        ({"ttft": Percentiles(p50=0.36, p95=0.4)}, "1.8 times the primary's 200 ms"),
        ({"inter_token": Percentiles(p50=0.02, p95=0.2)}, "inter-token time p95 is 200 ms"),
        ({"tokens_per_second": 8}, "8 tokens/s; the SLO asks for 10"),
        ({"tokens_per_second": 30}, "0.8 times the primary's 40"),
    ],
)
def test_what_a_version_does_not_keep_to_is_said(limits, change, sentence):
    canary = GOOD.model_copy(update=change)
    primary = GOOD.model_copy(update={"tokens_per_second": 40.0})
    (first, *_) = gate.breaches(limits, canary, primary)
    assert re.search(sentence, first)


def test_a_version_that_answers_nothing_does_not_pass(limits):
    dead = Measurement(requests=20, errors=20, first_error="503", empty_answers=0)
    assert gate.breaches(limits, dead, GOOD)


def test_one_error_of_twenty_is_within_five_percent(limits):
    assert gate.breaches(limits, GOOD.model_copy(update={"errors": 1}), GOOD) == []
