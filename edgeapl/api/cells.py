"""The cells of a slide as one struct of arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeapl.api.pixels import PixelStore
from edgeapl.errors import UsageError
from edgeapl.optional_imports import require_library
from edgeapl.report.pictures import RESEARCH_USE_ONLY
from edgeapl.types import Float32, Int64, UInt8

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

Texts = NDArray[np.str_]


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """All cells found on a slide, one row each; len() gives N.

    ids : int64 (N,), numbers of the cells within the slide, as in reports and `verdict.evidence`.
    frames : int64 (N,), index of the frame of each cell; `sources` has its name.
    boxes : float32 (N, 4), x0 y0 x1 y1 in px of that frame, half-open.
    areas_um2 : float32 (N,), µm².
    detection_scores : float32 (N,), confidence that it is a nucleated cell, 0 to 1.
    status : str (N,), ``scored``, ``not_examined``, ``failed`` or ``not_needed``.
    classes : str (N,), the role that a cell is shown as, ``other cell``, or empty without scores.
    roles : role name to float32 (N,) probabilities; NaN where a cell was not scored.
    suspicion : float32 (N,), how strongly a cell suggests APL, 0 to 1; NaN where not scored.
    sources : frame index to the file or camera it came from.
    """

    ids: Int64
    frames: Int64
    boxes: Float32
    areas_um2: Float32
    detection_scores: Float32
    status: Texts
    classes: Texts
    roles: Mapping[str, Float32]
    suspicion: Float32
    sources: Mapping[int, str]
    pixels: PixelStore = field(repr=False)
    colours: Mapping[str, tuple[int, int, int]] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.ids)

    def to_dataframe(self) -> pd.DataFrame:
        """Return one row per cell; columns as in `cells.csv`. Raises UsageError without pandas."""
        pandas: Any = require_library("pandas", "to_dataframe", "pip install pandas")
        x0, y0, x1, y1 = self.boxes.T
        table = pandas.DataFrame(
            {
                "frame": [self.sources[index] for index in self.frames.tolist()],
                "frame_number": self.frames,
                "cell": self.ids,
                "x0": x0,
                "y0": y0,
                "x1": x1,
                "y1": y1,
                "area_um2": self.areas_um2,
                "detection_score": self.detection_scores,
                "status": self.status,
                "class": self.classes,
                **self.roles,
                "suspicion": self.suspicion,
            }
        )
        table.attrs["research_use_only"] = True
        return table

    def crop(self, i: int, margin: float = 0.25) -> UInt8:
        """Cut the cell in row `i` out of its frame: uint8 (h, w, 3) RGB, a copy.

        Parameters
        ----------
        i : row, from 0; negative counts from the end.
        margin : kept around the box, as a fraction of its longer side, up to the frame's edge; 0 or
            more.

        Raises
        ------
        IndexError
            There is no such row.
        UsageError
            The margin is negative.
        InputError
            The frame's pixels are no longer available.
        """
        if not -len(self) <= i < len(self):
            raise IndexError(f"cell {i} of {len(self)}")
        if margin < 0:
            raise UsageError("margin is below 0", margin, "give 0 or more")
        pixels = self.pixels.of(int(self.frames[i]))
        x0, y0, x1, y1 = self.boxes[i].tolist()
        more = margin * max(x1 - x0, y1 - y0)
        top, left = max(0, round(y0 - more)), max(0, round(x0 - more))
        return pixels[top : round(y1 + more), left : round(x1 + more)].copy()

    def plot(self, frame: int = 0, ax: Axes | None = None) -> Axes:
        """Draw the boxes of one frame's cells over it, coloured by class, with matplotlib.

        Parameters
        ----------
        frame : index of the frame, as in `frames` and `sources`.
        ax : to draw on; None for a new one.

        Raises
        ------
        UsageError
            Matplotlib is not installed, or the frame was not used.
        InputError
            The frame's pixels are no longer available.
        """
        pyplot: Any = require_library("matplotlib.pyplot", "plot", "pip install 'edgeapl[plots]'")
        patches: Any = require_library("matplotlib.patches", "plot", "pip install 'edgeapl[plots]'")
        if frame not in self.sources:
            mend = f"choose one of {', '.join(map(str, list(self.sources)[:8]))}"
            raise UsageError("no such frame was used", frame, mend)
        axes: Any = ax if ax is not None else pyplot.subplots(figsize=(8, 6))[1]
        axes.imshow(self.pixels.of(frame))
        drawn: dict[str, Any] = {}
        for row in np.flatnonzero(self.frames == frame).tolist():
            x0, y0, x1, y1 = self.boxes[row].tolist()
            name = str(self.classes[row]) or str(self.status[row])
            colour = tuple(value / 255 for value in self.colours.get(name, (96, 96, 96)))
            box = patches.Rectangle(
                (x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=colour, linewidth=1.5
            )
            drawn[name] = axes.add_patch(box)
        if drawn:
            axes.legend(drawn.values(), drawn.keys(), fontsize="small", loc="upper right")
        axes.set_title(f"{self.sources[frame]}\n{RESEARCH_USE_ONLY}", fontsize="small")
        axes.set_axis_off()
        chosen: Axes = axes
        return chosen
