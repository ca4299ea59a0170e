"""When the cells of a frame are no longer needed, because the slide's flag is decided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from edgeapl.bundle.specs import RoleSpec
from edgeapl.errors import DeadlineError, EngineError
from edgeapl.model import Model
from edgeapl.stages.intervals import wilson
from edgeapl.stages.sequential import (
    FinishedCounts,
    InterimCounts,
    frame_error,
    is_sampled,
    share_bounds,
)
from edgeapl.types import Interval


class ExaminedPart(Protocol):
    """A frame of which some cells were looked at."""

    @property
    def count(self) -> int:
        """Cells of the frame."""

    @property
    def pending(self) -> int:
        """Cells that may still get an answer."""

    def interim(self, roles: Sequence[RoleSpec]) -> InterimCounts:
        """Return what is known of the frame now."""


class EarlyStop:
    """Looks at the oldest open frame after every batch; see `edgeapl.stages.sequential`.

    Parameters
    ----------
    model : the bundle; where features are pooled, no frame is ever stopped.
    error : chance, per slide, that the flag would not have been raised in full.
    """

    def __init__(self, model: Model, error: float) -> None:
        self.error = error
        self._model = model
        self._roles = model.bundle.manifest.roles
        manifest = model.bundle.manifest
        shares = () if manifest.reducer.kind == "vote" else self._roles
        self._rule = manifest.rule
        asks = not shares or self._rule.suspicious_share is not None
        self._questions = len(shares) + asks
        self._before = FinishedCounts(0, 0, (0,) * (len(self._roles) + 1))
        self._frames = 0

    def finish(self, frame: ExaminedPart) -> None:
        """Count a frame that is finished."""
        if frame.count:
            self._before = self._before.plus(frame.interim(self._roles))
            self._frames += 1

    def is_decided(self, frame: ExaminedPart) -> bool:
        """Whether all cells of the frames up to this one would almost surely give FLAG."""
        counts = frame.interim(self._roles)
        error = frame_error(self.error, self._frames + 1) / self._questions
        shares = share_bounds(self._before, counts, error)
        if shares is None:
            return False
        seen = self._before.seen + counts.seen
        shares = _widened(shares, self._model.reducer.otherwise(seen) / seen)
        if not self._speak_for_apl(shares):
            return False
        if self._before.scored + counts.scored + frame.pending >= self._rule.min_scored:
            return True
        # All cells are too few to flag by number: their interval would have to reach the limit.
        confidence = self._rule.confidence
        lows = [wilson(share.low * seen, seen, confidence).low for share in shares]
        highs = [wilson(share.high * seen, seen, confidence).high for share in shares]
        return self._speak_for_apl(list(map(Interval, lows, highs)), by_cells=False)

    def is_sampled(self, frame: ExaminedPart) -> bool:
        """Whether enough of the frame was examined for a slide that is flagged."""
        return is_sampled(frame.interim(self._roles))

    def _speak_for_apl(self, shares: Sequence[Interval], *, by_cells: bool = True) -> bool:
        least = self._rule.suspicious_share
        if by_cells and least is not None and shares[-1].low < least:
            return False
        try:
            return self._model.reducer.reaches(self._model.head, shares, self._rule.flag_at)
        except (DeadlineError, EngineError):
            return False  # the verdict asks the head again, and says what is wrong with it


def _widened(shares: Sequence[Interval], wrong: float) -> tuple[Interval, ...]:
    """Return bounds that allow for a share of wrong answers, 0 to 1."""
    return tuple(Interval(max(0.0, one.low - wrong), min(1.0, one.high + wrong)) for one in shares)
