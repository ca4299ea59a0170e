"""A flag that was raised stays, with what it stands on, whatever comes and however often."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest

from edgeapl.examination.flag_latch import FlagLatch
from edgeapl.journal import Journal
from edgeapl.station.flag_recovery import recovered_flag
from edgeapl.station.frame_store import FrameStore, left_folders, read_metadata
from edgeapl.types import (
    NOT_NOTED,
    Decision,
    Figures,
    Interval,
    Limits,
    Origin,
    RaisedFlag,
    Reason,
    RoleCount,
    Tally,
    Verdict,
    raised_flag,
)

COUNTS = (RoleCount("promyelocyte", 40, 100, 0.4, Interval(0.31, 0.5)),)
RAISED = Figures(0.97, Interval(0.91, 0.99), COUNTS, (3, 1))
NOTHING = Figures(None, None, (), ())
LOWER = Figures(
    0.2, Interval(0.1, 0.6), (RoleCount("promyelocyte", 1, 9, 1 / 9, Interval(0, 1)),), (7,)
)
WHY = (Reason("x", "because"),)
LIMITS = Limits(0.5, 0.5, 0.2)
SINCE = "2026-01-02T03:04:05+00:00"


def latch(flag: RaisedFlag | None = None, bundle: str = "b") -> FlagLatch:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    return FlagLatch(flag, bundle, LIMITS, lambda: now)


def verdict(decision: Decision, figures: Figures, since: str = "", slide: str = "S") -> Verdict:
    return Verdict(
        slide, decision, figures.probability, figures.interval, Tally(100, 100), WHY,
        figures.counts, figures.evidence, (), {}, "b", "e", "r", limits=LIMITS, flagged_since=since,
    )  # fmt: skip


@pytest.mark.parametrize("now", [NOTHING, LOWER], ids=["nothing", "lower"])
@pytest.mark.parametrize("decision", [Decision.REVIEW, Decision.CLEAR])
def test_a_flag_keeps_its_last_figures_and_says_since_when(
    now: Figures, decision: Decision
) -> None:
    held = latch()
    assert held.settle(Decision.REVIEW, WHY, now).figures == now
    first = held.settle(Decision.FLAG, WHY, LOWER)
    assert (first.reasons, first.flagged_since, first.current) == (WHY, SINCE, None)
    held.settle(Decision.FLAG, WHY, RAISED)
    kept = held.settle(decision, WHY, now)
    assert (kept.decision, kept.figures, kept.current) == (Decision.FLAG, RAISED, now)
    assert kept.flagged_since == SINCE
    assert kept.reasons[1:] == WHY
    for words in ("2026-01-02 03:04:05 UTC", "0.970 (0.910 to 0.990)", decision.value):
        assert words in kept.reasons[0].text


def test_a_flag_of_which_nothing_is_known_stays_and_says_so() -> None:
    kept = latch(NOT_NOTED).settle(Decision.REVIEW, WHY, LOWER)
    assert (kept.decision, kept.figures, kept.current) == (Decision.FLAG, NOTHING, LOWER)
    assert "flagged earlier, its figures were not kept" in kept.reasons[0].text


def test_evidence_is_named_only_while_it_means_the_same_cells() -> None:
    flag = RaisedFlag(SINCE, RAISED, "b", LIMITS)
    same = latch(flag).settle(Decision.REVIEW, WHY, NOTHING)
    assert (same.figures, same.flagged_by) == (RAISED, "")
    moved = latch(flag).settle(Decision.REVIEW, WHY, NOTHING, same_cells=False)
    other = latch(flag, "other").settle(Decision.REVIEW, WHY, NOTHING)
    assert moved.figures.evidence == other.figures.evidence == ()
    assert other.flagged_by == "b"
    here = latch(flag, "other")
    here.settle(Decision.FLAG, WHY, RAISED)
    anew = here.settle(Decision.REVIEW, WHY, NOTHING, same_cells=False)
    assert (anew.figures, anew.flagged_by, anew.flagged_since) == (RAISED, "", SINCE)


def about_of(results: Path) -> Path:
    (path,) = results.glob("open/*/slide.json")
    return path


def test_what_a_flag_stands_on_outlives_any_number_of_restarts(tmp_path: Path) -> None:
    flag = raised_flag(verdict(Decision.FLAG, RAISED, SINCE))
    assert flag == RaisedFlag(SINCE, RAISED, "b", LIMITS)
    with Journal.open(tmp_path / "j.sqlite3", reserve_bytes=4096) as journal:
        FrameStore.start(tmp_path, "S", "2026-01-01").note_flag(flag)
        for _ in range(3):
            again = FrameStore.start(tmp_path, "S", "2026-02-02")
            assert recovered_flag(again, journal.path) == flag
            settled = latch(again.metadata.flag).settle(Decision.REVIEW, WHY, NOTHING)
            again.note_flag(RaisedFlag(settled.flagged_since, settled.figures, "b", settled.limits))


@pytest.mark.parametrize("noted", [None, 3, {}, {"since": 1, "figures": {}, "bundle_digest": ""}])
def test_a_flag_that_was_noted_without_figures_or_badly_is_still_a_flag(
    tmp_path: Path, noted: object
) -> None:
    """Notes of older versions have the word alone."""
    with Journal.open(tmp_path / "j.sqlite3", reserve_bytes=4096) as journal:
        FrameStore.start(tmp_path, "S", "2026-01-01")
        note = {"slide": "S", "started": "2026-01-01", "flagged": True}
        about_of(tmp_path).write_text(
            json.dumps(note if noted is None else {**note, "flag": noted})
        )
        assert read_metadata(left_folders(tmp_path)[0]).flagged
        assert recovered_flag(FrameStore.start(tmp_path, "S", ""), journal.path) == NOT_NOTED
        journal.commit(verdict(Decision.FLAG, RAISED), provisional=True)
        found = recovered_flag(FrameStore.start(tmp_path, "S", ""), journal.path)
        assert found is not None
        assert (found.figures, found.bundle_digest) == (RAISED, "b")
        assert found.since  # of the journal's row


@pytest.mark.parametrize("older", [False, True])
def test_a_flag_that_stands_in_the_journal_alone_is_taken_up(tmp_path: Path, older: bool) -> None:
    """The station was ended between the commit and the note beside the frames."""
    with Journal.open(tmp_path / "j.sqlite3", reserve_bytes=4096) as journal:
        sitting = FrameStore.start(tmp_path, "S", "2026-01-01").metadata.sitting
        if older:
            note = {"slide": "S", "started": "2026-01-01", "flagged": False}
            about_of(tmp_path).write_text(json.dumps(note))

        def commit(decision: Decision, figures: Figures, name: str = "S", of: str = sitting) -> str:
            since = SINCE if decision is Decision.FLAG else ""
            made = verdict(decision, figures, since, name)
            made = replace(made, origin=Origin("b", "1", demonstration=False, sitting=of))
            return journal.commit(made, provisional=of == sitting)

        def taken_up() -> RaisedFlag | None:
            return recovered_flag(FrameStore.start(tmp_path, "S", ""), journal.path)

        commit(Decision.FLAG, LOWER, of="the slide of this name before")
        assert taken_up() is None
        commit(Decision.REVIEW, NOTHING)
        assert taken_up() is None
        commit(Decision.FLAG, RAISED)
        commit(Decision.FLAG, LOWER, "other slide", "other")
        assert taken_up() == RaisedFlag(SINCE, RAISED, "b", LIMITS)
