"""Formats of phones, browsers and microscopes: read by their libraries, or refused by name."""

from __future__ import annotations

import importlib
import io
import struct
from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from edgeapl.errors import InputError
from edgeapl.sources.decode import ReadLimits, decode_image, decode_images
from edgeapl.types import UInt8
from tests.pictures import encoded, field
from tests.unit.test_colour import P3, PRO_PHOTO, SRGB_BYTES, stored

FIELD = field(1)
OTHER = field(2)


def saved(pixels: UInt8, kind: str, **how: Any) -> bytes:
    made = io.BytesIO()
    Image.fromarray(pixels).save(made, kind, **how)
    return made.getvalue()


SMALL, SECOND = (np.ascontiguousarray(pixels[:96, :128]) for pixels in (FIELD, OTHER))
"""For HEIF, which takes seconds to write."""


def heif(*pictures: UInt8, **how: Any) -> bytes:
    pillow_heif = pytest.importorskip("pillow_heif")
    made = io.BytesIO()
    file = pillow_heif.from_pillow(Image.fromarray(pictures[0]))
    for pixels in pictures[1:]:
        file.add_from_pillow(Image.fromarray(pixels))
    file.save(made, quality=95, **how)
    return made.getvalue()


@pytest.mark.parametrize(
    ("kind", "how", "off"),
    [("WEBP", {"lossless": True}, 0), ("WEBP", {"quality": 95}, 3), ("AVIF", {"quality": 95}, 3)],
)
def test_pictures_of_browsers_are_read(kind: str, how: dict[str, Any], off: float) -> None:
    plain = decode_image(saved(FIELD, kind, icc_profile=SRGB_BYTES, **how), "a")
    assert np.abs(plain.pixels.astype(int) - FIELD).mean() <= off
    assert plain.remarks == ()
    wide = decode_image(saved(stored(FIELD, PRO_PHOTO), kind, icc_profile=PRO_PHOTO, **how), "a")
    assert np.abs(wide.pixels.astype(int) - FIELD).mean() <= off + 2
    assert [remark.code for remark in wide.remarks] == ["colour"]


