"""Metrics of a service: what the dashboard and the alerts ask for, and a Prometheus to try them with."""
