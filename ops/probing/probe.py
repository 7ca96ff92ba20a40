"""Send a service the requests of a probe.yaml and compare its answers with what must be true of them."""

import json
from dataclasses import dataclass
from typing import Any

import jsonschema
import openai
from openai import OpenAI

from ops.console.cli import CommandError
from ops.probing import client, service_key
from ops.probing.client import Answer
from ops.project import routes
from ops.project.probe_file import Check, ProbeFile

THINKING_MARKS = ("<think>", "</think>", "<|channel|>")
TIMEOUT_S = 120  # guess: a cold kernel or a full batch delays an answer; longer than that is a failure


@dataclass
class CheckOutcome:
    """The outcome of one check; it passed if nothing failed."""

    check: str
    seconds: float
    failures: list[str]


def check_reachable(connection: OpenAI) -> None:
    """Raises CommandError where no check could say more than that it is not there, or that the key is wrong."""
    try:
        answer = client.ask(connection, routes.MODELS, {})
    except openai.APIConnectionError as error:
        raise CommandError(
            f"{connection.base_url} cannot be asked: {error.__cause__ or error}. Is it running? "
            "scripts/dev starts a service."
        ) from None
    if answer.status in (401, 403):
        raise CommandError(
            f"{connection.base_url} answers {answer.status}. Give the token of an Anyscale service with --api-key; "
            f"where it has api_keys, also a key: export {service_key.VARIABLE}=<the key>"
        )


def check_all(connection: OpenAI, probe: ProbeFile) -> list[CheckOutcome]:
    return [run_check(connection, probe, check) for check in probe.checks]


def run_check(connection: OpenAI, probe: ProbeFile, check: Check) -> CheckOutcome:
    try:
        answer = client.ask(connection, check.path, check.body(probe.model))
    except openai.APIConnectionError as error:
        return CheckOutcome(check.name, 0, [f"the answer broke off: {error.__cause__ or error!r}"])
    return CheckOutcome(check.name, round(answer.seconds, 3), failures(check, probe.model, answer))


def failures(check: Check, model: str, answer: Answer) -> list[str]:
    """What of the check's expectation is not true of the answer, a sentence each."""
    expect = check.expect
    if answer.status != expect.status:
        return [f"expected status {expect.status}, got {answer.status}: {answer.error[:300]}"]
    failed = []
    if expect.content and expect.content.lower() not in answer.content.lower():
        failed.append(f"expected content with {expect.content!r}, got {answer.content[:300]!r}")
    if expect.finish_reason and answer.finish_reason != expect.finish_reason:
        failed.append(
            f"expected finish_reason {expect.finish_reason}, got {answer.finish_reason}. {answer.error[:300]}"
        )
    if expect.error and expect.error.lower() not in answer.error.lower():
        failed.append(f"expected an error with {expect.error!r}, got {answer.error[:300]!r}")
    for listed in [*expect.lists_models, *([model] if expect.lists_model else [])]:
        if listed not in answer.model_ids:
            failed.append(f"expected model {listed} in the list, got {', '.join(answer.model_ids)}")
    if expect.follows_schema and (schema := check.answer_schema()) is not None:
        failed += schema_failures("content", answer.content, schema)
    if expect.calls_tool is not None:
        failed += tool_failures(check, answer)
    return failed + thinking_failures(check, answer)


def thinking_failures(check: Check, answer: Answer) -> list[str]:
    expect, failed, thought = check.expect, [], answer.reasoning.strip()
    if expect.thinks is True and not thought:
        failed.append(f"expected reasoning, got none, and content {answer.content[:300]!r}")
    if expect.thinks is False and thought:
        failed.append(f"expected no reasoning, got {thought[:300]!r}")
    if expect.thinks is not None and any(mark in answer.content for mark in THINKING_MARKS):
        failed.append(f"expected content without thoughts, got {answer.content[:300]!r}")
    if expect.thinks_at_most is not None and len(thought.split()) > expect.thinks_at_most:
        failed.append(f"expected at most {expect.thinks_at_most} words of reasoning, got {thought[:300]!r}")
    if expect.counts_reasoning_tokens and not answer.reasoning_tokens:
        failed.append(f"expected usage to count reasoning tokens, got {answer.reasoning_tokens}")
    return failed


def tool_failures(check: Check, answer: Answer) -> list[str]:
    (tool,) = check.tools()
    if [call.name for call in answer.tool_calls] != [tool["name"]]:
        called = [call.name for call in answer.tool_calls] or "none"
        return [f"expected one call of {tool['name']}, got {called}, and content {answer.content[:300]!r}"]
    (call,) = answer.tool_calls
    failed = schema_failures("arguments", call.arguments, tool["parameters"])
    if not failed and json.loads(call.arguments) != check.expect.calls_tool:
        failed.append(f"expected arguments {json.dumps(check.expect.calls_tool)}, got {call.arguments}")
    return failed


def schema_failures(what: str, text: str, schema: dict[str, Any]) -> list[str]:
    try:
        jsonschema.validate(json.loads(text), schema)
    except json.JSONDecodeError as error:
        return [f"expected {what} to be JSON, got {text[:300]!r} ({error})"]
    except jsonschema.ValidationError as error:
        return [f"expected {what} that follow the schema, got {text[:300]!r} ({error.message})"]
    return []
