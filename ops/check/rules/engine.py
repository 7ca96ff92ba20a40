"""The engine: settings of the models, and around them, that this Ray and this vLLM do not know, ignore or refuse."""

import functools
import os
from collections.abc import Iterable, Iterator
from itertools import chain

from ops.check.finding import Finding
from ops.check.rules import (
    adapters,
    dead_settings,
    engine_arguments,
    engine_combinations,
    engine_environment,
    engine_requests,
    engine_routing,
    parallelism,
)
from ops.project.service_files import ServiceFiles


def quick_findings(files: ServiceFiles) -> Iterator[Finding]:
    """What can be known without importing Ray or vLLM."""
    yield from once(
        chain(
            dead_settings.findings(files),
            parallelism.findings(files),
            engine_combinations.findings(files),
            adapters.findings(files),
            engine_routing.findings(files),
            engine_environment.quick_findings(files),
            engine_requests.quick_findings(files),
        )
    )


def findings(files: ServiceFiles) -> Iterator[Finding]:
    """What the installed vLLM says itself, and the sources of Ray, without what `quick_findings` finds."""
    import_vllm()
    yield from once(
        chain(
            engine_arguments.findings(files),
            engine_environment.findings(files),
            engine_requests.findings(files),
        )
    )


def once(found: Iterable[Finding]) -> Iterator[Finding]:
    """Each finding once: the models of a service share settings."""
    seen = set()
    for finding in found:
        key = (finding.check, finding.file, finding.line, finding.what)
        if key not in seen:
            seen.add(key)
            yield finding


@functools.cache
def import_vllm() -> None:
    """Import vLLM without its remarks on this machine."""
    level = os.environ.get("VLLM_LOGGING_LEVEL")
    os.environ["VLLM_LOGGING_LEVEL"] = "ERROR"
    try:
        import vllm.engine.arg_utils
        import vllm.entrypoints.openai.cli_args  # noqa: F401
    finally:
        if level is None:
            del os.environ["VLLM_LOGGING_LEVEL"]
        else:
            os.environ["VLLM_LOGGING_LEVEL"] = level
