"""A scan of several files is the same scan only as long as none of them changes."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from edgeapl.bundle.digest import sha256_file
from edgeapl.errors import InputError
from edgeapl.scoring import scan
from edgeapl.scoring.resume import content_digest
from edgeapl.scoring.scan import split_scans
from edgeapl.sources.discover import find_slides
from edgeapl.whole_slide import companion_files, is_whole_slide, open_pyramid
from edgeapl.whole_slide.dicom_series import series_of


def mrxs(folder: Path) -> tuple[Path, list[Path]]:
    scan, data = folder / "a.mrxs", folder / "a"
    data.mkdir()
    files = [data / "Data0000.dat", data / "Slidedat.ini"]
    for file in (scan, *files):
        file.write_bytes(file.name.encode())
    return scan, files


def vms(folder: Path) -> tuple[Path, list[Path]]:
    scan = folder / "a.vms"
    scan.write_text("[Virtual Microscope Specimen]\nImageFile=a.jpg\nMapFile=a_map.jpg\nX=../no\n")
    files = [folder / "a.jpg", folder / "a_map.jpg"]
    for file in files:
        file.write_bytes(file.name.encode())
    return scan, files


def ndpis(folder: Path, *names: str) -> tuple[Path, list[Path]]:
    listed = folder / "a.ndpis"
    lines = [f"Image{number}={name}" for number, name in enumerate(names)]
    head = ["[NanoZoomer Digital Pathology Image Set]", f"NoImages={len(names)}"]
    listed.write_text("\r\n".join([*head, *lines]))
    files = [folder / name for name in names]
    for file in files:
        file.write_bytes(file.name.encode())
    return listed, files


def stained(folder: Path) -> tuple[Path, list[Path]]:
    return ndpis(folder, "a - 1.ndpi", "a - 2.ndpi")


@pytest.mark.parametrize("make", [mrxs, vms, stained])
def test_each_file_of_a_scan_counts(make: object, tmp_path: Path) -> None:
    assert callable(make)
    scan, files = make(tmp_path)
    (tmp_path / "another.png").write_bytes(b"1")
    assert companion_files(scan) == tuple(files)
    seen = {content_digest(scan)}
    for file in files:
        file.write_bytes(b"changed")
        seen.add(content_digest(scan))
    (tmp_path / "another.png").write_bytes(b"2")
    assert content_digest(scan) in seen
    files[-1].unlink()
    seen.add(content_digest(scan))
    assert len(seen) == 4


def test_a_single_file_has_the_digest_of_its_bytes(tmp_path: Path) -> None:
    for name in ("a.svs", "a.png", "lonely.mrxs"):
        (tmp_path / name).write_bytes(name.encode())
        assert content_digest(tmp_path / name) == sha256_file(tmp_path / name)


def test_an_index_that_is_no_list_names_nothing(tmp_path: Path) -> None:
    (tmp_path / "b.jpg").write_bytes(b"1")
    (tmp_path / "a.vms").write_bytes(b"=b.jpg\n" * (1 << 18))
    assert companion_files(tmp_path / "a.vms") == ()


def dicom(path: Path, series: str, *, implicit: bool = False, nested: bool = False) -> Path:
    """A DICOM file as far as its series."""

    def element(group: int, number: int, kind: bytes, value: bytes, *, meta: bool = False) -> bytes:
        value += bytes(len(value) % 2)
        tag = struct.pack("<HH", group, number)
        if implicit and not meta:
            return tag + struct.pack("<I", len(value)) + value
        return tag + kind + struct.pack("<H", len(value)) + value

    syntax = b"1.2.840.10008.1.2" if implicit else b"1.2.840.10008.1.2.4.50"
    parts = [bytes(128) + b"DICM", element(2, 0x10, b"UI", syntax, meta=True)]
    parts.append(element(8, 0x60, b"CS", b"SM"))
    if nested:
        tag = struct.pack("<HH", 8, 0x1140)
        head = tag + (b"" if implicit else b"SQ\0\0") + b"\xff" * 4
        item = b"\xfe\xff\x00\xe0" + b"\xff" * 4 + element(8, 0x1155, b"UI", b"9.9")
        parts.append(head + item + b"\xfe\xff\x0d\xe0" + bytes(4) + b"\xfe\xff\xdd\xe0" + bytes(4))
    parts.append(element(0x20, 0x0E, b"UI", series.encode()))
    path.write_bytes(b"".join(parts) + bytes(300))
    return path


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("nested", [False, True])
def test_the_series_of_a_dicom_file_is_found(tmp_path: Path, implicit: bool, nested: bool) -> None:
    file = dicom(tmp_path / "a.dcm", "1.2.345", implicit=implicit, nested=nested)
    assert series_of(file) == "1.2.345"
    name = file.read_bytes().index(b"1.2.345")
    for cut in (0, 131, 140, 160, name - 3, name + 3):
        (tmp_path / "cut.dcm").write_bytes(file.read_bytes()[:cut])
        assert series_of(tmp_path / "cut.dcm") == ""
    (tmp_path / "no.dcm").write_bytes(b"no" * 400)
    assert series_of(tmp_path / "no.dcm") == ""


def names_of(folder: Path) -> dict[str, list[str]]:
    slides = split_scans(find_slides(folder).slides)
    assert len({slide.name for slide in slides}) == len(slides)
    return {slide.name: [file.name for file in slide.files] for slide in slides}


@pytest.fixture
def _all_are_scans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take files for scans by their names: drawn ones of each scanner are hard to make."""
    scans = {".svs", ".ndpi", ".ndpis", ".scn", ".mrxs", ".vms", ".dcm"}
    monkeypatch.setattr(scan, "is_whole_slide", lambda file: file.suffix in scans)


