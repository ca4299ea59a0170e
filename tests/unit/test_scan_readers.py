"""Scans of each reader are scored by the program to a verdict with all that people look at."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from edgeapl.types import UInt8
from edgeapl.whole_slide import open_pyramid, opening
from tests.dicom_scans import write_dicom
from tests.scans import UM_DRAWN, drawn_canvas, program_for_small_scans

pytest.importorskip("openslide")


def levels_of(canvas: UInt8) -> list[UInt8]:
    size = canvas.shape[1] // 4, canvas.shape[0] // 4
    return [canvas, np.asarray(cv2.resize(canvas, size, interpolation=cv2.INTER_AREA), np.uint8)]


def test_scans_that_different_libraries_read_get_the_same_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "LARGEST_IMAGE_PX", 10_000_000)
    slides, out = tmp_path / "slides", tmp_path / "out"
    (slides / "dicom").mkdir(parents=True)
    (slides / "tiff").mkdir()
    levels = levels_of(drawn_canvas("healthy"))
    for number, level in enumerate(levels):
        write_dicom(slides / "dicom" / f"{number}.dcm", level, UM_DRAWN * 4**number, number)
    with tifffile.TiffWriter(slides / "tiff" / "p8.tif") as file:
        for number, level in enumerate(levels):
            density = 10_000 / UM_DRAWN / 4**number
            file.write(
                level, rowsperstrip=64, compression="deflate", compressionargs={"level": 1},
                photometric="rgb", resolution=(density, density), resolutionunit="CENTIMETER",
                subfiletype=int(number > 0), metadata=None,
            )  # fmt: skip
    readers = {"dicom/0.dcm": "OpenSlidePyramid", "tiff/p8.tif": "TiffPyramid"}
    for name, reader in readers.items():
        with open_pyramid(slides / name) as scan:
            assert type(scan).__name__ == reader
            assert len(scan.levels) == 2
            assert scan.um_per_px == pytest.approx(UM_DRAWN, rel=1e-3)
    where = ("--out", out, "--journal", tmp_path / "j.db")
    command = program_for_small_scans("score", slides, *where)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in (out / "verdicts.jsonl").read_text().splitlines()]
    assert [record["slide"] for record in records] == ["dicom", "tiff"]
    assert "Research use only" in done.stdout
    # The bundle that comes with the program clears nothing.
    assert [record["verdict"] for record in records] == ["REVIEW", "REVIEW"]
    first, second = (record["tally"] for record in records)
    assert first == second
    assert first["scored"] > 50
    for record in records:
        home = out / "slides" / record["slide"]
        assert record["scan"]["tiles_examined"] > 5
        cells = json.loads((home / "slide.geojson").read_text())["features"]
        assert len(cells) == record["tally"]["seen"]
        assert cv2.imread(str(home / "overview.png")) is not None
        assert "Research use only" in (home / "report.html").read_text("utf-8")
