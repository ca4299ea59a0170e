"""A flag that was kept is shown as one everywhere, with its own figures or without any."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from edgeapl.cli.journal import _fields
from edgeapl.cli.slides_table import slides_table
from edgeapl.cli.verdicts import slide_record, verdict_panel
from edgeapl.evaluation.results import read_slides
from edgeapl.examination.flag_latch import FlagLatch
from edgeapl.journal import Journal, read_rows, verdict_to_json
from edgeapl.report.gallery import Gallery
from edgeapl.report.page import render_page
from edgeapl.report.verdict_text import answer_of
from edgeapl.station.history import history_of
from edgeapl.types import (
    NOT_NOTED,
    Decision,
    Figures,
    Interval,
    Limits,
    RaisedFlag,
    Reason,
    RoleCount,
    Tally,
    Verdict,
)
from edgeapl.web.verdict_text import history_probability
from tests.drawn_slides import context
from tests.unit.test_report_page import Reader
from tests.unit.test_web_pages import SLIDE, Texts, fragments

SINCE = "2026-01-02T03:04:05+00:00"
RAISED = RaisedFlag(
    SINCE,
    Figures(0.97, Interval(0.91, 0.99), (RoleCount("auer_rod", 9, 9, 1, Interval(0.7, 1)),), (1,)),
    "b" * 64,
    Limits(0.6, 0.4, 0.2),
)
NOTHING = Figures(None, None, (), ())
LOW = Figures(0.3996, Interval(0.2, 0.5), (RoleCount("auer_rod", 1, 9, 1 / 9, Interval(0, 1)),), ())
LATE = (Reason("head_failed", "the head is late"), Reason("would_flag", "look at this slide first"))


def kept(flag: RaisedFlag, now: Figures, tally: Tally) -> Verdict:
    settled = FlagLatch(flag, "b" * 64, Limits(0.6, 0.4, 0.2)).settle(Decision.REVIEW, LATE, now)
    figures = settled.figures
    return Verdict(
        "S", settled.decision, figures.probability, figures.interval, tally, settled.reasons,
        figures.counts, figures.evidence, (), {}, "b" * 64, "e" * 64, "a runtime",
        limits=settled.limits, flagged_since=settled.flagged_since, flagged_by=settled.flagged_by,
        current=settled.current,
    )  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A verdict, and words that stand on report, page and terminal about its figures."""

    verdict: Verdict
    report: tuple[str, ...]
    page: tuple[str, ...]
    terminal: tuple[str, ...]


FROM_THEN_ON = "Flagged since 2026-01-02 03:04:05 UTC"
NONE_NOW = "the cells give no probability now"
UNKNOWN = "the flag was raised earlier, and its figures were not kept"
CASES = {
    "no frame since": Case(
        kept(RAISED, NOTHING, Tally()),
        (
            "97.0 %",
            "91.0 % to 99.0 %",
            NONE_NOW,
            "not in the tables",
            "9 of 9",
        ),
        (
            "0.970",
            "0.910 to 0.990",
            "Flagged since 2026-01-02 03:04:05 UTC",
            NONE_NOW,
        ),
        ("0.970 (0.910 to 0.990)", FROM_THEN_ON, "9 of 9"),
    ),
    "other cells since": Case(
        kept(RAISED, LOW, Tally(9, 9)),
        ("97.0 %", "the cells give 39.96 % (20.00 % to 50.00 %) now", "1 of 9"),
        ("0.970", "the cells give 0.3996 (0.2000 to 0.5000) now"),
        ("0.970 (0.910 to 0.990)", "the cells give 0.3996 (0.2000 to 0.5000) now"),
    ),
    "not noted": Case(
        kept(NOT_NOTED, NOTHING, Tally()),
        ("No probability", UNKNOWN, "Flagged earlier"),
        (UNKNOWN, "Flagged earlier"),
        (UNKNOWN, "Flagged earlier. The cells give no"),
    ),
    "not noted, other cells since": Case(
        kept(NOT_NOTED, LOW, Tally(9, 9)),
        ("No probability", UNKNOWN, "39.96 %"),
        (UNKNOWN, "The cells give 0.3996"),
        (UNKNOWN, "The cells give 0.3996"),
    ),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))


