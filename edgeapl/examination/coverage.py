"""The share of a slide's field that was examined."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from edgeapl import slide_findings as findings_of
from edgeapl.examination.preparation import PreparedFrame
from edgeapl.stages.findings import Finding
from edgeapl.types import Tiles, TileState


class Coverage:
    """Adds up the parts of the frames that were used.

    Parameters
    ----------
    least : share that a slide must have to be cleared.
    live : frames come from a camera, where a part of one frame may be lost as whole frames are.
    """

    def __init__(self, least: float, *, live: bool) -> None:
        self._least = least
        self._live = live
        self._um2 = 0.0
        self._lost: Counter[TileState] = Counter()
        self._shares: list[float] = []
        self._short: list[tuple[str, float]] = []
        self._single_cells = False
        self._discs: list[tuple[float, float] | None] = []

    @property
    def frame_shares(self) -> tuple[float, ...]:
        """Per used frame, in order."""
        return tuple(self._shares)

    @property
    def share(self) -> float | None:
        """Of all used frames together, 0 to 1; None before the first."""
        if not self._shares:
            return None
        return max(0.0, 1 - sum(self._lost.values()) / self._um2)

    def add(self, prepared: PreparedFrame) -> None:
        """Count a frame that was used."""
        frame, tiles, disc = prepared.frame, prepared.tiles, prepared.disc
        self._discs.append(None if disc is None else (disc.outside_share, disc.radius))
        area = frame.width * frame.height * frame.um_per_px**2
        self._um2 += area
        for state, share in _lost(tiles).items():
            self._lost[state] += share * area  # type: ignore[assignment]
        share = 1.0 if tiles is None else tiles.examined_share
        self._shares.append(share)
        self._single_cells = prepared.single_cell
        if share < self._least:
            self._short.append((Path(frame.source).name, share))

    def findings(self) -> list[Finding]:
        """Return what was not examined, and whether that bars CLEAR."""
        share = self.share
        if share is None:
            return []
        parts = {state: um2 / self._um2 for state, um2 in self._lost.items()}
        found = findings_of.of_area(share, parts, self._least, single_cells=self._single_cells)
        found += findings_of.of_discs(self._discs)
        if self._live or self._single_cells:
            return found
        return [*found, *findings_of.of_short_frames(self._short, self._least)]


def _lost(tiles: Tiles | None) -> dict[TileState, float]:
    shares = {} if tiles is None else tiles.shares()
    return {state: share for state, share in shares.items() if state is not TileState.EXAMINED}
