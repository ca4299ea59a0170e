"""Scans beside images and other scans: each is told from images, named, and its label kept out."""

from __future__ import annotations

import io
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from edgeapl.errors import InputError
from edgeapl.scoring import scan
from edgeapl.scoring.scan import split_scans
from edgeapl.sources.decode import decode_images, read_images
from edgeapl.sources.discover import find_slides
from edgeapl.types import ScaleOrigin, UInt8
from edgeapl.whole_slide import WholeSlideSource, open_pyramid
from tests.pictures import encoded, field
from tests.scans import of_canvas, patch, write_scan

FIELD = field(1)
TILES = {"tile": (64, 64)}
MEASURED = 0.3
"""µm per px that the stand-in for measuring returns."""

NO_SCALE = 353.0
"""That of 72 dpi."""

LABEL = np.full((90, 100, 3), (255, 0, 255), np.uint8)


def written(*pages: tuple[Any, dict[str, Any]], **settings: Any) -> bytes:
    made = io.BytesIO()
    with tifffile.TiffWriter(made, **settings) as writer:
        for pixels, how in pages:
            writer.write(pixels, **{"photometric": "rgb", "metadata": None, **how})
    return made.getvalue()


def about(text: str, **how: Any) -> dict[str, Any]:
    return {"description": text, **how}


PYRAMID = [(FIELD, TILES), (np.ascontiguousarray(FIELD[::2, ::2]), {**TILES, "subfiletype": 1})]
BIF = [(700, 1, 9, b"<iScan/> ", True)]
PHILIPS = [(305, 2, 8, "Philips", True)]


@pytest.mark.parametrize(
    "pages",
    [
        [(FIELD, about("Aperio Image Library v12", **TILES)), (LABEL, about("label"))],
        [(LABEL, about('<scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01"/>'))],
        [(LABEL, about("Label Image")), (FIELD, {**TILES, "extratags": BIF})],
        [(FIELD, {**TILES, "extratags": PHILIPS, "software": False}), (LABEL, about("Label"))],
        [(FIELD, {"extratags": [(65420, 4, 1, 1, True)]})],
    ],
    ids=["Aperio", "Leica", "Ventana", "Philips", "Hamamatsu"],
)
def test_a_scanner_s_file_is_no_ordinary_image(pages: list[Any]) -> None:
    with pytest.raises(InputError, match="a scan of a whole slide"):
        decode_images(written(*pages), "a")


def test_a_field_cut_out_of_a_scan_is_an_ordinary_image() -> None:
    (reading,) = decode_images(written((FIELD, about("Aperio Image Library v12"))), "a")
    assert np.array_equal(reading().pixels, FIELD)


@pytest.mark.parametrize(
    "pages",
    [
        [*PYRAMID, (LABEL, about("Label"))],
        [(LABEL, about("macro 100x90")), *PYRAMID],
        [*PYRAMID, (LABEL, {})],
        [(LABEL, {}), *PYRAMID],
        [(FIELD, {}), (LABEL, about("label"))],
    ],
)
def test_labels_of_a_file_that_names_no_scanner_are_left_out_and_said(pages: list[Any]) -> None:
    (reading,) = decode_images(written(*pages), "a")
    image = reading()
    assert np.array_equal(image.pixels, FIELD)
    assert [(remark.code, remark.doubtful) for remark in image.remarks] == [("pages", True)]


def test_labels_that_an_ome_description_names_are_left_out_and_said() -> None:
    made = io.BytesIO()
    with tifffile.TiffWriter(made, ome=True) as writer:
        for pixels, name in ((FIELD, "S1"), (LABEL, "label image"), (LABEL, "macro image")):
            writer.write(pixels, photometric="rgb", metadata={"axes": "YXS", "Name": name})
    (reading,) = decode_images(made.getvalue(), "a")
    image = reading()
    assert np.array_equal(image.pixels, FIELD)
    assert "pages" in {remark.code for remark in image.remarks if remark.doubtful}


