"""Selects the explainer that a bundle asks for."""

from __future__ import annotations

from typing import Protocol

from edgeapl.errors import EdgeAplError
from edgeapl.explanation.contributions import ContributionsExplainer
from edgeapl.explanation.maps import MapExplainer
from edgeapl.explanation.occlusion import OcclusionExplainer
from edgeapl.model import Model
from edgeapl.report.explanation import Explanation
from edgeapl.types import ExaminedFrame


class Explainer(Protocol):
    """Sees every finished frame of a slide, keeps what it needs, and explains at the end."""

    @property
    def title(self) -> str:
        """Title of its pictures."""

    def add(self, examined: ExaminedFrame) -> None:
        """Take a finished frame; memory stays bounded."""

    def explain(self) -> Explanation:
        """Draw the pictures. Raises EngineError when a network fails."""


def make_explainer(model: Model, *, crops: bool, batch_size: int) -> Explainer | None:
    """Return the explainer of a bundle; None if it explains nothing.

    Parameters
    ----------
    crops : every image is one cell. batch_size : cells per network run.
    """
    spec = model.bundle.manifest.explanation
    if spec is None:
        return None
    if spec.kind == "map":
        return MapExplainer(model, spec, crops=crops, batch_size=batch_size)
    if spec.kind == "contributions":
        return ContributionsExplainer(model, spec, crops=crops)
    return OcclusionExplainer(model, spec, crops=crops, batch_size=batch_size)


def explain_or_say_why(explainer: Explainer | None) -> Explanation | None:
    """Explain, or say why it failed: by now the verdict is committed and must not be lost."""
    if explainer is None:
        return None
    try:
        return explainer.explain()
    except EdgeAplError as error:
        return Explanation(explainer.title, f"The picture could not be drawn: {error}")
