"""A slide's results appear whole or not at all, and the tables of all slides are their sum."""

from __future__ import annotations

import csv
import errno
import json
import os
import threading
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from edgeapl.errors import StorageError
from edgeapl.report.pictures import draw_overlay
from edgeapl.report.results import newest_folders, report_of, slide_folder
from edgeapl.report.writer import SlideFiles, SlideWriter, assemble, finished_record
from edgeapl.types import ExaminedFrame, UInt8
from tests.drawn_slides import ROLES, context, examined, record, slide

HASH = "a1" * 32
HOSTILE = "../=<img src=x onerror=alert(1)>\n\x1b[31m\udcff"


def now() -> datetime:
    return datetime(2025, 11, 21, tzinfo=timezone.utc)


@pytest.fixture(scope="module")
def frames() -> list[ExaminedFrame]:
    return list(slide(7))


def write(
    folder: Path, frames: list[ExaminedFrame], name: str = "drawn-1", **changes: Any
) -> SlideFiles:
    writer = SlideWriter(folder, name, context(**changes), now)
    for frame in frames:
        writer.add(frame)
    return writer.finish(record(frames, name=name), HASH)


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_finished_slide_has_every_file_and_no_other(
    tmp_path: Path, frames: list[ExaminedFrame]
) -> None:
    files = write(tmp_path, frames)
    stems = [f"{i:05d}-field_{i:03d}" for i in range(7) if i != 5]
    expected = ["cells.csv", "frames.csv", "report.html", "thumbnail.jpg", "verdict.json"]
    expected += [f"overlays/{stem}.png" for stem in stems]
    expected += [f"geojson/cells-{stem}.geojson" for stem in stems]
    assert sorted(files_in(tmp_path / "slides" / "drawn-1")) == sorted(expected)
    listed = [files.report, files.verdict, files.cells_csv, files.frames_csv]
    assert all(path.is_file() for path in (*listed, *files.overlays, *files.geojson))
    assert len(files.overlays) == len(files.geojson) == 6
    with files.cells_csv.open(encoding="utf-8", newline="") as file:
        cells = [int(row["cell"]) for row in csv.DictReader(file)]
    assert cells == list(range(sum(len(frame.ids) for frame in frames)))
    assert [path.name for path in (tmp_path / "slides").iterdir()] == ["drawn-1"]


def test_pictures_that_there_is_no_time_for_are_left_out_and_the_page_says_so(
    tmp_path: Path, frames: list[ExaminedFrame]
) -> None:
    writer = SlideWriter(tmp_path, "drawn-1", context(), now)
    writer.leave_out_pictures()
    for frame in frames:
        writer.add(frame)
    files = writer.finish(record(frames), HASH)
    assert not list((files.folder / "overlays").iterdir())
    assert not list((files.folder / "geojson").iterdir())
    page = files.report.read_text(encoding="utf-8")
    assert "6 more frames were used without a picture" in page
    with files.cells_csv.open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == sum(len(frame.ids) for frame in frames)


def test_crops_have_neither_overlays_nor_geojson(
    tmp_path: Path, frames: list[ExaminedFrame]
) -> None:
    files = write(tmp_path, frames[:2], crops=True)
    names = ["cells.csv", "frames.csv", "report.html", "verdict.json"]
    assert sorted(files_in(files.folder)) == names
    assert "field_001.png" in files.report.read_text(encoding="utf-8")


def test_a_finished_slide_is_recognised_and_nothing_else_is(
    tmp_path: Path, frames: list[ExaminedFrame]
) -> None:
    assert finished_record(tmp_path, "drawn-1") is None
    writer = SlideWriter(tmp_path, "drawn-1", context(), now)
    writer.add(frames[0])
    assert finished_record(tmp_path, "drawn-1") is None
    written = record([frames[0]], slide_key="k", name="drawn-1")
    writer.finish(written, HASH)
    assert finished_record(tmp_path, "drawn-1") == written


def test_an_abandoned_slide_leaves_nothing_and_an_older_result_untouched(
    tmp_path: Path, frames: list[ExaminedFrame]
) -> None:
    write(tmp_path, frames[:1])
    before = files_in(tmp_path)
    writer = SlideWriter(tmp_path, "drawn-1", context(), now)
    writer.add(frames[1])
    assert files_in(tmp_path / "slides" / "drawn-1") == files_in(slide_folder(tmp_path, "drawn-1"))
    writer.abandon()
    assert files_in(tmp_path) == before