def test_the_preview_that_an_mrxs_file_is_is_not_examined(tmp_path: Path) -> None:
    (tmp_path / "a.mrxs").write_bytes(encoded(".jpg", FIELD))
    with pytest.raises(InputError, match="a scan of a whole slide"):
        read_images(tmp_path / "a.mrxs")


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["p/x/s.svs", "p/y/s.svs"], ["p x s.svs", "p y s.svs"]),
        (["p/f.png", "p/p.svs"], ["p", "p p.svs"]),
        (["f.png", "root.svs"], ["root", "root root.svs"]),
        (["p/s.svs", "p/s.tif"], ["p s.svs", "p s.tif"]),
        (["p/f.png", "p/s.svs", "q/s.svs"], ["p", "s", "q"]),
        (["a/s.svs", "a/t.svs", "s/f.png"], ["a s.svs", "t", "s"]),
    ],
)
def test_each_scan_has_a_name_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: list[str], names: list[str]
) -> None:
    monkeypatch.setattr(scan, "is_whole_slide", lambda file: file.suffix in (".svs", ".tif"))
    for file in files:
        (tmp_path / "root" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / file).write_bytes(b"II*\0")
    found = split_scans(find_slides(tmp_path / "root").slides)
    assert [slide.name for slide in found] == names
    assert sorted(str(file) for slide in found for file in slide.files) == sorted(
        str(tmp_path / "root" / file) for file in files
    )


def test_two_scans_that_no_folder_tells_apart_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "is_whole_slide", lambda file: True)
    for form in ("NFC", "NFD"):
        (tmp_path / unicodedata.normalize(form, "\u00e4.svs")).write_bytes(b"II*\0")
    if len(list(tmp_path.iterdir())) < 2:
        pytest.skip("this disk takes both names for one")
    with pytest.raises(InputError, match="two scans have the same name"):
        split_scans(find_slides(tmp_path).slides)


def source_of(path: Path, stated: float | None = None) -> WholeSlideSource:
    pytest.importorskip("openslide")

    def measured(pixels: UInt8) -> tuple[float, ScaleOrigin]:
        return MEASURED, ScaleOrigin.MEASURED

    return WholeSlideSource(open_pyramid(path), "0" * 64, 0.25, stated, measured)


def test_a_scan_smaller_than_a_tile_says_so(tmp_path: Path) -> None:
    write_scan(tmp_path / "s.tif", 512, 768, of_canvas(patch(10, 192, 0, jitter=0.9)), 0.25)
    with source_of(tmp_path / "s.tif") as source:
        assert source.tiles == []
        with pytest.raises(InputError, match="scan is smaller than one tile"):
            source.read(0)


@pytest.mark.parametrize(
    ("in_file", "stated", "said"),
    [
        (NO_SCALE, None, "353 µm per pixel in the scan is no scale that a microscope can have"),
        (0.25, 0.5, "the file says 0.25 µm per pixel, but 0.5 was stated"),
        (0.25, None, ""),
        (0.25, 0.25, ""),
        (None, None, ""),
    ],
)
def test_the_scale_is_stated_or_measured_and_one_that_is_not_used_is_said(
    tmp_path: Path, in_file: float | None, stated: float | None, said: str
) -> None:
    canvas = of_canvas(patch(10, 600, 0, jitter=0.9))
    write_scan(tmp_path / "s.tif", 2400, 2400, canvas, in_file)
    with source_of(tmp_path / "s.tif", stated) as source:
        with pytest.raises(InputError, match="hardly anything"):
            source.read(0)
        frame = source.read(0)
    used = stated or (in_file if in_file != NO_SCALE else None)
    assert frame.um_per_px == pytest.approx(used or MEASURED, rel=1e-3)
    assert frame.scale is (ScaleOrigin.STATED if used else ScaleOrigin.MEASURED)
    assert [one.text for one in frame.remarks if one.code == "size_unused"] == (
        [said if "stated" in said else f"not used: {said}"] if said else []
    )
