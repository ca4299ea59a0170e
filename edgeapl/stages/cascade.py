"""What a small network that answers first is asked, and when its answer stands."""

from __future__ import annotations


def student_output(network: str, output: str) -> str:
    """Return the name of the student's output that stands for an output of a parent's network."""
    return f"{network}-{output}"
