"""A pyramid in a TIFF that OpenSlide does not read is read all the same, in parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile

from edgeapl.errors import InputError
from edgeapl.sources.formats import tiff_levels
from edgeapl.sources.formats.colour import ADOBE_GAMMA, ADOBE_RGB, profile_of, to_srgb
from edgeapl.sources.formats.tiff_levels import TiffLevels
from edgeapl.types import UInt8
from edgeapl.whole_slide import is_whole_slide, open_pyramid, opening
from edgeapl.whole_slide.openslide_pyramid import OpenSlidePyramid
from edgeapl.whole_slide.tiff_pyramid import TiffPyramid
from tests.scans import patch

pytest.importorskip("openslide")

UM = 0.25
FORMS: dict[str, tuple[dict[str, Any], bool]] = {
    # How level 0 is stored, and whether the others are its SubIFDs.
    "JPEG 2000": ({"compression": "jpeg2000", "tile": (256, 256)}, False),
    "ZSTD": ({"compression": "zstd", "tile": (256, 256), "predictor": True}, False),
    "LZW": ({"compression": "lzw", "tile": (256, 256)}, True),
    "deflate": ({"compression": "deflate", "tile": (128, 256)}, True),
    "plain tiles": ({"tile": (256, 256)}, True),
    "strips": ({"compression": "deflate", "rowsperstrip": 64}, False),
}


@pytest.fixture(autouse=True)
def _small_scans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "LARGEST_IMAGE_PX", 500_000)


def picture(height: int = 768, width: int = 1024) -> UInt8:
    return np.asarray(patch(10, 1024, 0, jitter=0.9)[:height, :width])


def shrunk(pixels: UInt8, shrink: int) -> UInt8:
    size = pixels.shape[1] // shrink, pixels.shape[0] // shrink
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def write(
    path: Path, form: str, *, ome: bool = False, label: bool = False, icc: bytes = b""
) -> UInt8:
    """Write a pyramid of three levels, with a picture of the label in front of or behind it."""
    stored, inside = FORMS[form]
    pixels = picture()
    more: dict[str, Any] = {"photometric": "rgb", **stored}
    metadata = {"axes": "YXS", "PhysicalSizeX": UM, "PhysicalSizeY": UM} if ome else None
    with tifffile.TiffWriter(path, bigtiff=True, ome=ome) as file:
        for shrink in (1, 4, 16):
            density = 10_000 / UM / shrink
            file.write(
                shrunk(pixels, shrink),
                **more,
                subifds=2 if inside and shrink == 1 else None,
                subfiletype=0 if shrink == 1 else 1,
                resolution=(density, density),
                resolutionunit="CENTIMETER",
                metadata=metadata if shrink == 1 else None,
                iccprofile=icc or None,
            )
        if label:
            text = None if ome else "label 300x225"
            said = {"axes": "YXS", "Name": "label image"} if ome else None
            name = np.full((225, 300, 3), (255, 0, 0), np.uint8)
            file.write(name, **more, description=text, metadata=said)
    return pixels


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("ome", [False, True])
def test_each_way_to_store_a_pyramid_is_read_to_the_pixel(
    tmp_path: Path, form: str, ome: bool
) -> None:
    if ome and not FORMS[form][1]:
        pytest.skip("OME-TIFF keeps levels as SubIFDs")
    path = tmp_path / ("s.ome.tif" if ome else "s.tif")
    pixels = write(path, form, ome=ome, label=True)
    assert is_whole_slide(path)
    with open_pyramid(path) as scan:
        assert [(level.height, level.width) for level in scan.levels] == [
            (768, 1024), (192, 256), (48, 64)
        ]  # fmt: skip
        assert scan.um_per_px == pytest.approx(UM, rel=1e-3)
        near = 3 if form == "JPEG 2000" else 0
        part = scan.read(0, 200, 100, 300, 400).astype(int)
        assert np.abs(part - pixels[100:500, 200:500]).max() <= near
        small = scan.read(1, 400, 200, 50, 60).astype(int)
        assert np.abs(small - shrunk(pixels, 4)[50:110, 100:150]).max() <= near
        beyond = scan.read(0, 1000, 700, 100, 100)
        assert (beyond[80:] == 255).all()
        assert not (beyond[:60, :20] == 255).all()


def test_openslide_reads_what_it_can_and_the_other_reader_the_rest(tmp_path: Path) -> None:
    kinds = {}
    for form in FORMS:
        write(tmp_path / f"{form}.tif", form)
        with open_pyramid(tmp_path / f"{form}.tif") as scan:
            kinds[form] = type(scan)
    assert kinds["strips"] is TiffPyramid
    assert kinds["LZW"] is TiffPyramid  # its levels are SubIFDs
    with tifffile.TiffWriter(tmp_path / "jpeg.tif") as file:
        for shrink in (1, 4):
            level = shrunk(picture(), shrink)
            file.write(level, tile=(256, 256), compression="jpeg", subfiletype=int(shrink > 1))
    with open_pyramid(tmp_path / "jpeg.tif") as scan:
        assert type(scan) is OpenSlidePyramid


@pytest.mark.parametrize("form", ["ZSTD", "strips"])
def test_a_picture_of_the_label_is_no_level(tmp_path: Path, form: str) -> None:
    path = tmp_path / "s.tif"
    write(path, form, label=True)
    with TiffLevels(path, "s") as levels:
        assert levels.shapes == ((768, 1024), (192, 256), (48, 64))
        shown = [levels.read(n, 0, 0, *shape) for n, shape in enumerate(levels.shapes)]
    assert not any((part == (255, 0, 0)).all(axis=2).any() for part in shown)


@pytest.mark.parametrize("form", ["LZW", "deflate", "strips"])
def test_a_damaged_part_is_named_and_the_others_are_read(tmp_path: Path, form: str) -> None:
    path = tmp_path / "s.tif"
    pixels = write(path, form)
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        start, size = page.dataoffsets[0], page.databytecounts[0]
    with path.open("r+b") as raw:
        raw.seek(start)
        raw.write(b"\xff" * size)
    with open_pyramid(path) as scan:
        with pytest.raises(InputError, match="part of the scan is damaged"):
            scan.read(0, 0, 0, 100, 50)
        assert np.array_equal(scan.read(0, 300, 300, 200, 200), pixels[300:500, 300:500])


def test_decoded_parts_are_kept_within_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.tif"
    pixels = write(path, "LZW")
    monkeypatch.setattr(tiff_levels, "KEPT_BYTES", 500_000)
    with TiffLevels(path, "s") as levels:
        for _ in range(2):
            assert np.array_equal(levels.read(0, 0, 0, 768, 1024), pixels)
            kept: Any = levels.__dict__["_kept"]
            assert sum(part.nbytes for part in kept.values()) <= 500_000
    monkeypatch.setattr(tiff_levels, "MOST_PART_PX", 1000)
    with pytest.raises(InputError, match="save it in tiles"):
        TiffLevels(path, "s")


@pytest.mark.parametrize("form", ["ZSTD", "strips"])
def test_the_colour_profile_of_a_scan_is_applied_as_that_of_an_image(
    tmp_path: Path, form: str
) -> None:
    icc = profile_of(ADOBE_RGB, ADOBE_GAMMA, "wide")
    path = tmp_path / "s.tif"
    pixels = write(path, form, icc=icc)
    expected, (remark,) = to_srgb(pixels, icc)
    assert not np.array_equal(expected, pixels)
    with open_pyramid(path) as scan:
        assert scan.remarks == (remark,)
        assert not remark.doubtful
        assert np.array_equal(scan.read(0, 0, 0, 1024, 768), expected)


def test_openslide_hands_over_the_profile(tmp_path: Path) -> None:
    icc = profile_of(ADOBE_RGB, ADOBE_GAMMA, "wide")
    with tifffile.TiffWriter(tmp_path / "s.tif") as file:
        for shrink in (1, 4):
            level = shrunk(picture(), shrink)
            file.write(level, tile=(256, 256), iccprofile=icc, subfiletype=int(shrink > 1))
    with open_pyramid(tmp_path / "s.tif") as scan:
        assert type(scan) is OpenSlidePyramid
        assert [remark.code for remark in scan.remarks] == ["colour"]
        expected, _ = to_srgb(picture(), icc)
        assert np.array_equal(scan.read(0, 0, 0, 1024, 768), expected)
