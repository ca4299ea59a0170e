"""What a verdict says of a slide that was left open when the station stopped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgeapl.stages.findings import Code
from edgeapl.station.sources import ResumedSource
from edgeapl.types import Decision, Reason, Verdict
from edgeapl.wording.numbers import plural

CUT_SHORT = "cut_short"
GONE_ON = "gone_on"
KEPT_UNREAD = "kept_unread"
OTHER_JOURNAL = "other_journal"


def barred(verdict: Verdict, bars: Sequence[Reason], notes: Sequence[Reason] = ()) -> Verdict:
    """Bar CLEAR for these reasons, if there are any; a FLAG stays, and says them last.

    What the slide would have been cleared for is no reason of a REVIEW.
    """
    if verdict.decision is Decision.FLAG:
        return replace(verdict, reasons=(*verdict.reasons, *bars, *notes))
    if not bars:
        return replace(verdict, reasons=(*verdict.reasons, *notes))
    doubts = [reason for reason in verdict.reasons if reason.code != Code.CLEAR]
    return replace(verdict, decision=Decision.REVIEW, reasons=(*bars, *doubts, *notes))


@dataclass(frozen=True, slots=True)
class Interruption:
    """A slide that was left open.

    source : its kept frames. elsewhere : it was begun under another journal.
    """

    source: ResumedSource
    elsewhere: bool = False

    def told(self, verdict: Verdict, *, final: bool = False) -> Verdict:
        """Say it in a verdict. What nobody called complete is never CLEAR; a FLAG stays."""
        bars, notes = self._reasons(final=final)
        return barred(verdict, bars, notes)

    def _reasons(self, *, final: bool) -> tuple[list[Reason], list[Reason]]:
        """Give reasons that bar CLEAR, and those that are only worth saying."""
        source = self.source
        frames = plural(source.count, "kept frame")
        bars, notes = [], []
        if source.alone:
            text = f"the station stopped while this slide was open: judged by its {frames} alone"
            bars.append(Reason(CUT_SHORT, text))
        else:
            text = (
                f"the station stopped while this slide was open; a person had it go on ({frames})"
            )
            notes.append(Reason(GONE_ON, text))
        if source.unread and final:
            text = f"{source.unread} of {frames} were not examined again: the station had to end"
            bars.append(Reason(KEPT_UNREAD, text))
        if self.elsewhere:
            notes.append(Reason(OTHER_JOURNAL, "this slide was begun under another journal"))
        return bars, notes
