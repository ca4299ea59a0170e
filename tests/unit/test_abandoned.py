"""A slide of which no frame was kept gets one final verdict, from the journal."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edgeapl.bundle.load import Bundle
from edgeapl.journal import VERDICT, Journal, read_rows
from edgeapl.model import open_model
from edgeapl.pipeline import Observer, SlideOptions, examine_slide
from edgeapl.report.context import report_context
from edgeapl.report.folder_lock import locked_folder
from edgeapl.report.results import report_of
from edgeapl.report.writer import SlideWriter
from edgeapl.stages.findings import Code
from edgeapl.station.abandoned_slides import close_abandoned
from edgeapl.station.frame_store import FrameStore
from edgeapl.station.interruption import CUT_SHORT, Interruption
from edgeapl.station.late_reports import LateReports
from edgeapl.station.sources import ResumedSource
from edgeapl.types import Decision, Origin, Reason, Tally, Verdict
from tests.faults.journal_worker import make_verdict
from tests.small_bundle import drawn_field, scripted, small_bundle

HOLD = """
import pathlib, sys
from edgeapl.report.folder_lock import locked_folder
with locked_folder(pathlib.Path(sys.argv[1])):
    print(flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal.open(tmp_path / "journal.sqlite3") as made:
        yield made


def verdict(results: Path, decision: Decision, sitting: str = "a1") -> Verdict:
    origin = Origin("b", "1", True, sitting, str(results.resolve()))
    return replace(make_verdict(1), decision=decision, origin=origin)


def finals(journal: Journal) -> list[tuple[str, bool]]:
    """Give the final verdicts, and whether each says that it was cut short."""
    rows = [row.content for row in read_rows(journal.path, kinds=(VERDICT,))]
    return [
        (row["verdict"], any(reason["code"] == CUT_SHORT for reason in row["reasons"]))
        for row in rows
    ]


FLAG, CLEAR, REVIEW = Decision.FLAG, Decision.CLEAR, Decision.REVIEW


@pytest.mark.parametrize(
    ("committed", "final"),
    [([FLAG], FLAG), ([REVIEW, FLAG], FLAG), ([FLAG, REVIEW], FLAG), ([CLEAR], REVIEW)],
)
def test_an_abandoned_slide_gets_one_final_verdict(
    tmp_path: Path, journal: Journal, committed: list[Decision], final: Decision
) -> None:
    out = tmp_path / "out"
    for decision in committed:
        journal.commit(verdict(out, decision), provisional=True)
    with locked_folder(out):
        (said,) = close_abandoned(out, journal)
        assert final.value in said
        assert close_abandoned(out, journal) == ()
    assert finals(journal) == [(final.value, True)]


def test_slides_that_are_closed_kept_or_of_an_unknown_examination_are_left_alone(
    tmp_path: Path, journal: Journal
) -> None:
    out = tmp_path / "out"
    kept = FrameStore.start(out, "kept", "2026-01-01T00:00:00+00:00")
    journal.commit(verdict(out, FLAG, kept.metadata.sitting), provisional=True)
    journal.commit(verdict(out, FLAG, ""), provisional=True)
    journal.commit(verdict(out, REVIEW), provisional=True)
    journal.commit(verdict(out, CLEAR))
    journal.commit(verdict(tmp_path / "gone", FLAG, "b2"), provisional=True)
    with locked_folder(out):
        assert close_abandoned(out, journal) == ()
    assert finals(journal) == [("CLEAR", False)]
    kept.stop_writing()


def test_a_slide_that_another_station_examines_now_is_left_to_it(
    tmp_path: Path, journal: Journal
) -> None:
    theirs, mine = tmp_path / "theirs", tmp_path / "mine"
    command = [sys.executable, "-c", HOLD, str(theirs)]
    with locked_folder(mine):
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdout is not None
            other.stdout.readline()
            journal.commit(verdict(theirs, FLAG), provisional=True)
            assert close_abandoned(mine, journal) == ()
            other.kill()
        assert len(close_abandoned(mine, journal)) == 1
    assert finals(journal) == [("FLAG", True)]


REASONS = {FLAG: Code.FLAG, CLEAR: Code.CLEAR, REVIEW: Code.UNCERTAIN}


@pytest.mark.parametrize("last", REASONS)
@pytest.mark.parametrize("kept", [True, False])
def test_a_slide_that_was_cut_short_says_nothing_of_being_clear(
    tmp_path: Path, journal: Journal, last: Decision, kept: bool
) -> None:
    """Neither when its frames were kept; all else that was said of it stays."""
    reasons = (Reason(REASONS[last], "as it was"), Reason("a_note", "and this"))
    before = replace(verdict(tmp_path / "out", last), reasons=reasons)
    if kept:
        told = Interruption(ResumedSource((), None, waits=False)).annotate(before, final=True)
        codes = [reason.code for reason in told.reasons]
        decision = told.decision
    else:
        journal.commit(before, provisional=True)
        with locked_folder(tmp_path / "out"):
            close_abandoned(tmp_path / "out", journal)
        (row,) = read_rows(journal.path, kinds=(VERDICT,))
        codes = [reason["code"] for reason in row.content["reasons"]]
        decision = Decision(row.content["verdict"])
    assert decision is (FLAG if last is FLAG else REVIEW)
    expected = {
        FLAG: [Code.FLAG, "a_note", CUT_SHORT],
        CLEAR: [CUT_SHORT, "a_note"],
        REVIEW: [CUT_SHORT, Code.UNCERTAIN, "a_note"],
    }
    assert codes == expected[last]


# Its report.


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return small_bundle(tmp_path_factory.mktemp("bundle") / "b")


def left(out: Path, slide: str, bundle: Bundle) -> Path:
    """Write what a station leaves behind that is killed after its first frame."""
    writer = SlideWriter(out, slide, report_context(bundle.manifest, crops=False))
    with open_model(bundle.folder) as model:
        source = scripted([drawn_field([(60, 60), (150, 130)])])
        examine_slide(model, slide, source, SlideOptions(), Observer(writer.add))
    writer._await_drawing(most=0)
    (folder,) = (out / "slides").glob("*.partial")
    return folder


def of_bundle(out: Path, bundle: Bundle, decision: Decision = FLAG) -> Verdict:
    made = verdict(out, decision)
    tally = Tally(seen=2, scored=2)
    return replace(made, bundle_digest=bundle.digest, tally=tally, evidence=(0,), frames=())


@pytest.mark.parametrize("torn", ["", "a line", "the table", "the folder"])
@pytest.mark.parametrize("committed", [False, True], ids=["open", "final"])
def test_it_gets_its_report_at_the_next_start(
    tmp_path: Path, journal: Journal, bundle: Bundle, torn: str, committed: bool
) -> None:
    """With the tables and overlays that were written, whatever the end left of them."""
    out = tmp_path / "out"
    folder = left(out, "slide 1", bundle)
    whole = (folder / "cells.csv").read_text()
    if torn == "a line":
        with (folder / "cells.csv").open("a") as file:
            file.write("slide 1,script/1.pn")
        (folder / "report.html").write_text("half a page")
    elif torn == "the table":
        (folder / "cells.csv").write_bytes(b'slide,"frame\0\xff\n')
    elif torn == "the folder":
        shutil.rmtree(folder)
        folder.mkdir()
    row = journal.commit(of_bundle(out, bundle), provisional=not committed)
    with locked_folder(out):
        said = close_abandoned(out, journal, LateReports(journal, bundle).write)
    (final,) = read_rows(journal.path, kinds=(VERDICT,))
    report = report_of(out, "slide 1", final.hash)
    assert report is not None
    assert str(report) in said[-1]
    assert (final.hash == row) is committed
    page = report.read_text()
    assert "FLAG" in page
    assert final.hash in page
    kept = torn in ("", "a line")
    assert ("do not hold every cell" in page) is not kept
    assert ((report.parent / "cells.csv").read_text() == whole) is kept
    assert len(list(report.parent.glob("overlays/*.png"))) == (0 if torn == "the folder" else 1)
    assert not list((out / "slides").glob("*.partial"))
    with locked_folder(out):
        assert close_abandoned(out, journal, LateReports(journal, bundle).write) == ()


def test_its_tables_hold_no_frame_that_came_after_the_verdict(
    tmp_path: Path, journal: Journal, bundle: Bundle
) -> None:
    """A frame is drawn and written down before its verdict is committed anew, at times."""
    out = tmp_path / "out"
    folder = left(out, "slide 1", bundle)
    for name in ("cells.csv", "frames.csv"):
        first, *rows = (folder / name).read_text().splitlines(keepends=True)
        more = [row.replace("script/0.png,0", "script/1.png,1") for row in rows]
        assert more != rows
        (folder / name).write_text("".join([first, *rows, *more]))
    journal.commit(of_bundle(out, bundle), provisional=True)
    with locked_folder(out):
        close_abandoned(out, journal, LateReports(journal, bundle).write)
    home = folder.with_name(folder.name.removesuffix(".partial"))
    assert "do not hold every cell" not in (home / "report.html").read_text()
    for name, count in (("cells.csv", 2), ("frames.csv", 1)):
        rows = (home / name).read_text().splitlines()[1:]
        assert len(rows) == count
        assert all("script/0.png" in row for row in rows)


def test_what_is_open_or_of_another_bundle_gets_no_report_that_could_be_wrong(
    tmp_path: Path, journal: Journal, bundle: Bundle
) -> None:
    out = tmp_path / "out"
    still_open = left(out, "slide 2", bundle)
    with locked_folder(out):
        assert close_abandoned(out, journal, LateReports(journal, bundle).write) == ()
    assert still_open.is_dir()
    still_open.rename(out / "slides" / "slide_2")  # so that only one is left
    folder = left(out, "slide 1", bundle)
    journal.commit(verdict(out, FLAG), provisional=True)
    with locked_folder(out):
        said = close_abandoned(out, journal, LateReports(journal, bundle).write)
    assert "another bundle examined it" in said[-1]
    assert not folder.exists()
    assert (out / "set-aside" / folder.name / "cells.csv").is_file()