@pytest.mark.usefixtures("_all_are_scans")
def test_each_scan_in_a_folder_is_one_slide(tmp_path: Path) -> None:
    for number, series in enumerate("11122"):
        dicom(tmp_path / f"{number}.dcm", f"1.2.{series}")
    vms(tmp_path)  # a.vms, a.jpg and a_map.jpg
    for name in ("c.svs", "c.ndpi", "d.scn", "notes.txt"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert names_of(tmp_path) == {
        "a": ["a.vms"],
        "0": ["0.dcm"],
        "3": ["3.dcm"],
        f"{tmp_path.name} c.svs": ["c.svs"],
        f"{tmp_path.name} c.ndpi": ["c.ndpi"],
        "d": ["d.scn"],
        tmp_path.name: ["photo.png"],
    }


@pytest.mark.usefixtures("_all_are_scans")
def test_a_folder_with_one_scan_of_several_files_is_that_scan(tmp_path: Path) -> None:
    for kind in ("dicom", "mrxs", "vms"):
        (tmp_path / kind).mkdir()
    for number in range(3):
        dicom(tmp_path / "dicom" / f"{number}.dcm", "1.2.3")
    mrxs(tmp_path / "mrxs")
    vms(tmp_path / "vms")
    assert names_of(tmp_path) == {
        "dicom": ["0.dcm"],
        "mrxs": ["a.mrxs"],
        "vms": ["a.vms"],
    }
    assert companion_files(tmp_path / "dicom" / "0.dcm") == tuple(
        tmp_path / "dicom" / f"{number}.dcm" for number in (1, 2)
    )
    assert scan.scan_of(tuple(sorted((tmp_path / "dicom").iterdir()))) is not None


@pytest.mark.usefixtures("_all_are_scans")
def test_scans_of_the_same_name_in_two_folders_are_two_slides(tmp_path: Path) -> None:
    for patient in ("p1", "p2"):
        (tmp_path / patient).mkdir()
        for name in ("a.svs", "b.svs"):
            (tmp_path / patient / name).write_bytes(b"1")
    assert set(names_of(tmp_path)) == {"p1 a.svs", "p1 b.svs", "p2 a.svs", "p2 b.svs"}


@pytest.mark.usefixtures("_all_are_scans")
def test_a_set_of_scans_is_one_slide(tmp_path: Path) -> None:
    # One of the set comes before it by name.
    ndpis(tmp_path, "a - DAPI.ndpi", "a - FITC.ndpi")
    (tmp_path / "b.ndpi").write_bytes(b"b")
    assert names_of(tmp_path) == {"a": ["a.ndpis"], "b": ["b.ndpi"]}


@pytest.mark.parametrize(
    ("names", "there", "words"),
    [
        (("a - DAPI.ndpi", "a - FITC.ndpi"), True, "set of 2 scans, one for each channel of fluo"),
        (("a - 1.ndpi",), False, "put a - 1.ndpi beside it"),
        ((), True, "set of scans without a scan"),
        (("a.ndpis",), True, "set of scans without a scan"),
        (("a - 1.ndpi",), True, "scan cannot be opened"),  # it is read, and is none
    ],
)
def test_a_set_that_is_no_scan_of_a_stained_smear_is_refused(
    tmp_path: Path, names: tuple[str, ...], there: bool, words: str
) -> None:
    pytest.importorskip("openslide")
    listed, files = ndpis(tmp_path, *(name for name in names if name != "a.ndpis"))
    if "a.ndpis" in names:
        listed.write_text("Image0=a.ndpis")
    for file in files if not there else ():
        file.unlink()
    assert is_whole_slide(listed)
    with pytest.raises(InputError) as raised:
        open_pyramid(listed)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
