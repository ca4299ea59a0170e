"""Leaving out the cells of a frame that are not needed, once the slide's flag is decided."""

from __future__ import annotations

from edgeapl.errors import DeadlineError, EngineError
from edgeapl.examination.frame_in_work import FrameInWork
from edgeapl.model import Model
from edgeapl.stages.sequential import Counted, frame_error, is_sampled, share_bounds
from edgeapl.types import Interval


class EarlyStop:
    """Looks at the oldest frame in work after every batch; see `edgeapl.stages.sequential`.

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
        asks = not shares or manifest.rule.suspicious_share is not None
        self._questions = len(shares) + asks
        self._before = Counted(0, 0, (0,) * (len(self._roles) + 1))
        self._frames = 0

    def finish(self, work: FrameInWork) -> None:
        """Count a frame that is finished."""
        if work.count:
            self._before = self._before.plus(work.look(self._roles))
            self._frames += 1

    def is_decided(self, work: FrameInWork) -> bool:
        """Tell whether all cells of the frames up to this one would give FLAG, or as good as."""
        error = frame_error(self.error, self._frames + 1) / self._questions
        shares = share_bounds(self._before, work.look(self._roles), error)
        return shares is not None and self._speak_for_apl(shares)

    def is_sampled(self, work: FrameInWork) -> bool:
        """Tell whether enough of the frame was looked at for a slide that is flagged."""
        return is_sampled(work.look(self._roles))

    def _speak_for_apl(self, shares: tuple[Interval, ...]) -> bool:
        rule = self._model.bundle.manifest.rule
        if rule.suspicious_share is not None and shares[-1].low < rule.suspicious_share:
            return False
        try:
            return self._model.reducer.reaches(self._model.head, shares, rule.flag_at)
        except (DeadlineError, EngineError):
            return False  # the verdict asks the head again, and says what is wrong with it
