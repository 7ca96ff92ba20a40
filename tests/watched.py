"""What a real Prometheus sees of a running service: the queries of the dashboard and the alerts, asked of it."""

import math
import re
import time
from collections.abc import Callable

import yaml

from ops.monitoring import alerts, dashboard, prometheus
from ops.project.catalogue import Service

METRIC = re.compile(r"\bray_(?:serve|vllm|node)_\w+")
CHOICES = {"$application": ".+", "$deployment": ".+", "$model": ".+", "$__rate_interval": "5m"}
"""What Grafana puts in, with everything chosen."""
REPORTED_S = 60  # Ray reports every 10 s, Prometheus asks every 5, and both processors have other work


def queries() -> dict[str, tuple[str, str]]:
    """Each query of the dashboard by its title, with why a healthy service on a laptop has no series for it, if so."""
    return {
        f"{panel.title}: {legend}": (chosen(expression), panel.empty_here)
        for row in dashboard.ROWS
        for panel in row.panels
        for legend, expression in panel.queries.items()
    }


def chosen(expression: str) -> str:
    for name, value in CHOICES.items():
        expression = expression.replace(name, value)
    return expression


def rules(service: Service) -> list[dict]:
    return yaml.safe_load(alerts.text(service))["groups"][0]["rules"]


def metrics(texts: list[str]) -> set[str]:
    return {name for text in texts for name in METRIC.findall(text)}


def never_seen_here() -> set[str]:
    """Metrics that only those panels ask for of which the dashboard says that a healthy laptop has none."""
    empty, filled = (metrics([text for text, why in queries().values() if bool(why) is here]) for here in (True, False))
    return empty - filled


def has_values(server: prometheus.Server, expression: str) -> bool:
    return any(not math.isnan(float(series["value"][1])) for series in server.query(expression))


def without_values(server: prometheus.Server, wanted: dict[str, str]) -> list[str]:
    """The names of those expressions that have no values, after they were given time to get some."""
    return left_in_the_end(lambda: [name for name, text in wanted.items() if not has_values(server, text)])


def raised(server: prometheus.Server, group: str, names: set[str]) -> list[str]:
    """The alerts that are not inactive, after they were given time: at the start of a service they are right."""
    return left_in_the_end(
        lambda: [rule["name"] for rule in server.rules(group) if rule["name"] in names and rule["state"] != "inactive"]
    )


def left_in_the_end(missing: Callable[[], list[str]]) -> list[str]:
    deadline = time.monotonic() + REPORTED_S
    while left := missing():
        if time.monotonic() > deadline:
            break
        time.sleep(1)
    return left
