"""Ask the versions of a deployed service: its probe, and a small load."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
from openai import OpenAI

from ops.cloud.service_state import ServiceState, Version
from ops.probing import client, load_test, measurement, probe
from ops.probing.measurement import Measurement
from ops.probing.probe import CheckOutcome
from ops.project import probe_file, routes
from ops.project.catalogue import Service
from ops.project.slo import LoadSpec

CANARY, PRIMARY = "canary", "primary"


def probe_failures(service: Service, state: ServiceState, version: Version, header: str | None = None) -> list[str]:
    """What is not true of the answers of a version, a sentence each.

    `header` is CANARY or PRIMARY while there are two; without, Anyscale chooses.
    """
    file = probe_file.load(service.probe_file)
    file.model = model_of(service, version)
    results = probe.check_all(client.connect(state.url, state.token, probe.TIMEOUT_S, header), file)
    if arguments_of(version).get("api_keys"):
        results.append(unguarded(client.connect(state.url, state.token, probe.TIMEOUT_S, header, with_key=False)))
    return [f"probe, {result.check}: {failure}" for result in results for failure in result.failures]


def unguarded(connection: OpenAI) -> CheckOutcome:
    """Check that a service with API keys asks for one."""
    try:
        answer = client.ask(connection, routes.MODELS, {})
    except openai.APIConnectionError as error:
        return CheckOutcome("no API key", 0, [f"the answer broke off: {error.__cause__ or error!r}"])
    failures = [] if answer.status == 401 else [f"expected status 401 without one, got {answer.status}"]
    return CheckOutcome("no API key", answer.seconds, failures)


def versions_of(state: ServiceState) -> dict[str, Version]:
    """The versions that run, by what asks for them."""
    return ({CANARY: state.canary} if state.canary else {}) | {PRIMARY: state.primary}


def probe_side_by_side(service: Service, state: ServiceState) -> dict[str, list[str]]:
    """What is not true of the answers of each version, all probed at the same time."""
    versions = versions_of(state)
    with ThreadPoolExecutor(len(versions)) as pool:
        pending = {name: pool.submit(probe_failures, service, state, one, name) for name, one in versions.items()}
    return {name: probed.result() for name, probed in pending.items()}


def measure(service: Service, state: ServiceState, amount: LoadSpec) -> dict[str, Measurement]:
    """A reading of each version, and of each model where it serves several, all measured at the same time."""
    asked = {}
    for name, version in versions_of(state).items():
        connection = client.connect(state.url, state.token, probe.TIMEOUT_S, name)
        models = models_of(service, version, connection)
        for model in models:
            asked[measurement.name_of(name, model if len(models) > 1 else "")] = (connection, model)
    return load_test.measure(asked, amount)


def models_of(service: Service, version: Version, connection: OpenAI) -> list[str]:
    """The model ids that a version answers to: the one that it was deployed with, else all that it lists."""
    chosen = arguments_of(version).get("model")
    if chosen:
        return [chosen]
    try:
        listed = client.ask(connection, routes.MODELS, {}).model_ids
    except openai.APIConnectionError:
        listed = ()  # the load will tell
    return list(listed) or [model_of(service, version)]


def model_of(service: Service, version: Version) -> str:
    """The model id that the probe of a version asks for: a rollout may change it."""
    return arguments_of(version).get("model") or probe_file.load(service.probe_file).model


def arguments_of(version: Version) -> dict[str, Any]:
    (application,) = version.config["applications"]
    return application.get("args", {})
