"""A scan of several files is the same scan only as long as none of them changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeapl.bundle.digest import sha256_file
from edgeapl.scoring.resume import content_digest
from edgeapl.whole_slide import companion_files


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


@pytest.mark.parametrize("make", [mrxs, vms])
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
