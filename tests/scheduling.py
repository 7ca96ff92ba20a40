"""Which tests one of pytest's workers runs: those that share a running service, and else those of one file.

pytest-xdist 3.8.0 has `xdist_group` for this; with pytest 9.2.0 it was seen to do nothing.
"""

from collections.abc import Iterable

from xdist.scheduler import LoadScopeScheduling


class ByService(LoadScopeScheduling):
    """Hands out all tests of a service at once, by the first parameter in their names."""

    services: tuple[str, ...] = ()

    def _split_scope(self, nodeid: str) -> str:
        file, _, test = nodeid.partition("::")
        parameters = test.partition("[")[2].rstrip("]")
        named = [name for name in self.services if parameters == name or parameters.startswith(f"{name}-")]
        return max(named, key=len, default=file)


def by_service(config, log, services: Iterable[str]) -> ByService:
    """What `pytest_xdist_make_scheduler` is to return for tests of these services."""
    scheduler = ByService(config, log)
    scheduler.services = tuple(services)
    return scheduler