@pytest.mark.parametrize(
    ("how", "alpha", "size"),
    [
        ({"lossless": True}, False, (239, 317)),
        ({"lossless": True, "usecontainer": True}, True, (64, 64)),
        ({"level": 95}, True, (240, 320)),
        ({"level": 95, "usecontainer": True}, False, (1200, 17)),
    ],
)
def test_jpeg_xl_is_read(how: dict[str, Any], alpha: bool, size: tuple[int, int]) -> None:
    shown = field(3, 1200, 320)[: size[0], : size[1]]
    stored_as = np.dstack([shown, np.full(size, 255, np.uint8)]) if alpha else shown
    data = bytes(imagecodecs.jpegxl_encode(np.ascontiguousarray(stored_as), **how))
    image = decode_image(data, "a")
    assert np.abs(image.pixels.astype(int) - shown).mean() < (0.01 if how.get("lossless") else 3)
    assert image.remarks == ()
    for length in (3, len(data) // 2, len(data) - 5):
        with pytest.raises(InputError):
            decode_image(data[:length], "a")


@pytest.mark.parametrize(
    ("pixels", "what"),
    [(FIELD.astype(np.uint16) * 257, "16 bits"), (FIELD[..., 0], "image is grey")],
)
def test_jpeg_xl_without_colours_or_of_more_bits_is_refused(
    pixels: np.ndarray[Any, Any], what: str
) -> None:
    with pytest.raises(InputError, match=what):
        decode_image(bytes(imagecodecs.jpegxl_encode(np.ascontiguousarray(pixels))), "a")


def test_a_jpeg_xl_of_a_hundred_million_pixels_is_refused_before_it_is_decoded() -> None:
    # 60000 x 60000 px, all else as usual: no eighths, 18 bits of height, ratio 1 to 1.
    bits = "0" + "01" + f"{59_999:018b}"[::-1] + "100" + "1"
    number = sum(int(bit) << place for place, bit in enumerate(bits))
    with pytest.raises(InputError, match="image is too large \\(60000 x 60000 px\\)"):
        decode_image(b"\xff\x0a" + number.to_bytes(8, "little"), "a")


@pytest.mark.parametrize("kind", ["WEBP", "AVIF"])
def test_decoders_that_need_much_memory_get_fewer_pixels(kind: str) -> None:
    limits = ReadLimits(max_costly_pixels=SMALL.shape[0] * SMALL.shape[1] - 1)
    with pytest.raises(InputError, match=r"image is too large.*or PNG or TIFF"):
        decode_image(saved(SMALL, kind), "a", limits=limits)
    with pytest.raises(InputError, match=r"image is too large.*or PNG or TIFF"):
        decode_image(bytes(imagecodecs.jpegxl_encode(SMALL)), "a", limits=limits)
    decode_image(encoded(".png", SMALL), "a", limits=limits)


def test_pictures_of_phones_are_read() -> None:
    first, second = (reading() for reading in decode_images(heif(SMALL, SECOND), "a"))
    assert np.abs(first.pixels.astype(int) - SMALL).mean() < 4
    assert np.abs(second.pixels.astype(int) - SECOND).mean() < 4
    assert (first.part, second.part) == ("#0", "#1")
    wide = decode_image(heif(stored(SMALL, P3), icc_profile=P3), "a")
    assert np.abs(wide.pixels.astype(int) - SMALL).mean() < 5
    assert "Display P3" in wide.remarks[0].text


@pytest.mark.parametrize("kind", ["WEBP", "AVIF", "HEIF"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_half_of_them_is_refused(kind: str, share: float) -> None:
    data = heif(SMALL) if kind == "HEIF" else saved(FIELD, kind, quality=90)
    with pytest.raises(InputError):
        decode_image(data[: int(len(data) * share)], "a")


@pytest.mark.parametrize("kind", ["WEBP", "AVIF"])
def test_films_of_them_and_glass_are_refused(kind: str) -> None:
    film = saved(FIELD, kind, save_all=True, append_images=[Image.fromarray(OTHER)])
    with pytest.raises(InputError, match="file holds 2 images"):
        decode_image(film, "a")
    glass = np.dstack([FIELD, FIELD[..., 0]])
    with pytest.raises(InputError, match="partly transparent"):
        decode_image(saved(glass, kind), "a")


LIF_CHANNEL = (
    '<ChannelDescription DataType="0" ChannelTag="{tag}" Resolution="8" Min="0" Max="255" Unit=""'
    ' NameOfMeasuredQuantity="" LUTName="" IsLUTInverted="0" BytesInc="{at}" BitInc="0"/>'
)
LIF_SIDE = (
    '<DimensionDescription DimID="{axis}" NumberOfElements="{count}" Origin="0" Length="{metres}"'
    ' Unit="m" BitInc="0" BytesInc="{step}"/>'
)


def lif(*pictures: UInt8, um_per_px: float = 0.2, planes: int = 1, head: str = "") -> bytes:
    """Write a LIF by the structure of the format: a header of XML, and a block for each image."""
    elements = []
    blocks = b""
    for number, pixels in enumerate(pictures, 1):
        height, width, channels = pixels.shape
        sides = [(1, width, channels), (2, height, channels * width)]
        sides += [(3, planes, pixels.size)] if planes > 1 else []
        dimensions = "".join(
            LIF_SIDE.format(
                axis=axis, count=count, metres=um_per_px * 1e-6 * (count - 1), step=step
            )
            for axis, count, step in sides
        )
        described = "".join(LIF_CHANNEL.format(tag=tag + 1, at=tag) for tag in range(channels))
        elements.append(
            f'<Element Name="field {number}" UniqueID="{number}"><Data><Image><ImageDescription>'
            f"<Channels>{described}</Channels><Dimensions>{dimensions}</Dimensions>"
            f'</ImageDescription></Image></Data><Memory Size="{pixels.size * planes}" '
            f'MemoryBlockID="MemBlock_{number}"/></Element>'
        )
        called = f"MemBlock_{number}".encode("utf-16-le")
        rest = struct.pack("<BQBI", 0x2A, pixels.size * planes, 0x2A, len(called) // 2) + called
        blocks += struct.pack("<II", 0x70, len(rest)) + rest + pixels.tobytes() * planes
    xml = (
        head + '<LMSDataContainerHeader Version="2"><Element Name="all" UniqueID="0"><Data/>'
        '<Memory Size="0" MemoryBlockID="MemBlock_0"/><Children>'
        + "".join(elements) + "</Children></Element></LMSDataContainerHeader>"
    )  # fmt: skip
    text = xml.encode("utf-16-le")
    return struct.pack("<IIBI", 0x70, len(text) + 5, 0x2A, len(xml)) + text + blocks


def czi(*pictures: UInt8, um_per_px: float = 0.2, mosaic: bool = False, pixel: int = 3) -> bytes:
    """Write a CZI by the structure of the format (ZISRAW 1.2.2): one sub-block for each picture."""

    def segment(kind: bytes, body: bytes) -> bytes:
        body = body.ljust(-(-len(body) // 32) * 32, b"\0")
        return struct.pack("<16sqq", kind, len(body), len(body)) + body

    blocks = b""
    directory = struct.pack("<i124x", len(pictures))
    for number, pixels in enumerate(pictures):
        sides = [(b"X", 0, pixels.shape[1]), (b"Y", 0, pixels.shape[0]), (b"S", number, 1)]
        sides += [(b"M", number, 1)] if mosaic else []
        place = 544 + len(blocks)
        entry = struct.pack("<2siqiiBB4si", b"DV", pixel, place, 0, 0, 0, 0, b"", len(sides))
        for axis, start, count in sides:
            entry += struct.pack("<4siifi", axis, start, count, 0.0, count)
        directory += entry
        stored = pixels[..., ::-1].tobytes()
        body = struct.pack("<iiq", 0, 0, len(stored)) + entry.ljust(240, b"\0") + stored
        blocks += segment(b"ZISRAWSUBBLOCK", body)
    scaling = "".join(
        f'<Distance Id="{axis}"><Value>{um_per_px * 1e-6}</Value></Distance>' for axis in "XY"
    )
    xml = f"<ImageDocument><Metadata><Scaling><Items>{scaling}</Items></Scaling></Metadata>"
    xml += "</ImageDocument>"
    listed = segment(b"ZISRAWDIRECTORY", directory)
    about = segment(b"ZISRAWMETADATA", struct.pack("<ii248x", len(xml), 0) + xml.encode())
    at = 544 + len(blocks)
    head = struct.pack(
        "<iiii16s16siqqiq", 1, 0, 0, 0, b"", b"", 0, at, at + len(listed), 0, 0
    )  # fmt: skip
    return segment(b"ZISRAWFILE", head.ljust(512, b"\0")) + blocks + listed + about


MICROSCOPES: dict[str, tuple[str, Callable[..., bytes]]] = {
    "LIF": ("liffile", lif),
    "CZI": ("czifile", czi),
}


@pytest.mark.parametrize("kind", MICROSCOPES)
def test_every_field_of_a_microscopes_file_is_a_frame(kind: str) -> None:
    module, write = MICROSCOPES[kind]
    pytest.importorskip(module)
    found = [reading() for reading in decode_images(write(FIELD, OTHER), "a")]
    assert np.array_equal(found[0].pixels, FIELD)
    assert np.array_equal(found[1].pixels, OTHER)
    assert [image.um_per_px for image in found] == [pytest.approx(0.2)] * 2
    assert all(image.remarks[0].code == "untried" for image in found)


@pytest.mark.parametrize("kind", MICROSCOPES)
def test_what_of_them_can_not_be_used_is_refused(kind: str) -> None:
    module, write = MICROSCOPES[kind]
    pytest.importorskip(module)
    data = write(FIELD)
    for share in (0.0002, 0.01, 0.3, 0.6, 0.97):
        with pytest.raises(InputError):
            decode_images(data[: int(len(data) * share)], "a")[0]()


def test_planes_mosaics_and_greys_are_refused() -> None:
    pytest.importorskip("liffile")
    pytest.importorskip("czifile")
    grey = np.ascontiguousarray(FIELD[..., :1])
    for data, what in (
        (lif(FIELD, planes=3), "3 planes of focus"),
        (lif(grey), "image is grey"),
        (lif(FIELD, head="<!DOCTYPE a []>"), "contradicts itself"),
        (czi(FIELD, OTHER, mosaic=True), "a mosaic of 2 fields"),
        (czi(grey, pixel=0), "image is grey"),
    ):
        with pytest.raises(InputError, match=what):
            decode_images(data, "a")


@pytest.mark.parametrize(
    ("data", "called"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(300), "HEIF"),
        (b"ZISRAWFILE" + bytes(300), "Zeiss CZI"),
        (b"\xda\xce\xbe\x0a" + bytes(300), "Nikon ND2"),
        (lif(FIELD), "Leica LIF"),
    ],
)
def test_what_an_extra_would_read_names_it(
    data: bytes, called: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.import_module

    def missing(name: str, package: str | None = None) -> Any:
        if name in ("pillow_heif", "nd2", "czifile", "liffile"):
            raise ModuleNotFoundError(name=name)
        return found(name, package)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(InputError, match=called) as caught:
        decode_image(data, "a")
    assert caught.value.mend == "pip install 'edgeapl[formats]'"