def test_no_record_takes_the_place_of_another_of_the_same_slide(
    tmp_path: Path, frames: list[ExaminedFrame]
) -> None:
    (tmp_path / "slides/drawn-1.partial/overlays").mkdir(parents=True)  # what a crash left
    (tmp_path / "slides/drawn-1.recordings").mkdir()
    first = write(tmp_path, frames[:3])
    before = files_in(first.folder)
    others = [write(tmp_path, frames[:1]) for _ in range(2)]
    assert [files.folder.name for files in others] == ["drawn-1.record2", "drawn-1.record3"]
    assert files_in(first.folder) == before
    assert [path.name for path in (others[0].folder / "overlays").iterdir()] == [
        "00000-field_000.png"
    ]
    assert newest_folders(tmp_path)[0] == others[1].folder
    # A slide whose name looks like that of another's second record has a folder of its own.
    assert write(tmp_path, frames[:1], "drawn-1.record2").folder.name.startswith("drawn-1.record2-")


def test_of_two_writers_of_one_slide_none_takes_the_others_place(
    tmp_path: Path, frames: list[ExaminedFrame]
) -> None:
    writer = SlideWriter(tmp_path, "drawn-1", context(), now)
    writer.add(frames[0])
    (tmp_path / "slides/drawn-1").mkdir()
    (tmp_path / "slides/drawn-1/verdict.json").write_text("{")
    files = writer.finish(record(frames[:1], name="drawn-1"), HASH)
    assert files.report == tmp_path / "slides/drawn-1.record2/report.html"
    assert files.report.is_file()


@pytest.mark.parametrize("name", ["drawn-1", "a[1].b", "drawn-1.record2"])
def test_a_report_is_found_by_its_record(
    tmp_path: Path, frames: list[ExaminedFrame], name: str
) -> None:
    homes = []
    for number in range(2):
        writer = SlideWriter(tmp_path, name, context(), now)
        writer.add(frames[0])
        row = f"{number:064x}"
        files = writer.finish(record(frames[:1], name=name, journal_record=row), row)
        homes.append(files.report)
        assert report_of(tmp_path, name, row) == files.report
    homes[0].unlink()
    assert report_of(tmp_path, name, f"{0:064x}") is None
    assert report_of(tmp_path, name, f"{1:064x}") == homes[1]
    assert report_of(tmp_path, name, f"{2:064x}") is None


def test_hostile_names_stay_inside_the_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    frame = examined(0, ["promyelocyte"], source=HOSTILE)
    files = write(out, [frame], HOSTILE)
    assert files.folder.parent == out / "slides"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert finished_record(out, HOSTILE) == record([frame], name=HOSTILE)
    for path in out.rglob("*"):
        assert not set(path.name) & set("<>\n\x1b\udcff/=")


def test_the_tables_of_all_slides_are_those_of_each_in_order(
    tmp_path: Path, frames: list[ExaminedFrame]
) -> None:
    one, two = write(tmp_path, frames[:3], "b"), write(tmp_path, frames[3:], "a")
    assemble(tmp_path, ["b", "a"])
    lines = (tmp_path / "verdicts.jsonl").read_bytes()
    assert lines == one.verdict.read_bytes() + two.verdict.read_bytes()
    assert [json.loads(line)["slide"] for line in lines.splitlines()] == ["b", "a"]
    header, rest = two.cells_csv.read_bytes().split(b"\n", 1)
    assert (tmp_path / "cells.csv").read_bytes() == one.cells_csv.read_bytes() + rest
    assert header.startswith(b"slide,frame,frame_number,cell,x0,")
    leftovers = [path.name for path in tmp_path.iterdir() if path.is_file()]
    assert sorted(leftovers) == ["cells.csv", "verdicts.jsonl"]


def test_tables_with_other_columns_are_refused_and_the_older_table_stays(
    tmp_path: Path, frames: list[ExaminedFrame]
) -> None:
    write(tmp_path, frames[:1], "a")
    assemble(tmp_path, ["a"])
    before = (tmp_path / "cells.csv").read_bytes()
    write(tmp_path, frames[:1], "b", roles=dict(reversed(ROLES.items())))
    with pytest.raises(StorageError, match="two bundles or lists do not fit"):
        assemble(tmp_path, ["a", "b"])
    assert (tmp_path / "cells.csv").read_bytes() == before


def drop_cells(folder: Path) -> None:
    (folder / "cells.csv").unlink()


def cut_verdict(folder: Path) -> None:
    path = folder / "verdict.json"
    path.write_bytes(path.read_bytes()[:50])


def drop_verdict(folder: Path) -> None:
    (folder / "verdict.json").unlink()


