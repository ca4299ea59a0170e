"""Only reports that the station names are read from the disk, and the pictures beside them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgeapl.errors import InputError
from edgeapl.types import Decision
from edgeapl.web.reports import report_file
from tests.fake_station import FakeStation


@pytest.fixture
def station(tmp_path: Path) -> FakeStation:
    (tmp_path / "overlays").mkdir()
    (tmp_path / "overlays" / "frame 1.png").write_bytes(b"picture")
    (tmp_path / "overlays" / "notes.txt").write_bytes(b"secret")
    (tmp_path / "overlays" / "link.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "secret.png").write_bytes(b"secret")
    station = FakeStation(tmp_path)
    station.start_slide("a")
    station.close_slide()
    return station


def test_a_report_and_its_pictures_are_read(station: FakeStation) -> None:
    record = station.history(1)[0].record
    data, kind = report_file(station, record, "")
    assert (b"Report 1" in data, kind) == (True, "text/html")
    assert report_file(station, record, "frame 1.png") == (b"picture", "image/png")


@pytest.mark.parametrize(
    "overlay",
    ["../secret.png", "notes.txt", "link.png", "gone.png", "..", "/etc/passwd", "a\x00.png"],
)
def test_nothing_else_is_read(station: FakeStation, overlay: str) -> None:
    with pytest.raises(InputError):
        report_file(station, station.history(1)[0].record, overlay)


@pytest.mark.parametrize("record", ["", "0" * 64, "../" * 5, "f" * 129, "0" * 63 + "\n"])
def test_a_record_that_the_station_does_not_name_is_refused(
    station: FakeStation, record: str
) -> None:
    with pytest.raises(InputError, match="no such report"):
        report_file(station, record, "")


def test_a_report_that_is_gone_is_said(station: FakeStation) -> None:
    item = station.history(1)[0]
    assert item.report is not None
    item.report.unlink()
    with pytest.raises(InputError, match="not there any more"):
        report_file(station, item.record, "")


def test_the_report_of_the_slide_just_closed_needs_no_history(
    station: FakeStation, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = station.history(1)[0].record
    monkeypatch.setattr(station, "report", lambda record: None)
    assert b"Report 1" in report_file(station, record, "")[0]
    shown = station.view().slide
    assert shown is not None
    station.show(slide=replace(shown, decision=Decision.CLEAR, report=None))
    with pytest.raises(InputError):
        report_file(station, record, "")
