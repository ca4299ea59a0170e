"""A folder full of bad files costs nothing but the bad files."""

from __future__ import annotations

import csv
from pathlib import Path

from tests.e2e.station import Station
from tests.faults.bad_images import PNG, make_awkward_names, make_bad_folder
from tests.pictures import encoded, field, with_exif_orientation


def test_every_bad_file_is_one_line_and_every_good_one_is_kept(
    station: Station, tmp_path: Path, bundle: Path
) -> None:
    folder = tmp_path / "smear"
    expected = make_bad_folder(folder)
    good = make_awkward_names(folder)
    done = station.run("score", folder, "--bundle", bundle, "--um-per-px", "0.2", "--json")
    assert done.code == 3, done.err
    assert "Traceback" not in done.err
    unsaid = [name for name in expected if not any(f"/{name}" in e for e in done.error_lines)]
    assert not unsaid
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


def test_what_was_passed_over_bars_clear_and_is_named(
    station: Station, tmp_path: Path, bundle: Path
) -> None:
    folder = tmp_path / "smear"
    folder.mkdir()
    for path in make_awkward_names(folder):
        path.replace(folder / f"{path.stat().st_ino}.png")
    odd = {
        "phone.HEIC": b"\0\0\0\x18ftypheic" + bytes(300),
        "scan.svs": b"II*\0" + bytes(8),
        "film.mp4": b"\0\0\0\x18ftypisom" + bytes(300),
    }
    for name, data in odd.items():
        (folder / name).write_bytes(data)
    (folder / "Thumbs.db").write_bytes(b"\xff\xd8\xff")
    done = station.run("score", folder, "--bundle", bundle, "--um-per-px", "0.2", "--json")
    assert done.code == 3, done.err
    assert len(done.error_lines) == len(odd)
    assert all(any(name in line for line in done.error_lines) for name in odd)
    (slide,) = done.document["slides"]
    assert slide["verdict"] != "CLEAR"
    assert "input_failed" in [reason["code"] for reason in slide["reasons"]]


def test_images_that_a_list_does_not_name_are_said(
    station: Station, tmp_path: Path, bundle: Path
) -> None:
    folder = tmp_path / "smear"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.png").write_bytes(PNG)
    (folder / "slides.csv").write_text("slide,file\nS,0.png\n")
    done = station.run("score", folder, "--bundle", bundle, "--um-per-px", "0.2", "--json")
    assert done.code == 0, done.err
    assert "note: 2 images of the folder not examined, as the slide list lacks them" in done.err
    (slide,) = done.document["slides"]
    said = {reason["code"]: reason["text"] for reason in slide["reasons"]}
    assert "2 images (1.png, 2.png)" in said["unlisted"]


def test_a_tag_that_turns_images_changes_neither_verdict_nor_boxes(
    station: Station, tmp_path: Path, bundle: Path
) -> None:
    seen = []
    for orientation in (1, 6):
        folder = tmp_path / str(orientation) / "smear"
        folder.mkdir(parents=True)
        for number in range(2):
            data = with_exif_orientation(encoded(".jpg", field(number)), orientation)
            (folder / f"{number}.jpg").write_bytes(data)
        out = tmp_path / f"out{orientation}"
        done = station.run(
            "score", folder, "--bundle", bundle, "--um-per-px", "0.15", "--json", "--out", out
        )
        (slide,) = done.document["slides"]
        with (out / "cells.csv").open(encoding="utf-8") as file:
            cells = [{**row, "frame": ""} for row in csv.DictReader(file)]
        assert cells
        codes = [reason["code"] for reason in slide["reasons"]]
        assert ("image_orientation" in codes) == (orientation == 6)
        seen.append((slide["verdict"], slide["probability"], cells))
    assert seen[0] == seen[1]
