"""Explains an answer with a picture, as the bundle asks; runs after the verdict is committed."""

from __future__ import annotations

from edgeapl.explanation.explainer import Explainer, explain_or_say_why, make_explainer

__all__ = ["Explainer", "explain_or_say_why", "make_explainer"]
