"""What the probe says of answers. The answers are made up here, because a working service gives no wrong ones."""

import pytest

from ops.answers import Answer, add_chunk
from ops.probe import failures
from ops.probe_file import Check

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def check(request: dict | None = None, **expect) -> Check:
    return Check(name="a check", request=request, expect=expect)


def schema_check() -> Check:
    return check({"response_format": {"json_schema": {"schema": SCHEMA}}}, follows_schema=True)


@pytest.mark.parametrize(
    ("expected", "answer"),
    [
        (check(content="Paris", finish_reason="stop"), Answer(200, 1, "It is PARIS.", "stop")),
        (check(status=404, error="no-such"), Answer(404, 1, error="The model no-such-model does not exist")),
        (check(lists_model=True), Answer(200, 1, model_ids=("other", "m"))),
        (schema_check(), Answer(200, 1, '{"city": "Paris"}', "stop")),
    ],
)
def test_right_answers_pass(expected, answer):
    assert failures(expected, "m", answer) == []


@pytest.mark.parametrize(
    ("expected", "answer", "said"),
    [
        (check(content="Paris"), Answer(200, 1, "It is Rome."), "'Paris', got 'It is Rome.'"),
        (check(finish_reason="stop"), Answer(200, 1, "Par", None), "finish_reason stop, got None"),
        (check(), Answer(500, 1, error="EngineDeadError"), "expected status 200, got 500: EngineDeadError"),
        (check(status=400), Answer(200, 1), "expected status 400, got 200"),
        (check(lists_model=True), Answer(200, 1, model_ids=("other",)), "expected model m in the list, got other"),
        (schema_check(), Answer(200, 1, '{"city": "Par'), "expected JSON, got"),
        (schema_check(), Answer(200, 1, '{"town": "Paris"}'), "'city' is a required property"),
    ],
)
def test_wrong_answers_are_told(expected, answer, said):
    (failure,) = failures(expected, "m", answer)
    assert said in failure


def test_stream_that_breaks_off_has_no_finish_reason():
    answer = Answer(200, 0)
    add_chunk(answer, '{"choices": [{"delta": {"content": "Par"}, "finish_reason": null}]}')
    add_chunk(answer, '{"error": {"message": "EngineDeadError"}}')
    add_chunk(answer, "[DONE]")
    assert (answer.content, answer.finish_reason) == ("Par", None)
    assert "EngineDeadError" in answer.error
