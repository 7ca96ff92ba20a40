"""The requests of probe.yaml: fields that vLLM does not know, or refuses with the settings of the service."""

from collections.abc import Iterator
from typing import Any

from ops.check import registry
from ops.check.finding import Finding, make_finding
from ops.check.rules import dead_settings
from ops.console.suggestions import instead
from ops.project.coercion import mapping, sequence
from ops.project.service_files import ServiceFiles

V2_RUNNER = "VLLM_USE_V2_MODEL_RUNNER"


def checks(files: ServiceFiles) -> Iterator[tuple[int, dict[str, Any], dict[str, Any]]]:
    """Index, check and request of each check of the probe."""
    for index, check in enumerate(sequence(files.probe.get("checks"))):
        yield index, mapping(check), mapping(mapping(check).get("request"))


def quick_findings(files: ServiceFiles) -> Iterator[Finding]:
    """Budgets of thinking tokens that vLLM refuses. Source: InputProcessor of vLLM 0.27."""
    for index, check, request in checks(files):
        model = files.models.get(str(request.get("model"))) or files.model
        engine = mapping(model.engine) if model else {}
        if "thinking_token_budget" not in request or mapping(check.get("expect")).get("status", 200) != 200:
            continue
        place = files.probe.place("checks", index, "request", "thinking_token_budget")
        if not engine.get("reasoning_parser") and not engine.get("reasoning_config"):
            yield make_finding(
                files,
                registry.THINKING_BUDGET_REFUSED,
                place,
                what="A request has a `thinking_token_budget`, and the model has no `reasoning_parser`.",
                why="vLLM answers with status 400: it does not know where the thoughts end.",
                fix="Set `reasoning_parser` in the model's `engine_kwargs`.",
            )
        elif files.env_vars.get(V2_RUNNER) != "0":
            yield make_finding(
                files,
                registry.THINKING_BUDGET_REFUSED,
                place,
                what=f'A request has a `thinking_token_budget`, and {V2_RUNNER} is not "0" in service.yaml.',
                why="vLLM 0.27 takes its second model runner for most dense models, which answers it with status 400.",
                fix=f'Set {V2_RUNNER}: "0" in `env_vars` of service.yaml.',
            )


def findings(files: ServiceFiles) -> Iterator[Finding]:
    """Fields that the route's own model of a request does not have; vLLM ignores them."""
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
    from vllm.entrypoints.openai.responses.protocol import ResponsesRequest

    of_route = {"/v1/chat/completions": ChatCompletionRequest, "/v1/responses": ResponsesRequest}
    for index, check, request in checks(files):
        route = check.get("path", "/v1/chat/completions")
        fields = of_route[route].model_fields if route in of_route else {}
        for name in request:
            if not fields or name in fields or ("request", name) in dead_settings.BY_NAME:
                continue
            yield make_finding(
                files,
                registry.UNKNOWN_REQUEST_FIELD,
                files.probe.place("checks", index, "request", name),
                what=f"`{name}` is not a field of a request to {route}.",
                fix=instead(str(name), fields, "Remove it."),
            )
