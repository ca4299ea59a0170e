"""A station over weeks: verdicts, drift of slides and scores, and what people said of both."""

from __future__ import annotations
