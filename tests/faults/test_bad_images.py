"""A bad image is refused in one line; it is never half read, and nothing reaches the terminal."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgeapl.errors import InputError
from edgeapl.sources.decode import decode_image, read_image
from edgeapl.sources.discover import find_slides
from tests.faults.bad_images import FILES, PNG, SPECIAL, make_awkward_names, make_bad_folder
from tests.pictures import encoded, field


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_image(path)
    return str(caught.value)


@pytest.mark.parametrize("name", [*FILES, *SPECIAL])
def test_a_bad_file_is_refused_in_one_line(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    expected = make_bad_folder(tmp_path)[name]
    line = refusal(tmp_path / name)
    assert expected in line
    assert str(tmp_path / name) in line
    assert line.count(": ") >= 2, "what: which: how to mend"
    assert "\n" not in line
    assert capfd.readouterr().err == ""


def test_every_bad_file_of_a_folder_is_listed_to_be_reported(tmp_path: Path) -> None:
    expected = make_bad_folder(tmp_path)
    (slide,) = find_slides(tmp_path).slides
    assert {file.name for file in slide.files} == expected.keys()


def test_a_name_can_not_break_the_line_of_its_error(tmp_path: Path) -> None:
    for path in make_awkward_names(tmp_path):
        path.write_bytes(PNG[:50])
        line = refusal(path)
        assert line.isprintable()
        assert "\u202e" not in line


def test_awkward_names_are_read(tmp_path: Path) -> None:
    paths = make_awkward_names(tmp_path)
    (slide,) = find_slides(tmp_path).slides
    assert set(slide.files) == set(paths)
    assert all(read_image(file).pixels.shape == (240, 320, 3) for file in slide.files)


def test_a_file_without_permission_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(PNG)

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)  # root may read everything, so chmod is not enough
    assert "no permission to read" in refusal(path)


def test_a_file_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "growing.png"
    path.write_bytes(PNG)
    read = os.read

    def grow(handle: int, count: int) -> bytes:
        data = read(handle, count)
        with path.open("ab") as file:
            file.write(b"more")
        return data

    monkeypatch.setattr(os, "read", grow)
    assert "changed while it was read" in refusal(path)


@pytest.mark.parametrize("extension", [".png", ".jpg"])
def test_no_truncation_of_a_file_is_read(extension: str) -> None:
    data = encoded(extension, field(3, 96, 96))
    for length in range(len(data) - 1, 0, -max(1, len(data) // 200)):
        with pytest.raises(InputError):
            decode_image(data[:length], "cut")
