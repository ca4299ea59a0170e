"""Whatever bytes a file holds, it is read whole or refused in one line; nothing else happens."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from edgeapl.errors import InputError
from edgeapl.sources.decode import ReadLimits, decode_image
from tests.pictures import encoded, field, tiff

SMALL = np.ascontiguousarray(field(2)[:48, :64])
LZW = (cv2.IMWRITE_TIFF_COMPRESSION, 5, cv2.IMWRITE_TIFF_ROWSPERSTRIP, 16)


def ome_tiff(**how: Any) -> bytes:
    made = io.BytesIO()
    with tifffile.TiffWriter(made, ome=True, bigtiff=True) as writer:
        about = {"PhysicalSizeX": 0.2, "PhysicalSizeY": 0.2}
        writer.write(SMALL, photometric="rgb", metadata=about, **how)
    return made.getvalue()


def avif() -> bytes:
    made = io.BytesIO()
    Image.fromarray(SMALL).save(made, "AVIF")
    return made.getvalue()


FILES = {
    "png": encoded(".png", SMALL),
    "jpeg": encoded(".jpg", SMALL),
    "progressive": encoded(".jpg", SMALL, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "bmp": encoded(".bmp", SMALL),
    "tiff": tiff(SMALL),
    "lzw": encoded(".tiff", SMALL, *LZW),
    "webp": encoded(".webp", SMALL),
    "avif": avif(),
    "ome": ome_tiff(compression="zstd", tile=(16, 16)),
    "jpeg in tiff": ome_tiff(compression="jpeg"),
    "jpeg 2000 in tiff": ome_tiff(compression="jpeg2000", tile=(32, 32)),
    "webp in tiff": ome_tiff(compression="webp", rowsperstrip=16),
}
LIMITS = ReadLimits(max_pixels=1_000_000)

edits = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True),
        st.sampled_from(["set", "cut", "drop", "double"]),
        st.integers(0, 255),
    ),
    min_size=1,
    max_size=4,
)


def edited(data: bytes, changes: list[tuple[float, str, int]]) -> bytes:
    for share, kind, value in changes:
        at = int(share**2 * len(data))  # more often in the header
        if kind == "set":
            data = data[:at] + bytes([value]) + data[at + 1 :]
        elif kind == "cut":
            data = data[: len(data) - at // 8]
        elif kind == "drop":
            data = data[:at] + data[at + 1 + value % 8 :]
        else:
            data = data[: at + value] + data[at:]
    return data


@pytest.mark.parametrize("name", FILES)
@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(changes=edits)
def test_a_changed_file_is_read_or_refused_and_the_terminal_stays_clean(
    name: str, changes: list[tuple[float, str, int]], capfd: pytest.CaptureFixture[str]
) -> None:
    refusal = ""
    try:
        image = decode_image(edited(FILES[name], changes), "a", limits=LIMITS)
    except InputError as error:
        refusal = str(error)
    else:
        assert image.pixels.dtype == np.uint8
        assert image.pixels.ndim == 3
        assert image.pixels.shape[2] == 3
    assert "\n" not in refusal
    assert capfd.readouterr().err == ""


@given(at=st.integers(0, len(FILES["png"]) - 1), bit=st.integers(0, 7))
@settings(max_examples=150, deadline=None)
def test_a_png_with_one_bit_flipped_is_never_read(at: int, bit: int) -> None:
    data = FILES["png"]
    broken = data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
    with pytest.raises(InputError):
        decode_image(broken, "a", limits=LIMITS)


@given(data=st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_noise_is_never_an_image(data: bytes) -> None:
    with pytest.raises(InputError):
        decode_image(data, "a", limits=LIMITS)
