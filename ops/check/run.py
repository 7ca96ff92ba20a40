"""All checks of some services, and what they cannot know."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import ModuleType

from pydantic import BaseModel

from ops.check import ignore_file, registry, result_cache
from ops.check.finding import Finding, NotChecked
from ops.check.ignore_file import Silenced
from ops.check.rules import (
    auth,
    contract,
    engine,
    fit,
    import_strings,
    ingress,
    layouts,
    monitoring,
    placement,
    readme,
    scaling,
    service_yaml,
    service_yaml_import,
    timeouts,
    upload,
)
from ops.project.service_files import ServiceFiles

Check = Callable[[ServiceFiles], Iterator[Finding]]

QUICK: list[Check] = [
    service_yaml.quick_findings,
    engine.quick_findings,
    scaling.findings,
    timeouts.findings,
    ingress.findings,
    auth.findings,
    placement.findings,
    layouts.findings,
    contract.findings,
    monitoring.findings,
    readme.findings,
    fit.quick_findings,
]
"""These read files and import neither Ray nor vLLM nor the Anyscale SDK."""

SLOW: list[list[Check]] = [
    [service_yaml.findings],
    [engine.findings, service_yaml_import.findings, import_strings.findings],
]
"""These compare with what is installed. The first group imports the Anyscale SDK and Ray Serve, the second vLLM, at the
same time in two processes: imports are most of what these checks take."""

GENERAL = {
    rule.id
    for rule in (
        registry.REFUSED_VALUE,
        registry.REFUSED_BY_LLM_CONFIG,
        registry.ARGS_DO_NOT_FIT,
        registry.IMAGE_OF_OTHER_VERSIONS,
    )
}
"""What another error of the same line, if there is one, says better: most are the words of Ray or the SDK."""
NEVER = (
    "the cloud, its quota and prices; whether the weights are there, and HF_TOKEN may read them; what an image holds"
)
"""What cannot be known from files, for any service."""
WHEN_FAST = (
    "what Ray, vLLM and the Anyscale SDK know (keys, engine arguments, parsers, schemas) and what would be uploaded: "
    "run it without --fast"
)


class CheckResult(BaseModel):
    findings: list[Finding]
    silenced: list[Silenced]
    """Findings that services/check-ignore.yaml silences; they are not in `findings`."""
    not_checked: list[NotChecked]

    @property
    def errors(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity == "error"]

    @property
    def warnings(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity == "warning"]


def check(root: Path, services: list[ServiceFiles], fast: bool = False) -> CheckResult:
    """Every finding of services of a repository.

    Args:
        root: of the repository.
        fast: leave out what takes longer than a moment; the result says that it was.

    Raises:
        CommandError: services/check-ignore.yaml cannot be used.
    """
    entries = ignore_file.read(root)
    findings = [] if fast else slow(services)
    findings += [finding for files in services for finding in run(QUICK, files)]
    sorted_out = ignore_file.sort(once(findings), entries)
    # Without the slow checks an entry may only seem to silence nothing.
    stale = [] if fast else ignore_file.stale(root, [one.folder for one in services], entries, sorted_out.unused)
    return CheckResult(
        findings=sorted_out.standing + stale,
        silenced=sorted_out.silenced,
        not_checked=[*unknown(services), *always(fast)],
    )


def slow(services: list[ServiceFiles]) -> list[Finding]:
    """What the slow checks find, and what is found in the uploads, which hold more files than those of the services."""
    known = {files.folder: result_cache.read(files) for files in services}
    if new := [files for files in services if known[files.folder] is None]:
        with ProcessPoolExecutor(len(SLOW), initializer=prepare_imports) as pool:
            groups = [pool.submit(found_by, checks, new) for checks in SLOW]
            uploads = pool.submit(found_by, [upload.findings], services).result()  # in the process first free
        for files in new:
            found = known[files.folder] = [finding for group in groups for finding in group.result()[files.folder]]
            result_cache.write(files, found)
    else:
        uploads = found_by([upload.findings], services)
    return [finding for findings in [*known.values(), *uploads.values()] for finding in findings or []]


def prepare_imports() -> None:
    os.environ["VLLM_LOGGING_LEVEL"] = "ERROR"  # else it remarks at import that this machine has no GPU
    # What vLLM changes in torch's compiler when it is imported, for running models: 4 of 15 s (vLLM 0.27.0, two cores).
    sys.modules["vllm.env_override"] = ModuleType("vllm.env_override")


def found_by(checks: list[Check], services: list[ServiceFiles]) -> dict[Path, list[Finding]]:
    return {files.folder: list(run(checks, files)) for files in services}


def run(checks: list[Check], files: ServiceFiles) -> Iterator[Finding]:
    for look in checks:
        yield from look(files)


def unknown(files: list[ServiceFiles]) -> Iterator[NotChecked]:
    for service in files:
        for what in [*fit.not_checked(service), *placement.not_checked(service), *auth.not_checked(service)]:
            yield NotChecked(service=service.name, what=what)


def always(fast: bool) -> list[NotChecked]:
    return [NotChecked(service="", what=what) for what in ([WHEN_FAST] if fast else []) + [NEVER]]


def once(findings: Iterable[Finding]) -> list[Finding]:
    """One of each kind and place, in the order of files: models share their settings, and some checks say more."""
    first: dict[tuple[str, int, str], Finding] = {}
    for finding in findings:
        first.setdefault((finding.file, finding.line, finding.check), finding)
    specific = [finding for finding in first.values() if finding.check not in GENERAL and finding.severity == "error"]
    said_better = {(finding.file, finding.line) for finding in specific}
    kept = [key for key in sorted(first) if key[2] not in GENERAL or key[:2] not in said_better]
    return [first[key] for key in kept]
