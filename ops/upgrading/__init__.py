"""Bring the runtime and the tools of another version of the template into a clone, in one commit."""
