"""scripts/probe: send a service the requests of its probe.yaml and check the answers."""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import httpx
import jsonschema
import typer

from ops import answers, catalogue, cli, probe_file
from ops.answers import Answer
from ops.cli import CommandError, out
from ops.probe_file import Check, ProbeFile

TIMEOUT_S = 120  # guess: a cold kernel or a full batch delays an answer; longer than that is a failure


@dataclass
class Result:
    """The outcome of one check; it passed if nothing failed."""

    check: str
    seconds: float
    failures: list[str]


def probe(
    service: Annotated[str, typer.Argument(help="A service such as small-size-llm, or the path of a probe.yaml.")],
    url: Annotated[str, typer.Option(help="Where it runs.")] = "http://127.0.0.1:8000",
    api_key: Annotated[str | None, typer.Option(help="Sent as bearer token; Anyscale services want one.")] = None,
    model: Annotated[str | None, typer.Option(help="The model id to ask, where it is not the probe's own.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Check a running service. Exit status: 0 all true, 1 something is not, 2 it could not be asked.

    Example: scripts/probe small-size-llm --url http://127.0.0.1:8001
    """
    file = Path(service) if service.endswith(".yaml") else catalogue.find(service).probe_file
    probe = probe_file.load(file)
    probe.model = model or probe.model
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        with httpx.Client(
            base_url=url, headers=headers, timeout=TIMEOUT_S, trust_env=not answers.is_local(url)
        ) as client:
            check_reachable(client)
            results = [run_check(client, probe, check) for check in probe.checks]
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise CommandError(
            f"{url} cannot be asked: {str(error).rstrip('.')}. Is it running? scripts/dev starts a service."
        ) from None
    if as_json:
        print(json.dumps({"url": url, "model": probe.model, "results": [asdict(result) for result in results]}))
    else:
        print_results(results)
    sys.exit(1 if any(result.failures for result in results) else 0)


def check_reachable(client: httpx.Client) -> None:
    """Raises CommandError where no check could say more than that the key is wrong."""
    status = client.get("/v1/models").status_code
    if status in (401, 403):
        raise CommandError(f"{client.base_url} answers {status}: give its token with --api-key.")


def run_check(client: httpx.Client, probe: ProbeFile, check: Check) -> Result:
    try:
        if check.request is None:
            answer = answers.get(client, check.path)
        else:
            answer = answers.post(client, check.path, check.body(probe.model))
    except (httpx.RemoteProtocolError, httpx.ReadTimeout, httpx.ReadError) as error:
        return Result(check.name, 0, [f"the answer broke off: {error!r}"])
    return Result(check.name, round(answer.seconds, 3), failures(check, probe.model, answer))


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
    if expect.lists_model and model not in answer.model_ids:
        failed.append(f"expected model {model} in the list, got {', '.join(answer.model_ids)}")
    if expect.follows_schema:
        failed += schema_failures(check, answer.content)
    return failed


def schema_failures(check: Check, content: str) -> list[str]:
    try:
        jsonschema.validate(json.loads(content), check.json_schema())
    except json.JSONDecodeError as error:
        return [f"expected JSON, got {content[:300]!r} ({error})"]
    except jsonschema.ValidationError as error:
        return [f"expected JSON that follows the schema, got {content[:300]!r} ({error.message})"]
    return []


def print_results(results: list[Result]) -> None:
    for result in results:
        mark = "[red]FAIL[/red]" if result.failures else "[green]ok  [/green]"
        out.print(f"{mark} {result.check} ({result.seconds:.2f} s)")
        for failure in result.failures:
            out.print(f"     {failure}", markup=False)
    failed = sum(bool(result.failures) for result in results)
    out.print(f"{len(results) - failed} of {len(results)} checks passed.")


if __name__ == "__main__":
    cli.run("scripts/probe", probe)
