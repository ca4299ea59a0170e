"""A folder full of bad files costs nothing but the bad files."""

from __future__ import annotations

import csv
from pathlib import Path

from tests.e2e.station import Station
from tests.faults.bad_images import make_awkward_names, make_bad_folder


def test_every_bad_file_is_one_line_and_every_good_one_is_kept(
    station: Station, tmp_path: Path, bundle: Path
) -> None:
    folder = tmp_path / "smear"
    expected = make_bad_folder(folder)
    good = make_awkward_names(folder)
    done = station.run("score", folder, "--bundle", bundle, "--um-per-px", "0.2", "--json")
    assert done.code == 3, done.err
    assert "Traceback" not in done.err
    assert len(done.error_lines) == len(expected)
    for what in set(expected.values()):
        assert any(what in line for line in done.error_lines), what
    (slide,) = done.document["slides"]
    assert slide["verdict"] != "CLEAR"
    out = station.folder / done.document["out"]
    with (out / "slides" / "smear" / "frames.csv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == len(good)
    assert (out / "slides" / "smear" / "report.html").is_file()
    for line in (*done.error_lines, done.out):
        assert "\x1b" not in line
    assert station.run("journal", "verify").code == 0
