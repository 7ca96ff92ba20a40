"""Ask the versions of a deployed service: its probe, and a small load."""

from concurrent.futures import ThreadPoolExecutor

from ops import client, load, probe, probe_file
from ops.catalogue import Service
from ops.load import Reading
from ops.service_state import ServiceState, Version
from ops.slo import Load

CANARY, PRIMARY = "canary", "primary"


def probe_failures(service: Service, state: ServiceState, version: Version, header: str | None = None) -> list[str]:
    """What is not true of the answers of a version, a sentence each.

    `header` is CANARY or PRIMARY while there are two; without, Anyscale chooses.
    """
    file = probe_file.load(service.probe_file)
    file.model = model_of(service, version)
    results = probe.check_all(client.connect(state.url, state.token, probe.TIMEOUT_S, header), file)
    return [f"probe, {result.check}: {failure}" for result in results for failure in result.failures]


def versions_of(state: ServiceState) -> dict[str, Version]:
    """The versions that run, by what asks for them."""
    return ({CANARY: state.canary} if state.canary else {}) | {PRIMARY: state.primary}


def probe_side_by_side(service: Service, state: ServiceState) -> dict[str, list[str]]:
    """What is not true of the answers of each version, all probed at the same time."""
    versions = versions_of(state)
    with ThreadPoolExecutor(len(versions)) as pool:
        pending = {name: pool.submit(probe_failures, service, state, one, name) for name, one in versions.items()}
    return {name: probed.result() for name, probed in pending.items()}


def measure(service: Service, state: ServiceState, amount: Load) -> dict[str, Reading]:
    """A reading of each version, all measured at the same time."""
    asked = {
        name: (client.connect(state.url, state.token, probe.TIMEOUT_S, name), model_of(service, version))
        for name, version in versions_of(state).items()
    }
    return load.measure(asked, amount)


def model_of(service: Service, version: Version) -> str:
    """The model id that a version answers to: a rollout may change it."""
    (application,) = version.config["applications"]
    return application.get("args", {}).get("model") or probe_file.load(service.probe_file).model
