"""A station over weeks: verdicts, drift of slides and scores, and what people said about both."""

from __future__ import annotations
