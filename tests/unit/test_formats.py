"""Formats of phones, browsers and microscopes: read by their libraries, or refused by name."""

from __future__ import annotations

import importlib
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgeapl.errors import InputError
from edgeapl.sources.decode import decode_image, decode_images
from edgeapl.types import UInt8
from tests.pictures import field
from tests.unit.test_colour import P3, PRO_PHOTO, SRGB_BYTES, stored

FIELD = field(1)
OTHER = field(2)


def saved(pixels: UInt8, kind: str, **how: Any) -> bytes:
    made = io.BytesIO()
    Image.fromarray(pixels).save(made, kind, **how)
    return made.getvalue()


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


def test_pictures_of_phones_are_read() -> None:
    first, second = (reading() for reading in decode_images(heif(FIELD, OTHER), "a"))
    assert np.abs(first.pixels.astype(int) - FIELD).mean() < 4
    assert np.abs(second.pixels.astype(int) - OTHER).mean() < 4
    assert (first.part, second.part) == ("#0", "#1")
    wide = decode_image(heif(stored(FIELD, P3), icc_profile=P3), "a")
    assert np.abs(wide.pixels.astype(int) - FIELD).mean() < 5
    assert "Display P3" in wide.remarks[0].text


@pytest.mark.parametrize("kind", ["WEBP", "AVIF", "HEIF"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_half_of_them_is_refused(kind: str, share: float) -> None:
    data = heif(FIELD) if kind == "HEIF" else saved(FIELD, kind, quality=90)
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


@pytest.mark.parametrize(
    ("data", "called"),
    [(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(300), "HEIF")],
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
