"""What the probe says of answers. The answers are made up here, because a working service gives no wrong ones."""

import pytest

from ops.probing.client import Answer, ToolCall
from ops.probing.probe import failures
from ops.project.probe_file import Check

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def check(request: dict | None = None, **expect) -> Check:
    return Check(name="a check", request=request or {}, expect=expect)


WEATHER = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}


def tool_check() -> Check:
    return check({"tools": [WEATHER]}, calls_tool={"city": "Paris"})


def call(arguments: str, name: str = "weather") -> Answer:
    return Answer(tool_calls=[ToolCall(name, arguments)])


def schema_check() -> Check:
    return check({"response_format": {"json_schema": {"schema": SCHEMA}}}, follows_schema=True)


@pytest.mark.parametrize(
    ("expected", "answer"),
    [
        (check(content="Paris", finish_reason="stop"), Answer(content="It is PARIS.", finish_reason="stop")),
        (check(status=404, error="no-such"), Answer(404, error="The model no-such-model does not exist")),
        (check(lists_model=True), Answer(model_ids=("other", "m"))),
        (check(lists_models=["m", "n"]), Answer(model_ids=("n", "other", "m"))),
        (check(thinks=True, content="Paris"), Answer(reasoning="France.", content="Paris")),
        (check(thinks=False), Answer(reasoning="\n\n", content="Paris")),
        (check(thinks_at_most=2), Answer(reasoning="One two")),
        (check(counts_reasoning_tokens=True), Answer(reasoning_tokens=3)),
        (schema_check(), Answer(content='{"city": "Paris"}', finish_reason="stop")),
        (tool_check(), call('{"city": "Paris"}')),
    ],
)
def test_right_answers_pass(expected, answer):
    assert failures(expected, "m", answer) == []


@pytest.mark.parametrize(
    ("expected", "answer", "said"),
    [
        (check(content="Paris"), Answer(content="It is Rome."), "'Paris', got 'It is Rome.'"),
        (check(finish_reason="stop"), Answer(content="Par"), "finish_reason stop, got None"),
        (check(), Answer(500, error="EngineDeadError"), "expected status 200, got 500: EngineDeadError"),
        (check(status=400), Answer(), "expected status 400, got 200"),
        (check(lists_model=True), Answer(model_ids=("other",)), "expected model m in the list, got other"),
        (check(lists_models=["m", "n"]), Answer(model_ids=("m",)), "expected model n in the list, got m"),
        (check(thinks=True), Answer(content="Paris"), "expected reasoning, got none"),
        (check(thinks=False), Answer(reasoning="Hm.", content="Paris"), "expected no reasoning, got 'Hm.'"),
        (check(thinks=False), Answer(content="<think>Hm.</think>Paris"), "expected content without thoughts"),
        (check(thinks_at_most=1), Answer(reasoning="One two"), "expected at most 1 words of reasoning"),
        (check(counts_reasoning_tokens=True), Answer(reasoning_tokens=0), "count reasoning tokens, got 0"),
        (schema_check(), Answer(content='{"city": "Par'), "expected content to be JSON, got"),
        (schema_check(), Answer(content='{"town": "Paris"}'), "'city' is a required property"),
        (tool_check(), Answer(content="Sunny"), "expected one call of weather, got none, and content 'Sunny'"),
        (tool_check(), call('{"city": "Paris"}', name="time"), "expected one call of weather, got ['time']"),
        (tool_check(), call('{"city": "Par'), "expected arguments to be JSON"),
        (tool_check(), call('{"town": "Paris"}'), "'city' is a required property"),
        (tool_check(), call('{"city": "Rome"}'), 'expected arguments {"city": "Paris"}, got {"city": "Rome"}'),
    ],
)
def test_wrong_answers_are_told(expected, answer, said):
    (failure,) = failures(expected, "m", answer)
    assert said in failure
