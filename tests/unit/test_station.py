"""The station: slides are opened, closed, taken up again; what people say is kept."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest

from edgeapl.errors import CameraError, EndOfSource, IdentifierUsed, SourceStalled, UsageError
from edgeapl.journal import AMENDMENT, CertificateStatus, Journal, Opinion, SignOff, read_rows
from edgeapl.pipeline import SlideOptions
from edgeapl.protocols import FrameSource
from edgeapl.report.storage import sync
from edgeapl.report.writer import SlideWriter
from edgeapl.sources.frames import ScaleFor, frame_of_pixels
from edgeapl.station.access import CameraState, StationAccess, StationView
from edgeapl.station.frame_store import FrameStore, left_folders
from edgeapl.station.hosted_model import HostedModel, open_hosted
from edgeapl.station.service import StationService
from edgeapl.station.session import ClosedSlide, Session
from edgeapl.station.station import Station, StationOptions
from edgeapl.types import (
    Certificate,
    Decision,
    ExaminedFrame,
    Frame,
    ScaleOrigin,
    UInt8,
    Verdict,
)
from tests.deployed import metrics_asked_for
from tests.faults.journal_worker import make_verdict
from tests.small_bundle import drawn_field, small_bundle

PLACES = [((50, 50), (150, 150)), ((60, 140), (140, 60)), ((100, 100),), ((60, 60), (60, 140))]


def field_of(number: int) -> UInt8:
    noise = np.random.default_rng(number).integers(0, 3, (200, 200, 3))
    image = drawn_field(PLACES[number % len(PLACES)])
    return np.asarray(np.clip(image + noise, 0, 255), dtype=np.uint8)


def shot(number: int, source: str) -> Frame:
    return frame_of_pixels(
        field_of(number),
        index=number,
        captured_ns=1,
        source=source,
        scale_for=lambda pixels: (0.2, ScaleOrigin.STATED),
    )


class Camera:
    """Implements FrameSource: gives a picture whenever `show` is called."""

    live = True
    name = "camera"

    def __init__(self, scale_for: ScaleFor) -> None:
        self._scale_for = scale_for
        self._news = threading.Condition()
        self._waiting: list[UInt8] = []
        self._count = 0
        self.gone = False
        self.closed = False

    @property
    def taken(self) -> int:
        return self._count

    def show(self, pixels: UInt8) -> None:
        with self._news:
            self._waiting.append(pixels)
            self._news.notify_all()

    def read(self, timeout_s: float) -> Frame:
        with self._news:
            self._news.wait_for(lambda: self._waiting or self.gone or self.closed, timeout_s)
            if self.closed:
                raise EndOfSource
            if self.gone:
                raise CameraError("camera is gone", "camera", "plug it in")
            if not self._waiting:
                raise SourceStalled("no picture", "camera", "wait")
            pixels = self._waiting.pop(0)
        self._count += 1
        return frame_of_pixels(
            pixels,
            index=self._count - 1,
            captured_ns=time.monotonic_ns(),
            source=f"camera#{self._count - 1}",
            scale_for=self._scale_for,
        )

    def close(self) -> None:
        with self._news:
            self.closed = True
            self._news.notify_all()


class Bench:
    """A station with everything around it."""

    def __init__(self, station: Station, camera: Camera, journal: Journal, out: Path) -> None:
        self.station = station
        self.access: StationAccess = StationService(station)
        self.camera = camera
        self.journal = journal
        self.out = out
        self.closed: list[ClosedSlide] = []

    def until(self, true: Callable[[StationView], bool], within_s: float = 20) -> StationView:
        end = time.monotonic() + within_s
        while time.monotonic() < end:
            view = self.access.wait(-1, 0.01)
            if true(view):
                return view
            time.sleep(0.01)
        raise AssertionError(f"in vain: {self.access.view()}")

    def show(self, number: int) -> StationView:
        """Show a field and wait until it is examined."""
        before = self.frames
        self.camera.show(field_of(number))
        return self.until(lambda view: self.frames > before)

    @property
    def frames(self) -> int:
        slide = self.access.view().slide
        return 0 if slide is None else slide.frames_used + slide.frames_rejected

    def close_slide(self) -> ClosedSlide:
        before = len(self.closed)
        self.station.close_slide()
        self.until(lambda view: len(self.closed) > before)
        return self.closed[-1]

    def start(self, slide: str) -> None:
        self.station.start_slide(slide)
        self.until(lambda view: view.slide is not None and view.slide.slide == slide)


@pytest.fixture(scope="module")
def hosted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostedModel]:
    folder = tmp_path_factory.mktemp("bundle") / "b"
    small_bundle(folder)
    with open_hosted(folder) as opened:
        yield opened


@contextmanager
def opened(
    hosted: HostedModel, folder: Path, *, journal: str = "journal.sqlite3", **more: Any
) -> Iterator[Bench]:
    cameras: list[Camera] = []

    def open_camera(scale_for: ScaleFor) -> FrameSource:
        cameras.append(Camera(scale_for))
        return cameras[-1]

    closed: list[ClosedSlide] = []
    options = StationOptions("camera0", folder / "out", um_per_px=0.2, **more)
    with (
        Journal.open(folder / journal) as record,
        Station(hosted, open_camera, record, options, closed.append) as station,
    ):
        bench = Bench(station, cameras[0], record, folder / "out")
        bench.closed = closed
        yield bench


@pytest.fixture
def bench(hosted: HostedModel, tmp_path: Path) -> Iterator[Bench]:
    with opened(hosted, tmp_path) as made:
        yield made


def kinds(bench: Bench) -> Sequence[str]:
    return [row.kind for row in read_rows(bench.journal.path)]


def test_it_keeps_the_promises_that_the_page_relies_on(bench: Bench) -> None:
    access = bench.access
    view = access.view()
    assert view.slide is None
    assert view.camera.name == "camera0"
    assert access.live_jpeg() is None
    assert access.examined_jpeg() is None
    assert access.cells(10) == ()
    assert access.cell_jpeg("S", 0) is None
    assert access.history(10) == ()
    assert view.labels[:3] == ("promyelocyte", "myeloblast", "auer_rod")


def test_a_slide_goes_from_its_start_to_a_committed_verdict_and_a_report(bench: Bench) -> None:
    bench.start("S1")
    view = bench.show(0)
    assert view.slide is not None
    assert view.slide.open
    assert view.slide.record  # shown after it was committed
    assert view.slide.tally.scored == 2
    assert view.slide.report is None
    bench.show(1)
    closed = bench.close_slide()
    view = bench.access.view()
    assert view.slide is not None
    assert not view.slide.open
    assert view.slide.record == closed.record["journal_record"]
    assert view.slide.report == closed.report
    assert closed.report.is_file()
    assert kinds(bench)[-1] == "verdict"
    assert not left_folders(bench.out)
    history = bench.access.history(5)
    assert [(item.slide, item.report) for item in history] == [("S1", closed.report)]


def test_starting_a_slide_closes_the_open_one(bench: Bench) -> None:
    bench.start("S1")
    bench.show(0)
    bench.start("S2")
    assert [one.verdict.slide for one in bench.closed] == ["S1"]
    bench.show(1)
    assert bench.close_slide().verdict.tally.seen == 2  # nothing of S1


def test_a_field_that_is_rested_on_is_counted_once_and_said_so(bench: Bench) -> None:
    bench.start("S1")
    bench.show(0)
    view = bench.show(4)  # the same field with other noise
    assert view.slide is not None
    assert view.slide.frames_rejected == 1
    assert [reason.code for reason in view.slide.rejected] == ["duplicate"]
    assert view.slide.tally.seen == 2


@pytest.mark.parametrize("slide", ["", "  ", "a\nb", "x" * 201, "\x1b[2J"])
def test_a_bad_identifier_is_refused(bench: Bench, slide: str) -> None:
    with pytest.raises(UsageError, match="identifier"):
        bench.station.start_slide(slide)


def test_pictures_are_there_to_look_at(bench: Bench) -> None:
    bench.start("S1")
    bench.show(0)
    live, examined = bench.access.live_jpeg(), bench.access.examined_jpeg()
    assert live is not None
    assert examined is not None
    cells = bench.access.cells(10)
    assert len(cells) == 2
    for picture in (live[1], examined[1], bench.access.cell_jpeg("S1", cells[0].cell)):
        assert picture is not None
        assert picture[:2] == b"\xff\xd8"


def test_what_a_person_calls_a_cell_is_added_and_the_verdict_stays(bench: Bench) -> None:
    bench.start("S1")
    bench.show(0)
    closed = bench.close_slide()
    row = bench.access.reclassify("S1", 1, "other cell", "AB")
    newest = read_rows(bench.journal.path)[-1]
    assert (newest.hash, newest.kind) == (row, AMENDMENT)
    assert newest.content["record"] == closed.record["journal_record"]
    assert (newest.content["cell"], newest.content["label"]) == (1, "other cell")
    assert newest.content["person"] == "AB"
    labels = {cell.cell: cell.label for cell in bench.access.cells(10)}
    assert labels == {0: None, 1: "other cell"}
    assert bench.access.history(1)[0].amendments == 1
    with pytest.raises(UsageError, match="no such cell"):
        bench.access.reclassify("S1", 99, "other cell", "AB")
    with pytest.raises(UsageError, match="no such name"):
        bench.access.reclassify("S1", 1, "dragon", "AB")


def test_a_camera_that_fails_closes_the_slide_with_a_person_to_look(bench: Bench) -> None:
    bench.start("S1")
    bench.show(0)
    bench.camera.gone = True
    view = bench.until(lambda view: bool(bench.closed))
    assert view.camera.state is CameraState.FAILED
    assert "camera is gone" in view.camera.text
    assert bench.closed[0].exit_code == 6


def test_a_slide_that_was_left_open_goes_on_with_all_its_frames(
    hosted: HostedModel, tmp_path: Path
) -> None:
    """As after a power cut: frames are kept, and nothing was closed."""
    with opened(hosted, tmp_path) as bench:
        bench.start("S1")
        bench.show(0)
        whole = bench.close_slide().verdict
    kept = FrameStore.start(tmp_path / "out", "S1", "2026-01-01T00:00:00")
    kept.add(shot(0, "camera#7"))
    kept.note_flag()
    kept.flush()
    with opened(hosted, tmp_path) as bench:
        bench.until(lambda view: view.slide is not None and view.slide.frames_used == 1)
        bench.camera.show(field_of(1))  # whose field that is nobody has said
        with pytest.raises(UsageError, match="continue it, or close it first"):
            bench.station.start_slide("S1")
        with pytest.raises(UsageError, match="does not wait"):
            bench.access.resume_slide("S2")
        bench.until(lambda view: bench.camera.taken == 1)
        bench.access.resume_slide("S1")
        view = bench.show(2)
        assert view.slide is not None
        assert not view.slide.waits
        closed = bench.close_slide()
    assert closed.verdict.tally.seen == whole.tally.seen + 1  # field 2 has one cell, field 1 none
    assert closed.verdict.frames[0] == ("camera#7", whole.frames[0][1])
    assert closed.verdict.decision.value == "FLAG"  # it was shown before the power went
    assert not left_folders(tmp_path / "out")


def test_an_older_slide_that_was_left_open_is_closed_first(
    hosted: HostedModel, tmp_path: Path
) -> None:
    for name, started in (("old", "2026-01-01"), ("new", "2026-01-02")):
        FrameStore.start(tmp_path / "out", name, started)
    with opened(hosted, tmp_path) as bench:
        bench.until(lambda view: view.slide is not None and view.slide.slide == "new")
        assert [one.verdict.slide for one in bench.closed] == ["old"]
        assert bench.closed[0].verdict.decision.value == "REVIEW"


@pytest.mark.parametrize("cut", [1, 2])
def test_a_kept_frame_that_was_cut_short_is_left_out_and_not_written_over(
    tmp_path: Path, cut: int
) -> None:
    kept = FrameStore.start(tmp_path, "S", "2026-01-01")
    for number in range(3):
        kept.add(shot(number, f"c#{number}"))
    kept.flush()
    next(tmp_path.glob(f"open/*/*{cut}.json")).unlink()
    again = FrameStore.start(tmp_path, "S", "2026-01-01")
    whole = [f"c#{number}" for number in range(3) if number != cut]
    assert [read().source for read in again.readers()] == whole
    again.add(shot(3, "c#3"))
    again.flush()
    assert [read().source for read in again.readers()] == [*whole, "c#3"]


def test_a_process_that_is_killed_while_it_keeps_a_frame_leaves_no_damaged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, copies = FrameStore.start(tmp_path / "a", "S", "2026-01-01"), tmp_path / "killed"

    def copied(file: IO[bytes]) -> None:
        shutil.copytree(tmp_path / "a", copies / str(len(list(copies.glob("*")))))
        sync(file)

    monkeypatch.setattr("edgeapl.report.storage.sync", copied)
    kept.add(shot(0, "c#0"))
    kept.flush()
    monkeypatch.undo()
    assert len(list(copies.iterdir())) == 2  # the picture, and what is known of it
    for folder in copies.iterdir():
        again = FrameStore.start(folder, "S", "2026-01-01")
        assert [read().source for read in again.readers()] == []
        again.add(shot(1, "c#1"))
        again.flush()
        assert [read().source for read in again.readers()] == ["c#1"]


def test_metrics_count_what_happened(bench: Bench) -> None:
    bench.start("S1")
    bench.show(0)
    bench.close_slide()
    metrics = bench.access.metrics()
    assert metrics["edgeapl_slides_total"] == 1
    assert metrics["edgeapl_cells_total"] == 2
    assert 0 < metrics["edgeapl_slowest_commit_seconds"] < metrics["edgeapl_budget_seconds"]
    json.dumps(metrics, allow_nan=False)
    assert metrics_asked_for() <= set(metrics)  # what alarms and dashboard look at
    assert min(metrics["edgeapl_disk_free_bytes"].values()) > 0


def test_the_answer_is_committed_before_the_pictures_of_its_frame_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    add, commit = SlideWriter.add, Journal.commit

    def noted_add(writer: SlideWriter, examined: ExaminedFrame) -> None:
        order.append("pictures")
        add(writer, examined)

    def noted_commit(journal: Journal, verdict: Verdict, *, provisional: bool = False) -> str:
        order.append("commit")
        return commit(journal, verdict, provisional=provisional)

    monkeypatch.setattr(SlideWriter, "add", noted_add)
    monkeypatch.setattr(Journal, "commit", noted_commit)
    small_bundle(tmp_path / "bundle")
    camera = Camera(lambda pixels: (0.2, ScaleOrigin.STATED))
    camera.show(field_of(0))
    with (
        Journal.open(tmp_path / "journal.sqlite3") as journal,
        open_hosted(tmp_path / "bundle") as hosted,
    ):
        options = SlideOptions(budget=hosted.budget(45), max_frames=1)
        closed = Session(hosted, "s", tmp_path / "out", journal, options).run(camera)
    assert order == ["commit", "pictures", "commit"]
    assert closed.verdict.tally.seen == len(PLACES[0])


def test_a_slide_waits_for_its_first_frame_and_is_no_review_until_then(bench: Bench) -> None:
    bench.start("S1")
    slide = bench.access.view().slide
    assert slide is not None
    assert slide.decision is None
    assert bench.access.metrics()["edgeapl_slide_state"] == {
        "waiting_for_the_first_frame": 1.0,
        "FLAG": 0.0,
        "CLEAR": 0.0,
        "REVIEW": 0.0,
    }
    slide = bench.show(0).slide
    assert slide is not None
    assert slide.decision is not None
    states = bench.access.metrics()["edgeapl_slide_state"]
    assert (states["waiting_for_the_first_frame"], sum(states.values())) == (0.0, 1.0)
    bench.close_slide()
    assert sum(bench.access.metrics()["edgeapl_slide_state"].values()) == 0.0


def test_a_flag_stands_at_the_station_until_it_is_acknowledged(
    hosted: HostedModel, tmp_path: Path
) -> None:
    kept = FrameStore.start(tmp_path / "out", "S1", "2026-01-01")
    kept.add(shot(0, "camera#0"))
    kept.flush()
    kept.note_flag()
    with opened(hosted, tmp_path) as bench:
        bench.until(lambda view: len(view.alarms) == 1)
        bench.start("S2")
        assert [alarm.slide for alarm in bench.access.view().alarms] == ["S1"]
    with opened(hosted, tmp_path) as bench:
        (alarm,) = bench.access.view().alarms
        assert bench.access.metrics()["edgeapl_flags_unacknowledged"] == 1.0
        revision = bench.access.view().revision
        bench.access.acknowledge(alarm.record, "AB")
        assert bench.access.view().revision > revision
        assert bench.access.view().alarms == ()
    with opened(hosted, tmp_path) as bench:
        assert bench.access.view().alarms == ()


def test_half_a_frame_shows_its_cells_and_no_figures(bench: Bench) -> None:
    bench.start("S1")
    bench.show(0)
    shown = bench.station.snapshot()
    assert shown is not None
    assert shown.view(0).probability is not None
    half = replace(shown, committed=None).view(0)
    assert (half.decision, half.probability, half.interval, half.counts) == (None, None, None, ())
    assert half.tally == shown.tally


def test_an_identifier_is_used_again_only_when_a_person_says_so_and_nothing_is_replaced(
    bench: Bench,
) -> None:
    bench.start("S1")
    bench.show(0)
    first = bench.close_slide()
    page = first.report.read_bytes()
    with pytest.raises(IdentifierUsed, match=r"has a record already: S1 \(REVIEW"):
        bench.access.start_slide("S1")
    bench.access.start_slide("S1", True)
    bench.until(lambda view: view.slide is not None and view.slide.open)
    bench.show(2)
    second = bench.close_slide()
    assert first.report.read_bytes() == page
    assert second.report != first.report
    newest, older = bench.access.history(5)
    assert [item.report for item in (newest, older)] == [second.report, first.report]
    assert bench.access.report(newest.record) == second.report
    bench.access.reclassify("S1", 0, "other cell", "AB")
    assert [item.amendments for item in bench.access.history(5)] == [1, 0]
    assert first.report.read_bytes() == page
    assert "other cell" in second.report.read_text(encoding="utf-8")


def test_what_is_said_of_a_cell_while_the_slide_is_open_stands_in_its_report(bench: Bench) -> None:
    bench.start("S1")
    bench.show(0)
    bench.access.reclassify("S1", 1, "not a cell", "AB")
    closed = bench.close_slide()
    assert bench.access.history(1)[0].amendments == 1
    assert "not a cell" in closed.report.read_text(encoding="utf-8")
    assert "not a cell" not in closed.report.with_name("report.v1.html").read_text()


def test_the_page_says_what_may_be_cleared_and_what_has_ended_it(bench: Bench) -> None:
    assert bench.access.view().may_clear.startswith("none: this model has no proof")
    certificate = Certificate("c" * 64, "APL", 0.5, 0.05, 0.95, 59, 0, 0.0495)
    standing = CertificateStatus(bench.journal.path, certificate)
    bench.station.standing = standing
    cleared = replace(make_verdict(1), decision=Decision.CLEAR, reasons=(), certificate=certificate)
    record = bench.journal.commit(cleared)
    bench.access.sign_off(record, SignOff(Opinion.OVERRULE, "AB", "blasts", "APL"))
    assert "has ended here: a person overruled the CLEAR" in bench.access.view().may_clear


def test_a_person_signs_and_the_verdict_stays(bench: Bench) -> None:
    bench.start("S1")
    bench.show(0)
    record = bench.close_slide().record["journal_record"]
    assert bench.access.history(1)[0].signed == ""
    row = bench.access.sign_off(record, SignOff(Opinion.REPEAT, "AB", "too thick"))
    newest = read_rows(bench.journal.path)[-1]
    assert (newest.hash, newest.kind, newest.content["record"]) == (row, AMENDMENT, record)
    item = bench.access.history(1)[0]
    assert (item.signed, item.decision) == ("repeat asked for by AB", "REVIEW")
    assert item.report is not None
    assert "too thick" in item.report.read_text(encoding="utf-8")
    with pytest.raises(UsageError, match="no such row"):
        bench.access.sign_off("0" * 64, SignOff(Opinion.CONFIRM, "AB"))


def test_demonstrations_stay_out_of_the_patients_history(
    hosted: HostedModel, tmp_path: Path
) -> None:
    for drawn in (True, False):
        with opened(hosted, tmp_path, drawn=drawn) as bench:
            bench.start(f"drawn {drawn}")
            bench.show(0)
            bench.close_slide()
            shown = [
                [one.slide for one in bench.access.history(5, asked)] for asked in (False, True)
            ]
    assert shown == [["drawn False"], ["drawn True"]]
