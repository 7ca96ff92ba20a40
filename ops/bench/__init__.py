"""Measurements on one machine, beside bare vLLM or of one setting; docs/performance has what was found."""
