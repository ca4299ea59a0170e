"""A flag that was raised on an open slide, and what it rests on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from edgeapl.stages.judge import latch
from edgeapl.types import Decision, Figures, Limits, RaisedFlag, Reason
from edgeapl.wall_clock import utc_now


@dataclass(frozen=True, slots=True)
class Settled:
    """The answer with the flag taken into account; the fields are those of `Verdict`."""

    decision: Decision
    reasons: tuple[Reason, ...]
    figures: Figures
    flagged_since: str = ""
    flagged_by: str = ""
    current: Figures | None = None
    limits: Limits | None = None


class FlagLatch:
    """Holds the flag of one slide from the moment it is raised.

    Parameters
    ----------
    flag : raised before the slide was taken up again; None when it was not flagged.
    bundle_digest, limits : of the current bundle.
    now : clock with a time zone; tests pass their own.

    raised_here : whether it was raised since, so that its cells are those of this examination.
    """

    def __init__(
        self,
        flag: RaisedFlag | None,
        bundle_digest: str,
        limits: Limits | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._flag = flag
        self._bundle_digest = bundle_digest
        self._limits = limits
        self._now = now
        self.raised_here = False

    @property
    def is_raised(self) -> bool:
        """Whether the slide is flagged."""
        return self._flag is not None

    def raise_flag(self, figures: Figures) -> RaisedFlag:
        """Record the figures that raise the flag now, and when it was first raised."""
        since = self._flag.since if self._flag else self._now().isoformat(timespec="seconds")
        self._flag = RaisedFlag(since, figures, self._bundle_digest, self._limits)
        self.raised_here = True
        return self._flag

    def settle(
        self,
        decision: Decision,
        reasons: tuple[Reason, ...],
        figures: Figures,
        *,
        same_cells: bool = True,
    ) -> Settled:
        """Return the answer with the flag taken into account.

        Parameters
        ----------
        decision, reasons, figures : of the cells as they are known now.
        same_cells : whether the cells have the numbers that they had when a flag from before was
            raised, so that its evidence can still be named.
        """
        if decision is Decision.FLAG:
            flag = self.raise_flag(figures)
            return Settled(decision, reasons, figures, flag.since, limits=self._limits)
        if self._flag is None:
            return Settled(decision, reasons, figures, limits=self._limits)
        flag = self._flag
        kept = flag.figures or Figures(None, None, (), ())
        other = flag.bundle_digest not in ("", self._bundle_digest)
        if not self.raised_here and (other or not same_cells):
            kept = replace(kept, evidence=())
        decision, reasons = latch(Decision.FLAG, decision, reasons, flag)
        by = flag.bundle_digest if other else ""
        limits = self._limits if flag.figures is None else flag.limits
        return Settled(decision, reasons, kept, flag.since, by, figures, limits)
