"""Whatever may be an image is listed beside the others; what is none is passed over."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import pytest

from edgeapl.errors import InputError
from edgeapl.sources.decode import read_image
from edgeapl.sources.discover import find_slides
from tests.pictures import encoded, field

PNG = encoded(".png", field(1))
JPEG = encoded(".jpg", field(1))


def zipped(*names: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in names:
            archive.writestr(name, b"content")
    return made.getvalue()


# What a name or its content says may be an image, and a word of the line that says why it is not
# read.
LISTED = {
    "phone.HEIC": (b"\0\0\0\x18ftypheic" + bytes(300), "HEIF"),
    "phone.hif": (b"\0\0\0\x18ftypheix" + bytes(300), "HEIF"),
    "web.avif": (b"\0\0\0\x18ftypavif" + bytes(300), "AVIF"),
    "web.jxl": (b"\xff\x0a", "JPEG XL"),
    "web.gif": (b"GIF89a" + bytes(300), "GIF"),
    "old.jp2": (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(300), "JPEG 2000"),
    "scan.mrxs": (JPEG[:200], "cut off"),
    "scan.vsi": (b"vendor" + bytes(300), "unknown format"),
    "scan.czi": (b"ZISRAWFILE" + bytes(300), "CZI"),
    "scan.nd2": (b"\xda\xce\xbe\x0a" + bytes(300), "ND2"),
    "scan.lif": (b"p\0\0\0\x0b\0\0\0*" + bytes(300), ""),
    "scan.isyntax": (b"<DataObject/>", "text"),
    "slide.dcm": (bytes(128) + b"DICM" + bytes(300), "DICOM"),
    "camera.CR2": (b"II*\0\x10\0\0\0CR\2\0" + bytes(300), ""),
    "camera.nef": (b"vendor" + bytes(300), "unknown format"),
    "camera.raw": (bytes(300), "unknown format"),
    "edited.psd": (b"8BPS" + bytes(300), "Photoshop"),
    "report.PDF": (b"%PDF-1.4" + bytes(300), "PDF"),
    "film.mp4": (b"\0\0\0\x18ftypisom" + bytes(300), "a film"),
    "film.MOV": (b"\0\0\0\x14ftypqt  " + bytes(300), "a film"),
    "film.mkv": (b"\x1a\x45\xdf\xa3" + bytes(300), "a film"),
    "film.avi": (b"RIFF\0\0\0\0AVI " + bytes(300), "a film"),
    "more.zip": (zipped("deep/a.png", "note.txt"), "unpack it"),
    "broken.zip": (b"PK\3\4" + bytes(30), "unpack it"),
    "more.7z": (b"7z\xbc\xaf\x27\x1c" + bytes(30), "unpack it"),
    "more.tar.gz": (b"\x1f\x8b" + bytes(30), "unpack it"),
    "a.tif.gz": (b"\x1f\x8b" + bytes(30), "unpack it"),
    "b.png.part": (PNG[:90], "cut off"),
    "c.jpg.crdownload": (JPEG[:90], "cut off"),
    "d.TIFF.1": (b"II*\0" + bytes(4), ""),
    "e.png~": (PNG[:90], "cut off"),
    "no-ending": (PNG[:90], "cut off"),
    "a.b.strange": (JPEG[:90], "cut off"),
    "bitmap": (b"BM" + struct.pack("<II", 99, 0) + bytes([54, 0, 0, 0]), "cut off"),
    "sub/deeper/phone.heic": (b"\0\0\0\x18ftypheic" + bytes(300), "HEIF"),
}
IGNORED = {
    **dict.fromkeys(("Thumbs.db", "THUMBS.DB", "ehthumbs.db", "desktop.ini"), JPEG),
    **dict.fromkeys((".DS_Store", ".hidden.png", "._a.png", "DICOMDIR"), PNG),
    **dict.fromkeys(("@eaDir/a.png", "__MACOSX/b.png", "$RECYCLE.BIN/c.png"), PNG),
    **dict.fromkeys(
        ("notes.txt", "a.png.txt", "a.tif.xml", "a.jpg.json", "a.tif_meta.csv"), b"BM 1"
    ),
    **dict.fromkeys(("README", "LICENSE", "BMI", "a.md5"), b"BM is a unit\n"),
    "empty": b"",
    "model.onnx": bytes(300),
    "table.xlsx": zipped("xl/media/image1.png"),
    "lists.zip": zipped("a.csv", "__MACOSX/a.png", ".hidden/b.png"),
    "table.csv.gz": b"\x1f\x8b" + bytes(30),
    "Slidedat.dat": JPEG,
}


def fill(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def test_what_may_be_an_image_is_listed_and_what_is_none_is_passed_over(tmp_path: Path) -> None:
    fill(tmp_path / "S", {name: data for name, (data, _) in LISTED.items()} | IGNORED)
    (slide,) = find_slides(tmp_path).slides
    found = {str(file.relative_to(tmp_path / "S")) for file in slide.files}
    assert found == LISTED.keys()


@pytest.mark.parametrize("name", LISTED)
def test_what_can_not_be_read_is_named_with_a_way_out(name: str, tmp_path: Path) -> None:
    data, word = LISTED[name]
    fill(tmp_path, {name: data})
    with pytest.raises(InputError) as caught:
        read_image(tmp_path / name)
    assert word in str(caught.value)
    assert caught.value.mend


def test_folders_named_like_films_are_looked_into_and_stores_of_pictures_are_not(
    tmp_path: Path,
) -> None:
    fill(tmp_path, {"S/day.raw/1.png": PNG, "S/scan.zarr/0/0": PNG})
    (slide,) = find_slides(tmp_path).slides
    assert [str(file.relative_to(tmp_path / "S")) for file in slide.files] == [
        "day.raw/1.png",
        "scan.zarr",
    ]