def panel(record: dict[str, Any]) -> str:
    text = io.StringIO()
    Console(file=text, width=300).print(verdict_panel(record, running=True))
    return text.getvalue()


@every_case
def test_the_report_shows_it(case: Case) -> None:
    settings = context()
    record = verdict_to_json(case.verdict)
    now = datetime(2026, 1, 3, tzinfo=timezone.utc)
    text = Reader(render_page(record, "a" * 64, settings, Gallery(settings), now)).text
    text = text.replace("\N{NO-BREAK SPACE}", " ")
    assert ("figures of the flag" in text) == (record["probability"] is not None)
    assert "cells that weigh most are shown below" not in text  # as no cell is pictured here
    advice = answer_of(record, settings).advice
    assert ("cells that weigh most are shown below" in advice) == bool(record["evidence"])
    for words in (*case.report, "FLAG", "APL suspected", "a flag is never taken back"):
        assert words in text
    assert text.index("never taken back") < text.index("look at this slide first")
    assert text.index("look at this slide first") < text.index("the head is late")


@every_case
def test_the_page_shows_it(case: Case) -> None:
    one = case.verdict
    shown = fragments(
        decision=one.decision, probability=one.probability, interval=one.interval,
        tally=one.tally, counts=one.counts, reasons=one.reasons, limits=one.limits,
        flagged_since=one.flagged_since, current=one.current,
    )  # fmt: skip
    text = Texts(shown["verdict"]).text
    for words in (*case.page, "FLAG", "APL suspected", "never taken back"):
        assert words in text
    assert text.index("look at this slide first") < text.index("the head is late")


@every_case
def test_the_terminal_and_the_journal_show_it(
    case: Case,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    record = verdict_to_json(case.verdict)
    view = replace(
        SLIDE, probability=case.verdict.probability, interval=case.verdict.interval,
        tally=case.verdict.tally, counts=case.verdict.counts, reasons=case.verdict.reasons,
        limits=case.verdict.limits, flagged_since=case.verdict.flagged_since,
        current=case.verdict.current,
    )  # fmt: skip
    for shown in (record, slide_record(view)):
        text = panel(shown)
        for words in (*case.terminal, "FLAG", "APL suspected", "never taken back"):
            assert words in text
    slides_table([record], tmp_path)
    assert "look at this slide first" in capsys.readouterr().out.replace("\n", " ")
    with Journal.open(tmp_path / "journal.sqlite3", reserve_bytes=4096) as journal:
        journal.commit(case.verdict)
        (row,) = read_rows(journal.path)
        assert "FLAG" in _fields(row)
        (item,) = history_of(journal.path, tmp_path, 5, demonstrations=False)
        expected = "" if case.verdict.probability is None else "0.970"
        assert (item.decision, history_probability(item)) == ("FLAG", expected)
    (tmp_path / "verdicts.jsonl").write_text(json.dumps(record) + "\n")
    assert read_slides(tmp_path)[0].probability == case.verdict.probability


def test_a_table_hides_no_reason_without_saying_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records of older versions have what speaks for APL in any place."""
    monkeypatch.setenv("COLUMNS", "300")
    verdict = kept(NOT_NOTED, NOTHING, Tally())
    reasons = [Reason("a", "first"), Reason("b", "second"), LATE[1], Reason("c", "fourth")]
    record: dict[str, Any] = verdict_to_json(
        replace(
            verdict, decision=Decision.REVIEW, reasons=tuple(reasons), flagged_since="",
            current=None,
        )
    )  # fmt: skip
    slides_table([record], tmp_path)
    out = " ".join(capsys.readouterr().out.split())
    assert out.index("look at this slide first") < out.index("first; and")
    assert "second" not in out
    assert "and at this slide first" in panel(record)
    twins = [{**record, "slide": name} for name in ("Smith", "Sm\u0456th")]
    slides_table(twins, tmp_path)
    assert "Sm\\u0456th" in capsys.readouterr().out