def rename_slide(folder: Path) -> None:
    path = folder / "verdict.json"
    path.write_text(path.read_text().replace("drawn-1", "DRAWN-1"))


@pytest.mark.parametrize("damage", [drop_cells, cut_verdict, drop_verdict, rename_slide])
def test_damaged_or_foreign_results_are_refused_and_no_new_ones_touch_them(
    tmp_path: Path, frames: list[ExaminedFrame], damage: Any
) -> None:
    files = write(tmp_path, frames[:1])
    damage(files.folder)
    before = files_in(tmp_path)
    with pytest.raises(StorageError, match="drawn-1"):
        finished_record(tmp_path, "drawn-1")
    assert write(tmp_path, frames[:1]).folder.name == "drawn-1.record2"
    assert {path: text for path, text in files_in(tmp_path).items() if path in before} == before


@pytest.mark.parametrize(
    ("number", "words"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only")]
)
def test_a_fault_of_the_disk_is_one_line_that_says_how_to_mend_it(
    tmp_path: Path,
    frames: list[ExaminedFrame],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    words: str,
) -> None:
    def fsync(handle: int) -> None:
        raise OSError(number, os.strerror(number))

    write(tmp_path, frames[:1])
    before = files_in(tmp_path)
    writer = SlideWriter(tmp_path, "drawn-1", context(), now)
    writer.add(frames[0])
    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(StorageError, match=words) as caught:
        writer.finish(record(frames[:1]), HASH)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 5
    writer.abandon()
    assert files_in(tmp_path) == before
    with pytest.raises(StorageError, match=words):
        assemble(tmp_path, ["drawn-1"])
    assert files_in(tmp_path) == before


def test_a_full_disk_while_frames_come_in_is_one_error(
    tmp_path: Path, frames: list[ExaminedFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = SlideWriter(tmp_path, "drawn-1", context(), now)
    real = Path.open

    def full(self: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if self.suffix == ".png":
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return real(self, mode, *args, **kwargs)

    monkeypatch.setattr(Path, "open", full)
    writer.add(frames[0])
    with pytest.raises(StorageError, match=r"00000-field_000\.png: the disk is full"):
        writer.finish(record(frames[:1]), HASH)
    writer.abandon()
    assert list((tmp_path / "slides").iterdir()) == []


def test_a_file_where_the_folder_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "slides").write_text("mine")
    with pytest.raises(StorageError):
        SlideWriter(tmp_path, "s", context(), now)
    assert (tmp_path / "slides").read_text() == "mine"


def test_the_same_frame_twice_is_refused(tmp_path: Path, frames: list[ExaminedFrame]) -> None:
    writer = SlideWriter(tmp_path, "s", context(), now)
    writer.add(frames[0])
    writer.add(frames[0])
    with pytest.raises(StorageError, match="File exists"):
        writer.finish(record(frames[:1]), HASH)


def test_a_number_that_is_not_finite_never_reaches_a_file(
    tmp_path: Path, frames: list[ExaminedFrame]
) -> None:
    writer = SlideWriter(tmp_path, "s", context(), now)
    writer.add(frames[0])
    with pytest.raises(ValueError, match="not JSON compliant"):
        writer.finish(record(frames[:1], timings={"infer": float("nan")}), HASH)
    writer.abandon()


def test_pictures_are_made_in_the_background_and_few_frames_wait_for_them(
    tmp_path: Path, frames: list[ExaminedFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, third = threading.Event(), threading.Event()

    def drawn(*given: Any) -> UInt8:
        assert go_on.wait(20)
        return draw_overlay(*given)

    monkeypatch.setattr("edgeapl.report.writer.draw_overlay", drawn)
    writer = SlideWriter(tmp_path / "a", "drawn-1", context(), now)
    for frame in frames[:2]:
        writer.add(frame)

    def add_third() -> None:
        writer.add(frames[2])
        third.set()

    adding = threading.Thread(target=add_third)
    adding.start()
    assert not third.wait(0.2)
    go_on.set()
    assert third.wait(20)
    adding.join()
    for frame in frames[3:]:
        writer.add(frame)
    writer.finish(record(frames), HASH)
    monkeypatch.undo()
    write(tmp_path / "b", frames)
    assert files_in(tmp_path / "a") == files_in(tmp_path / "b")


def test_nothing_is_written_into_an_abandoned_slide(
    tmp_path: Path, frames: list[ExaminedFrame]
) -> None:
    writer = SlideWriter(tmp_path, "drawn-1", context(), now)
    for frame in frames[:2]:
        writer.add(frame)
    writer.abandon()
    assert not list((tmp_path / "slides").iterdir())
