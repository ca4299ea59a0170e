"""Overlays the networks' own maps on the most suspicious cells."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath

import cv2
import numpy as np

from edgeapl.bundle.specs import ExplanationSpec
from edgeapl.explanation.most_suspicious import KeptCell, MostSuspicious
from edgeapl.explanation.network_queries import Answers, query_networks
from edgeapl.model import Model
from edgeapl.report.explanation import (
    ExplainedPicture,
    Explanation,
    heat,
    laid_over,
    side_by_side,
)
from edgeapl.report.pictures import jpeg_bytes
from edgeapl.types import ExaminedFrame, Float32
from edgeapl.wording.printable import printable

MOST_CELLS = 12
"""Number of explained cells: each costs one more run of its networks."""

SIDE_PX = 224

COLOURS = cv2.COLORMAP_JET
"""Red over yellow, green and cyan to blue, as in the papers (spatial attention, Fig. 4; Yan 2025,
Fig. 4C)."""


class MapExplainer:
    """Shows where the network looked in the most suspicious cells.

    The map of the last network that saw the cell counts. If every frame is judged as a whole, a
    frame takes the place of a cell.
    """

    def __init__(
        self, model: Model, spec: ExplanationSpec, *, crops: bool, batch_size: int
    ) -> None:
        self._model = model
        self._spec = spec
        self.title = spec.title
        self._batch_size = batch_size
        self._cells = MostSuspicious(MOST_CELLS, model.bundle.manifest.crop, cell_images=crops)

    def add(self, examined: ExaminedFrame) -> None:
        """Keep the crops of the most suspicious cells."""
        self._cells.add(examined)

    def explain(self) -> Explanation:
        """Run the networks on the kept cells and draw their maps."""
        cells = self._cells.best()
        whole = self._model.bundle.manifest.segmenter.kind == "field"
        what = "frame" if whole else "cell"
        caption = (
            f"Each row of three: what the network saw of a {what}, its map, and both together. Red "
            "weighs most, then yellow, green, cyan and blue; every map has its own scale, so "
            f"colours of two {what}s cannot be compared. It shows where the network looked, not "
            "that it was right."
        )
        views = self._model.bundle.manifest.crop.views
        if views > 1:
            caption += f" The {what} is shown as it lies; its score is the mean over {views} views."
        if not cells:
            return Explanation(self.title, "No cell was scored, so there is no map.")
        crops = np.stack([cell.crop for cell in cells])
        answers = query_networks(self._model, crops, self._batch_size, self._spec.maps)
        pictures = [
            self._picture(cell, answer, what) for cell, answer in zip(cells, answers, strict=True)
        ]
        shown = tuple(picture for picture in pictures if picture is not None)
        return Explanation(self.title, caption, shown)

    def _picture(self, cell: KeptCell, answer: Answers, what: str) -> ExplainedPicture | None:
        found = self._last_map(answer)
        if found is None:
            return None
        network, values = found
        field = what == "frame"
        width = SIDE_PX
        height = round(width * cell.proportions) if field else SIDE_PX
        crop = np.asarray(cv2.resize(cell.crop, (width, height)), dtype=np.uint8)
        colours = heat(values, width, height, COLOURS)
        pixels = side_by_side(crop, colours, laid_over(crop, colours))
        name = printable(PurePath(cell.source).name)
        number = f"frame {name}" if field else f"cell {cell.cell}, frame {cell.frame}"
        return ExplainedPicture(
            f"{number}: {self._said(network, answer)}", jpeg_bytes(pixels), size="row"
        )

    def _last_map(self, answer: Answers) -> tuple[str, Float32] | None:
        for output in reversed(self._spec.maps):
            network, _, name = output.partition(".")
            given: Mapping[str, np.ndarray] | None = answer.get(network)
            if given is not None:
                values = np.asarray(given[name], dtype=np.float32)
                return network, values if values.ndim == 2 else values.reshape(values.shape[-2:])
        return None

    def _said(self, network: str, answer: Answers) -> str:
        """Return the answer of the network whose map is shown."""
        given = answer[network]
        assert given is not None
        parts = [
            f"{role.output} {float(given[role.output]):.2f}"
            for role in self._model.bundle.manifest.roles
            if role.network == network
        ]
        return f"{network}: {', '.join(parts)}" if parts else network
