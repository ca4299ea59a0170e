"""What a station logs of its slides: identifiers and figures, nothing about patients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from edgeapl import __version__
from edgeapl.errors import EdgeAplError
from edgeapl.logs import note, warn
from edgeapl.pipeline import Progress
from edgeapl.types import Decision, ExaminedFrame, Verdict
from edgeapl.wording.questions import question_of


@contextmanager
def station_run() -> Iterator[None]:
    """Log when a station starts and how it ends."""
    note("station", "station_started", f"edgeapl {__version__} starts", version=__version__)
    try:
        yield
    except EdgeAplError as error:
        warn("station", "station_failed", f"ends: {error.what}", exit_code=error.exit_code)
        raise
    finally:
        note("station", "station_ended", "ends")


def opened(slide: str, frames: str) -> None:
    """Log that a slide was opened. frames : which ones it takes."""
    note("slide", "slide_opened", f"slide {slide} opened, frames: {frames}", slide=slide)


def flagged(verdict: Verdict, record: str) -> None:
    """Log a flag when it is raised. record : hash of its row in the journal."""
    says = question_of({reason.code for reason in verdict.reasons}).flag
    text = f"slide {verdict.slide} flagged: {says}. Research use only"
    warn("slide", "flag_raised", text, slide=verdict.slide, record=record)


def closed(verdict: Verdict, record: str) -> None:
    """Log a committed verdict. record : hash of its row in the journal."""
    tally, decision = verdict.tally, verdict.decision
    text = f"slide {verdict.slide} closed: {decision.value}, {tally.scored} cells scored"
    say = note if decision is Decision.CLEAR else warn
    say(
        "slide",
        "slide_closed",
        f"{text}, {tally.lost} lost. Research use only",
        slide=verdict.slide,
        verdict=decision.value,
        reasons=[reason.code for reason in verdict.reasons],
        seen=tally.seen,
        scored=tally.scored,
        lost=tally.lost,
        not_needed=tally.not_needed,
        record=record,
    )


def scored(record: Mapping[str, Any], *, resumed: bool) -> None:
    """Log a slide of a folder, from its record. resumed : it was finished before."""
    slide, decision = str(record["slide"]), str(record["verdict"])
    text = f"slide {slide}: {decision}" + (", finished before" if resumed else "")
    errors = [
        str(error["what"]) for error in record["errors"]
    ]  # not which file: its name may identify a patient
    say = note if decision == "CLEAR" else warn
    say(
        "slide",
        "slide_scored",
        f"{text}. Research use only",
        slide=slide,
        verdict=decision,
        resumed=resumed,
        errors=errors,
        record=record["journal_record"],
    )


def not_closed(slide: str, error: EdgeAplError) -> None:
    """Log that a slide has no verdict; without the file that the error names."""
    text = f"slide {slide} was not closed: {error.what}"
    warn("slide", "slide_not_closed", text, slide=slide, exit_code=error.exit_code)


def gate(slide: str, examined: ExaminedFrame) -> None:
    """Log a frame that was not used, and why."""
    if examined.rejected:
        why = ", ".join(reason.code for reason in examined.rejected)
        text = f"slide {slide}: frame {examined.frame.index} not used: {why}"
        note("gate", "frame_not_used", text, slide=slide, frame=examined.frame.index, why=why)


def deadline(slide: str, progress: Progress) -> None:
    """Log that cells of a frame were given up at the deadline."""
    if progress.cut:
        tally = progress.verdict.tally
        text = f"slide {slide}: time was over, {tally.not_examined} cells not examined so far"
        warn("deadline", "cells_given_up", text, slide=slide, not_examined=tally.not_examined)
