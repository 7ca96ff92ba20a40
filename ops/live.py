"""Ask the versions of a deployed service: its probe, and a small load."""

from concurrent.futures import ThreadPoolExecutor

from ops import client, load, probe, probe_file
from ops.catalogue import Service
from ops.load import Reading
from ops.service_state import ServiceState
from ops.slo import Load

CANARY, PRIMARY = "canary", "primary"


def probe_failures(service: Service, state: ServiceState, model: str, version: str | None = None) -> list[str]:
    """What is not true of the answers of a version, a sentence each; None asks whichever version Anyscale chooses."""
    file = probe_file.load(service.probe_file)
    file.model = model
    results = probe.check_all(client.connect(state.url, state.token, probe.TIMEOUT_S, version), file)
    return [f"probe, {result.check}: {failure}" for result in results for failure in result.failures]


def probe_side_by_side(service: Service, state: ServiceState, model: str, versions: list[str]) -> dict[str, list[str]]:
    """What is not true of the answers of each version, all probed at the same time."""
    with ThreadPoolExecutor(len(versions)) as pool:
        pending = {name: pool.submit(probe_failures, service, state, model, name) for name in versions}
    return {name: probed.result() for name, probed in pending.items()}


def measure(state: ServiceState, model: str, amount: Load, versions: list[str]) -> dict[str, Reading]:
    """A reading of each version, all measured at the same time."""
    connections = {name: client.connect(state.url, state.token, probe.TIMEOUT_S, name) for name in versions}
    return load.measure(connections, model, amount)


def model_of(service: Service, state: ServiceState) -> str:
    """The model id that a deployed service answers to."""
    (application,) = state.primary.config["applications"]
    return application.get("args", {}).get("model") or probe_file.load(service.probe_file).model
