"""What a verdict says about a slide that was left open when the station stopped."""

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


def without_clear(
    verdict: Verdict, doubts: Sequence[Reason], notes: Sequence[Reason] = ()
) -> Verdict:
    """Turn CLEAR into REVIEW if there are doubts. A FLAG stays and lists them last.

    The reasons for CLEAR are dropped: they do not explain a REVIEW. notes : reasons that change no
    decision.
    """
    if verdict.decision is Decision.FLAG:
        return replace(verdict, reasons=(*verdict.reasons, *doubts, *notes))
    if not doubts:
        return replace(verdict, reasons=(*verdict.reasons, *notes))
    others = [reason for reason in verdict.reasons if reason.code != Code.CLEAR]
    return replace(verdict, decision=Decision.REVIEW, reasons=(*doubts, *others, *notes))


@dataclass(frozen=True, slots=True)
class Interruption:
    """A slide that an earlier run left open.

    source : its stored frames. elsewhere : it was begun under another journal.
    """

    source: ResumedSource
    elsewhere: bool = False

    def annotate(self, verdict: Verdict, *, final: bool = False) -> Verdict:
        """Add the interruption to a verdict's reasons; an incomplete slide is never CLEAR."""
        doubts, notes = self._reasons(final=final)
        return without_clear(verdict, doubts, notes)

    def _reasons(self, *, final: bool) -> tuple[list[Reason], list[Reason]]:
        """Return reasons that rule out CLEAR, and reasons that are only noted."""
        source = self.source
        frames = plural(source.count, "kept frame")
        doubts, notes = [], []
        if source.stored_only:
            text = f"the station stopped while this slide was open: judged by its {frames} alone"
            doubts.append(Reason(CUT_SHORT, text))
        else:
            text = (
                f"the station stopped while this slide was open; a person had it go on ({frames})"
            )
            notes.append(Reason(GONE_ON, text))
        if source.unread and final:
            text = f"{source.unread} of {frames} were not examined again: the station had to end"
            doubts.append(Reason(KEPT_UNREAD, text))
        if self.elsewhere:
            notes.append(Reason(OTHER_JOURNAL, "this slide was begun under another journal"))
        return doubts, notes
