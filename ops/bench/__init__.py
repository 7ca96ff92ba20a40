"""Measurements of this repository on one machine, whose results are in docs/performance."""
