"""TIFF as microscopes write it: every picture is read, in full resolution, and nothing else."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile

from edgeapl.bundle.digest import sha256
from edgeapl.bundle.specs import GateSpec
from edgeapl.errors import EndOfSource, InputError
from edgeapl.sources.decode import DecodedImage, decode_image, decode_images, read_images
from edgeapl.sources.files import FilesSource
from edgeapl.sources.formats.ome import OmeError, read_ome
from edgeapl.stages.gate import FieldHistory, examine, examine_crop
from edgeapl.types import ScaleOrigin, UInt8
from tests.pictures import encoded, field, stated_scale, tiff

FIELD = field(1)
OTHER = field(2)
SMALL = np.ascontiguousarray(FIELD[::4, ::4])


def written(*pages: tuple[Any, dict[str, Any]], **settings: Any) -> bytes:
    made = io.BytesIO()
    with tifffile.TiffWriter(made, **settings) as writer:
        for pixels, how in pages:
            writer.write(pixels, **{"photometric": "rgb", "metadata": None, **how})
    return made.getvalue()


def one(**how: Any) -> bytes:
    return written((FIELD, how))


def all_of(data: bytes) -> list[DecodedImage]:
    return [reading() for reading in decode_images(data, "a")]


PLANES = np.ascontiguousarray(FIELD.transpose(2, 0, 1))
LOSSLESS = {
    "plain": one(),
    "big": written((FIELD, {}), bigtiff=True),
    "big, other byte order": written((FIELD, {}), bigtiff=True, byteorder=">"),
    "other byte order": written((FIELD, {}), byteorder=">"),
    "tiles over the edge": one(tile=(112, 96)),
    "planar": written((PLANES, {"planarconfig": "separate"})),
    "planar tiles": written((PLANES, {"planarconfig": "separate", "tile": (64, 64)})),
    "packbits": one(compression="packbits", rowsperstrip=7),
    "lzw, differences": one(compression="lzw", predictor=True, rowsperstrip=50),
    "deflate, differences, tiles": one(compression="zlib", predictor=True, tile=(64, 64)),
    "old deflate": one(compression="deflate"),
    "zstd": one(compression="zstd", predictor=True),
    "lzma": one(compression="lzma"),
    "jpeg 2000": one(compression="jpeg2000", tile=(64, 64)),
    "webp": one(compression="webp", compressionargs={"lossless": True}, tile=(64, 64)),
    "opacity, webp": written(
        (
            np.dstack([FIELD, np.full_like(FIELD[..., 0], 255)]),
            {"compression": "webp", "compressionargs": {"lossless": True}, "extrasamples": [2]},
        )
    ),
}


@pytest.mark.parametrize("name", LOSSLESS)
def test_the_very_pixels_are_read(name: str) -> None:
    image = decode_image(LOSSLESS[name], "a")
    assert np.array_equal(image.pixels, FIELD)
    assert image.remarks == ()


@pytest.mark.parametrize("name", LOSSLESS)
def test_no_half_of_it_is_read(name: str) -> None:
    data = LOSSLESS[name]
    for length in (len(data) * share // 20 for share in range(1, 19)):
        with pytest.raises(InputError):
            decode_image(data[:length], "a")


YCBCR = np.ascontiguousarray(cv2.cvtColor(FIELD, cv2.COLOR_RGB2YCrCb)[..., [0, 2, 1]])
JPEG_YCBCR = {"compression": "jpeg", "photometric": "ycbcr", "subsampling": (2, 2)}


@pytest.mark.parametrize(
    ("pixels", "how"),
    [
        (FIELD, {"compression": "jpeg"}),
        (FIELD, {"compression": "jpeg", "compressionargs": {"outcolorspace": "rgb"}}),
        (YCBCR, JPEG_YCBCR),
        (YCBCR, {**JPEG_YCBCR, "tile": (64, 64)}),
        (FIELD, {"compression": "webp", "compressionargs": {"level": 90}, "tile": (64, 64)}),
    ],
)
def test_lossy_parts_keep_their_colours(pixels: UInt8, how: dict[str, Any]) -> None:
    read = decode_image(written((pixels, how)), "a").pixels.astype(int)
    assert np.abs(read - FIELD).mean() < 6
    assert np.abs(read.mean((0, 1)) - FIELD.mean((0, 1))).max() < 1


def test_a_hole_in_a_jpeg_part_is_refused() -> None:
    data = one(compression="jpeg")
    at = len(data) // 2
    with pytest.raises(InputError, match="image is damaged"):
        decode_image(data[:at] + bytes(300) + data[at + 300 :], "a")


def deep(bits: int) -> np.ndarray[Any, Any]:
    top = (1 << bits) - 1
    return np.round(FIELD.astype(float) * top / 255).astype(np.uint16)


def packed_12(samples: np.ndarray[Any, Any]) -> bytes:
    """Give samples of 12 bits without gaps; each row fills whole bytes."""
    bits = np.unpackbits(samples.astype(">u2").view(np.uint8)).reshape(-1, 16)
    return np.packbits(bits[:, 4:]).tobytes()


OME_12 = (
    '<OME xmlns="x"><Image><Pixels SizeC="3" SignificantBits="12"><Channel SamplesPerPixel="3"/>'
    "<TiffData/></Pixels></Image></OME>"
)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (written((deep(16), {})), "16 bits (read from the largest value"),
        (written((deep(12), {})), "12 bits (read from the largest value"),
        (
            tiff(deep(12), {258: (3, [12] * 3)}, strips=[packed_12(deep(12))]),
            "12 bits (as the file says)",
        ),
        (written((deep(14), {"compression": "lzw", "predictor": True})), "14 bits (read"),
        (written((deep(12), {"description": OME_12})), "12 bits (as the file says)"),
        (
            written((deep(12), {"extratags": [(281, 3, 3, (4095,) * 3, True)]})),
            "12 bits (as the file says)",
        ),
        (written((deep(16), {"compression": "jpeg2000"}), byteorder=">"), "16 bits (read"),
    ],
)
def test_more_bits_become_8_and_it_is_said_how(data: bytes, said: str) -> None:
    image = decode_image(data, "a")
    assert np.abs(image.pixels.astype(int) - FIELD).max() <= 1
    assert [remark.code for remark in image.remarks] == ["depth"]
    assert said in image.remarks[0].text


def ome(*images: str, head: str = "") -> str:
    return f'<?xml version="1.0"?>{head}<OME xmlns="x">{"".join(images)}</OME>'


def ome_image(attributes: str = "", inside: str = "<TiffData/>", channels: int = 3) -> str:
    return (
        f'<Image><Pixels SizeC="3" {attributes}><Channel SamplesPerPixel="{channels}"/>'
        f"{inside}</Pixels></Image>"
    )


def test_positions_and_series_of_an_ome_tiff_are_frames_and_its_pyramids_are_not() -> None:
    made = io.BytesIO()
    with tifffile.TiffWriter(made, ome=True, bigtiff=True) as writer:
        for pixels in (FIELD, OTHER):
            about = {"PhysicalSizeX": 0.2, "PhysicalSizeY": 0.2, "PhysicalSizeXUnit": "µm"}
            how = {"photometric": "rgb", "tile": (64, 64), "compression": "zstd"}
            writer.write(pixels, subifds=1, metadata=about, **how)
            writer.write(pixels[::2, ::2], subfiletype=1, **how)
    found = all_of(made.getvalue())
    assert [image.part for image in found] == ["#0", "#1"]
    assert np.array_equal(found[0].pixels, FIELD)
    assert np.array_equal(found[1].pixels, OTHER)
    assert [image.um_per_px for image in found] == [pytest.approx(0.2)] * 2
    assert len({image.sha256 for image in found}) == 1, "of the file"


@pytest.mark.parametrize(
    "pages",
    [
        [(FIELD, {}), (SMALL, {"subfiletype": 1}), (OTHER, {})],
        [(FIELD, {"tile": (64, 64)}), (SMALL, {"tile": (16, 16)}), (OTHER, {"tile": (64, 64)})],
        [(SMALL, {"subfiletype": 1}), (FIELD, {}), (OTHER, {})],
    ],
)
def test_thumbnails_masks_and_smaller_copies_are_no_frames(pages: list[Any]) -> None:
    found = all_of(written(*pages))
    assert [np.array_equal(a.pixels, b) for a, b in zip(found, (FIELD, OTHER), strict=True)] == [
        True,
        True,
    ]


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (written((FIELD, {"description": ome(ome_image('SizeZ="5"'))})), "5 planes of focus"),
        (
            written(*[(FIELD[..., 0], {"photometric": "minisblack", "description": ome(
                ome_image("", channels=1))})] * 3),
            "3 separate channels",
        ),
        (written((FIELD, {"description": "ImageJ=1\nimages=9\n"})), "holds 9 images, 1"),
        (
            written(*[(FIELD, {"description": "ImageJ=1\nslices=2\nspacing=1\n"})] * 2),
            "2 planes of focus",
        ),
        (written((FIELD, {"description": '{"shape": [5, 240, 320, 3]}'})), "holds 5 images, 1"),
        (written((FIELD, {"extratags": [(65420, 4, 1, 1, True)]})), "NDPI"),
        (tiff(FIELD, {262: (3, [8])}), "colour kind 8"),
        (tiff(FIELD, {259: (3, [34887])}), "compression"),
        (written((FIELD.astype(np.int16), {})), "signed numbers"),
    ],
)  # fmt: skip
def test_what_is_no_picture_of_one_field_is_refused(data: bytes, what: str) -> None:
    with pytest.raises(InputError, match=what):
        all_of(data)


@pytest.mark.parametrize(
    ("about", "pages", "codes"),
    [
        ("ImageJ=1\nimages=2\nslices=2\n", 2, {"stack"}),
        ("ImageJ=1\nimages=2\nframes=2\n", 2, {"stack"}),
        ("ImageJ=1\nimages=1\n", 1, set()),
        ("none", 2, set()),
        (ome(ome_image('SizeT="2"')), 2, {"stack"}),
        (ome(ome_image("") * 2), 2, set()),
        (ome(ome_image("")), 2, {"pages"}),
        (ome(ome_image("", '<TiffData IFD="1"/>')), 3, {"pages"}),
    ],
)
def test_what_may_be_counted_twice_or_passed_over_bars_clear(
    about: str, pages: int, codes: set[str]
) -> None:
    data = written((FIELD, {"description": about.encode()}), *[(OTHER, {})] * (pages - 1))
    for image in all_of(data):
        assert {remark.code for remark in image.remarks} == codes
        assert all(remark.doubtful for remark in image.remarks)


def test_small_copies_and_thumbnails_that_ome_does_not_name_are_no_loss() -> None:
    tiles: dict[str, Any] = {"tile": (64, 64)}
    about = {"description": ome(ome_image("")).encode()}
    data = written((FIELD, {**tiles, **about}), (SMALL, tiles), (SMALL, {"subfiletype": 1}))
    (image,) = all_of(data)
    assert image.remarks == ()


def test_images_that_share_their_bytes_are_refused_before_they_are_unpacked() -> None:
    data = bytearray(one(compression="zlib"))
    (at,) = struct.unpack_from("<I", data, 4)
    (rows,) = struct.unpack_from("<H", data, at)
    image = bytes(data[at : at + 2 + 12 * rows])
    following = at + len(image)
    for _ in range(3):
        data += bytes(len(data) % 2)
        struct.pack_into("<I", data, following, len(data))
        following = len(data) + len(image)
        data += image + bytes(4)
    with pytest.raises(InputError, match="TIFF images lie over each other"):
        decode_images(bytes(data), "a")


def sides(value: str, unit: str | None = None) -> str:
    said = "" if unit is None else f' PhysicalSizeXUnit="{unit}" PhysicalSizeYUnit="{unit}"'
    return f'PhysicalSizeX="{value}" PhysicalSizeY="{value}"{said}'


SIZES = [
    (sides("0.203580094900373"), 0.20358),
    (sides("2.0358E-1", "µm"), 0.20358),
    (sides("203.58", "nm"), 0.20358),
    (sides("+2.0358e-4", "mm"), 0.20358),
    (sides(".00020358", "mm"), 0.20358),
    (sides("0.2", "&#181;m"), 0.2),
    (sides("&#x30;.2", "&#xB5;m"), 0.2),
    (sides("0.2", "&#x3bc;m"), 0.2),
    (sides("2000", "Å"), 0.2),
    (sides("0.2", "µm").replace('"', "'"), 0.2),
]


@pytest.mark.parametrize(("attributes", "um_per_px"), SIZES)
def test_the_size_of_a_pixel_is_read_in_every_spelling(attributes: str, um_per_px: float) -> None:
    (image,) = read_ome(ome(ome_image(attributes)), 1)
    assert image.size.um == pytest.approx(um_per_px, rel=1e-5)
    assert image.size.unused == ""
    data = tiff(FIELD, {270: (2, ome(ome_image(attributes)).encode() + b"\0")})
    assert decode_image(data, "a").um_per_px == pytest.approx(um_per_px, rel=1e-5)


@pytest.mark.parametrize(
    ("attributes", "why"),
    [
        ('PhysicalSizeX="1" PhysicalSizeY="1" PhysicalSizeXUnit="pixel"', "is in 'pixel'"),
        ('PhysicalSizeX="nan" PhysicalSizeY="nan"', "no number"),
        ('PhysicalSizeX="0" PhysicalSizeY="0"', "no scale that a microscope can have"),
        ('PhysicalSizeX="0.2" PhysicalSizeY="0.3"', "differ between the sides"),
        ('PhysicalSizeX="0.2"', "one side alone"),
        ('PhysicalSizeX="1" PhysicalSizeY="1.0"', "do not know it"),
        ('PhysicalSizeX="1e999" PhysicalSizeY="1e999"', "no scale"),
    ],
)
def test_a_size_that_is_not_used_is_said(attributes: str, why: str) -> None:
    (image,) = read_ome(ome(ome_image(attributes)), 1)
    assert image.size.um is None
    assert why in image.size.unused


PER_CM: dict[str, Any] = {"resolution": (50_000, 50_000), "resolutionunit": 3}
PER_UM: dict[str, Any] = {"resolution": (5, 5), "resolutionunit": 1}


@pytest.mark.parametrize(
    ("about", "how", "um_per_px", "why"),
    [
        (ome(ome_image("")), PER_CM, 0.2, ""),
        (ome(ome_image(sides("0.3"))), PER_CM, 0.3, ""),
        (ome(ome_image(sides("1"))), PER_CM, None, "do not know it"),
        ("Aperio Image Library v11\n46000x32914|AppMag = 40|MPP = 0.2498", {}, 0.2498, ""),
        ("Aperio Image Library v11\n46000x32914|AppMag = 40|MPP = 0", {}, None, "no scale"),
        ("ImageJ=1\nunit= um\n", PER_UM, 0.2, ""),
        ("ImageJ=1\nunit=um\nyunit=um\n", PER_UM, 0.2, ""),
        ("ImageJ=1\nunit=um\nyunit=mm\n", PER_UM, None, "units differ: 'um' and 'mm'"),
    ],
)
def test_the_size_is_taken_from_where_it_stands(
    about: str, how: dict[str, Any], um_per_px: float | None, why: str
) -> None:
    (image,) = all_of(written((FIELD, {**how, "description": about.encode()})))
    assert image.um_per_px == pytest.approx(um_per_px)
    assert why in image.size_unused


BOMB = "<!DOCTYPE a [<!ENTITY b '" + "b" * 1000 + "'><!ENTITY c '" + "&b;" * 1000 + "'>]>"


@pytest.mark.parametrize(
    "text",
    [
        ome(ome_image(), head=BOMB),
        ome(ome_image(), head='<!DOCTYPE a SYSTEM "file:///etc/passwd">'),
        ome(ome_image())[:-20],
        ome(ome_image('SizeT="99999999999"')),
        ome(ome_image("", '<TiffData PlaneCount="1" IFD="0"/>' * 9)),
        ome(ome_image('SizeT="-1"')),
    ],
)
def test_a_description_that_is_a_trap_is_left_aside_and_said(text: str) -> None:
    with pytest.raises(OmeError):
        read_ome(text, 1)
    (image,) = all_of(tiff(FIELD, {270: (2, text.encode() + b"\0")}))
    assert [remark.code for remark in image.remarks] == ["description"]


def test_each_picture_of_a_file_is_a_frame_and_a_bad_one_takes_no_other_along(
    tmp_path: Path,
) -> None:
    data = written((FIELD, {"compression": "zlib"}), (OTHER, {}), (FIELD, {}))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        at = file.pages[0].dataoffsets[0]
    (tmp_path / "a.tif").write_bytes(data[:at] + bytes(9) + data[at + 9 :])
    (tmp_path / "b.png").write_bytes(encoded(".png", OTHER))
    source = FilesSource([tmp_path / "a.tif", tmp_path / "b.png"], "S", stated_scale)
    with pytest.raises(InputError, match="#0: copy the file again"):
        source.read(0)
    frames = [source.read(0) for _ in range(3)]
    assert [frame.index for frame in frames] == [1, 2, 3]
    assert [Path(frame.source).name for frame in frames] == ["a.tif#1", "a.tif#2", "b.png"]
    with pytest.raises(EndOfSource):
        source.read(0)


@pytest.mark.parametrize("crops", [False, True])
def test_every_field_of_a_file_is_examined_once(tmp_path: Path, crops: bool) -> None:
    (tmp_path / "a.tif").write_bytes(written((FIELD, {}), (OTHER, {}), (FIELD, {})))
    frames = FilesSource([tmp_path / "a.tif", tmp_path / "a.tif"], "S", stated_scale)
    memory, passed = FieldHistory(), []
    for _ in range(6):
        frame = frames.read(0)
        if crops:
            reasons, memory = examine_crop(frame, memory)
        else:
            reasons, memory = examine(frame, GateSpec(min_focus=0.5), memory)
        passed.append(not reasons)
    # As a crop, the third is another cell that looks alike.
    assert passed == [True, True, crops, False, False, False]
    own = [reading().digest for reading in read_images(tmp_path / "a.tif")]
    assert len(set(own)) == 3
    assert own[1] == sha256(f"{sha256((tmp_path / 'a.tif').read_bytes())}#1".encode())


def test_where_one_picture_is_wanted_several_are_refused() -> None:
    with pytest.raises(InputError, match="file holds 2 images"):
        decode_image(written((FIELD, {}), (OTHER, {})), "a")


def test_a_stated_scale_that_the_file_contradicts_is_said(tmp_path: Path) -> None:
    data = tiff(FIELD, {270: (2, ome(ome_image(SIZES[0][0])).encode() + b"\0")})
    (tmp_path / "a.tif").write_bytes(data)
    frame = FilesSource([tmp_path / "a.tif"], "S", stated_scale).read(0)
    assert frame.scale is ScaleOrigin.STATED
    assert [remark.code for remark in frame.remarks] == ["size_unused"]


def test_decoders_are_there() -> None:
    for name in ("JPEG2K", "WEBP", "ZSTD", "LZMA", "LZW", "PACKBITS"):
        assert getattr(imagecodecs, name).available, name
