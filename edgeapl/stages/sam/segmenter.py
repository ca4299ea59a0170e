"""Segment Anything in the place of a segmenter."""

from __future__ import annotations

from edgeapl.bundle.specs import SamSpec
from edgeapl.logs import note
from edgeapl.protocols import Engine
from edgeapl.stages.sam.matching import Fit, Matcher, best_fits, redrawn, without_doubles
from edgeapl.stages.sam.networks import answers, embedded
from edgeapl.stages.sam.prompts import of_boxes, of_grid
from edgeapl.stages.segment import HsvWatershed
from edgeapl.types import Detections, Float32, Frame


class SamSegmenter:
    """Finds cells as the classical segmenter does, and lets Segment Anything draw their outlines.

    Segment Anything outlines everything, red cells and dirt too, and does not say what it is: Yan
    2025 sorted its masks by hand. Here the classical segmenter says which masks are nucleated
    cells. A cell for which there is no good mask keeps its classical outline, so none is lost.

    Parameters
    ----------
    encoder, decoder : its two networks. spec : the numbers around them.
    """

    def __init__(self, encoder: Engine, decoder: Engine, spec: SamSpec) -> None:
        self._encoder = encoder
        self._decoder = decoder
        self._spec = spec
        self._classical = HsvWatershed()

    @property
    def spec(self) -> SamSpec:
        """The numbers around the networks."""
        return self._spec

    def segment(self, frame: Frame) -> Detections:
        """Find the cells; raises EngineError when a network fails."""
        found = self._classical.segment(frame)
        if not len(found):
            return found
        embedding, scale = embedded(frame.pixels, self._encoder, self._spec)
        fits = best_fits(self._fits(found, embedding, scale))
        text = f"{len(fits)} of {len(found)} cells outlined, the others as the classical segmenter"
        note("segment", "sam_outlines", text, cells=len(found), outlined=len(fits))
        return redrawn(found, fits)

    def _fits(self, found: Detections, embedding: Float32, scale: float) -> list[Fit]:
        matcher = Matcher(found, scale, self._spec)
        fits: list[Fit] = []
        if self._spec.prompts == "boxes":
            prompts = of_boxes(found.boxes, scale)
            first = 0
            for logits, quality in answers(prompts, embedding, self._decoder, self._spec):
                fits += matcher.of_boxes(first, logits, quality)
                first += len(logits)
            return fits
        frame = found.frame
        prompts = of_grid(self._spec.grid, frame.height, frame.width, scale)
        for logits, quality in answers(prompts, embedding, self._decoder, self._spec):
            fits += matcher.of_points(logits, quality)
        return without_doubles(fits, self._spec.max_overlap)
