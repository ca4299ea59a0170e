"""Whether a slide looks like the images the model was made for.

A slide is described by a few numbers in groups (`edgeapl.stages.slide_descriptor`). Its distance
from the slides the model was made on (Mahalanobis, per group) is compared with the largest distance
those slides keep among themselves. One published model fell from 0.95 to 0.47 on another
laboratory's stain without noticing; this notices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from edgeapl.stages.findings import Code, Effect, Finding
from edgeapl.stages.frame_descriptor import FrameDescriptor
from edgeapl.stages.slide_descriptor import cells_of, describe_slide
from edgeapl.wording.numbers import above

Float64 = NDArray[np.float64]

FEWEST_CELLS = 20
"""Below this the medians say too little about a slide to trust the model on it."""

GROUP_WORDS = {
    "light": "the colour of the empty field",
    "texture": "how stain is spread within the cells",
    "stain": "the stain",
    "size": "the size of the cells",
    "focus": "the sharpness of the images",
    "features": "the look of the cells to the network",
    "detail": "the fine detail of the images",
}


@dataclass(frozen=True, slots=True, eq=False)
class DomainGroup:
    """Where the model's own slides lie: mean (D,), inverse covariance (D, D), largest distance."""

    mean: Float64
    precision: Float64
    limit: float

    def distance(self, value: Float64) -> float:
        """Return the Mahalanobis distance of a value (D,) from the mean."""
        away = value - self.mean
        return float(np.sqrt(np.maximum(away @ self.precision @ away, 0)))


class DomainModel:
    """The slides a model was made for, as a distribution per group."""

    def __init__(self, groups: Mapping[str, DomainGroup]) -> None:
        self._groups = groups

    def distances(self, slide: dict[str, Float64]) -> dict[str, tuple[float, float]]:
        """Return (distance, limit) per group that both the model and the slide have."""
        known = {n: g for n, g in self._groups.items() if n in slide}
        return {n: (g.distance(slide[n]), g.limit) for n, g in known.items()}

    def without(self, group: str) -> DomainModel:
        """Return the same model without a group, for networks that do not output it."""
        return DomainModel({name: one for name, one in self._groups.items() if name != group})

    def judge(self, frames: Sequence[FrameDescriptor]) -> tuple[Finding, ...]:
        """Return a finding for each group outside its limit, or that there are too few cells."""
        return self.judge_slide(cells_of(frames), describe_slide(frames) if frames else {})

    def judge_slide(self, cells: int, slide: dict[str, Float64]) -> tuple[Finding, ...]:
        """Do the same for a slide described by so many cells."""
        if cells < FEWEST_CELLS:
            text = f"{cells} cells are too few to tell whether the images suit the model"
            return (Finding("domain_unknown", text, Effect.UNTRUSTED),)
        findings = []
        if "detail" in slide and "detail" not in self._groups:
            text = (
                "this bundle does not know how sharp images of single cells are, so it can clear "
                "none of them: run edgeapl calibrate --crops"
            )
            findings.append(Finding(Code.DETAIL_UNKNOWN, text, Effect.BARS_CLEAR))
        for name, (distance, limit) in self.distances(slide).items():
            if not distance <= limit:
                far, most = above(distance, limit)
                text = (
                    f"{GROUP_WORDS[name]} is unlike the images this model was made for "
                    f"(distance {far}, limit {most})"
                )
                # A blurred cell still raises an alarm, it only cannot be cleared.
                effect = Effect.BARS_CLEAR if name == "detail" else Effect.UNTRUSTED
                findings.append(Finding(f"domain_{name}", text, effect))
        return tuple(findings)

    def save(self, file: Path | BinaryIO) -> None:
        """Write an .npz file."""
        arrays: dict[str, Float64] = {}
        for name, group in self._groups.items():
            arrays[f"{name}_mean"] = group.mean
            arrays[f"{name}_precision"] = group.precision
            arrays[f"{name}_limit"] = np.array(group.limit)
        np.savez(file, **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, file: Path | BinaryIO) -> DomainModel:
        """Read what `save` wrote; nothing in the file is executed."""
        with np.load(file, allow_pickle=False) as arrays:
            names = [key.removesuffix("_mean") for key in arrays.files if key.endswith("_mean")]
            return cls(
                {
                    name: DomainGroup(
                        arrays[f"{name}_mean"],
                        arrays[f"{name}_precision"],
                        float(arrays[f"{name}_limit"]),
                    )
                    for name in names
                }
            )
