"""Every image of a folder belongs to one slide, and nothing is passed over in silence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgeapl.errors import ConfigError, EdgeAplError, InputError, UsageError
from edgeapl.sources.discover import RESULTS_MARKER, FoundSlides, find_slides, printable


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return folder


def named(found: FoundSlides, folder: Path) -> dict[str, list[str]]:
    return {
        slide.name: [str(file.relative_to(folder)) for file in slide.files]
        for slide in found.slides
    }


def test_images_of_a_folder_are_one_slide_in_order(tmp_path: Path) -> None:
    folder = fill(tmp_path / "S1", "b.JPG", "a.png", "10.tif", "c.jpeg", "d.TIFF", "e.bmp", "x.txt")
    found = find_slides(folder)
    assert named(found, folder) == {"S1": ["10.tif", "a.png", "b.JPG", "c.jpeg", "d.TIFF", "e.bmp"]}


def test_every_sub_folder_is_a_slide_at_any_depth(tmp_path: Path) -> None:
    folder = fill(
        tmp_path / "all", "P2/blast/1.png", "P2/0.png", "P10/deep/er/1.png", "own.png",
        "empty/note.txt", "P2/note.txt",
    )  # fmt: skip
    found = find_slides(folder, crops=True)
    assert named(found, folder) == {
        "all": ["own.png"],
        "P10": ["P10/deep/er/1.png"],
        "P2": ["P2/0.png", "P2/blast/1.png"],
    }


def test_hidden_files_and_own_results_are_left_out(tmp_path: Path) -> None:
    fill(tmp_path, "S/1.png", "S/._1.png", ".git/2.png", "S/.cache/3.png")
    fill(
        tmp_path,
        f"out/{RESULTS_MARKER}",
        "out/overlays/4.png",
        f"S/r/{RESULTS_MARKER}",
        "S/r/5.png",
    )
    assert named(find_slides(tmp_path), tmp_path) == {"S": ["S/1.png"]}


def test_a_ring_of_links_ends_and_a_linked_folder_is_followed(tmp_path: Path) -> None:
    fill(tmp_path, "data/S/1.png", "elsewhere/2.png")
    (tmp_path / "data/S/up").symlink_to("..")
    (tmp_path / "data/S/more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data/self").symlink_to("self")
    found = find_slides(tmp_path / "data")
    assert [path.name for path in found.slides[0].files] == ["1.png", "2.png"]


def test_a_folder_without_permission_is_listed_and_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, "S/1.png", "S/closed/2.png")
    scan = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert named(find_slides(tmp_path), tmp_path) == {"S": ["S/1.png", "S/closed"]}


def test_one_image_is_a_slide_of_one_frame(tmp_path: Path) -> None:
    fill(tmp_path, "a b.png")
    assert named(find_slides(tmp_path / "a b.png"), tmp_path) == {"a b": ["a b.png"]}


@pytest.mark.parametrize(
    ("names", "folder", "error", "what"),
    [
        ((), "missing", InputError, "does not exist"),
        ((), ".", InputError, "no images in folder"),
        (("S/notes.txt",), ".", InputError, "no images in folder"),
        (("notes.txt",), "notes.txt", UsageError, "neither a folder nor an image"),
        ((RESULTS_MARKER, "1.png"), ".", InputError, "a result folder of EdgeAPL"),
        (("S/1.png", "S/S/2.png"), "S", InputError, "the same name"),
    ],
)
def test_nothing_to_score_is_said_in_one_line(
    names: tuple[str, ...], folder: str, error: type[EdgeAplError], what: str, tmp_path: Path
) -> None:
    fill(tmp_path, *names)
    with pytest.raises(error, match=what):
        find_slides(tmp_path / folder)


def listed(tmp_path: Path, text: bytes) -> FoundSlides:
    fill(tmp_path, "a.png", "sub/b.png", "c.png")
    (tmp_path / "slides.csv").write_bytes(text)
    return find_slides(tmp_path)


def test_a_slide_list_decides(tmp_path: Path) -> None:
    found = listed(
        tmp_path, b"\xef\xbb\xbfslide,file,um_per_px\r\nS2,c.png,\r\nS1,sub/b.png,0.1\r\n"
    )
    assert named(found, tmp_path) == {"S2": ["c.png"], "S1": ["sub/b.png"]}
    assert [slide.um_per_px for slide in found.slides] == [None, 0.1]
    assert found.unlisted == (tmp_path / "a.png",), "slides.csv is no image"


def test_a_named_list_wins_and_starts_from_the_folder(tmp_path: Path) -> None:
    listed(tmp_path, b"slide,file\nS,a.png\n")
    other = tmp_path / "lists" / "mine.csv"
    other.parent.mkdir()
    other.write_text('file,slide\n"c.png",T\n')
    assert named(find_slides(tmp_path, slide_list=other), tmp_path) == {"T": ["c.png"]}


def test_a_list_names_files_that_are_not_utf_8_or_not_there(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xe9.png")).touch()
    found = listed(tmp_path, b"slide,file\nS,\xe9.png\nS,gone.png\n")
    assert [os.fsencode(file.name) for file in found.slides[0].files] == [b"\xe9.png", b"gone.png"]


def test_a_file_outside_must_be_named_with_its_whole_path(tmp_path: Path) -> None:
    outside = fill(tmp_path / "other", "x.png") / "x.png"
    inside = tmp_path / "in"
    inside.mkdir()
    assert listed(inside, f"slide,file\nS,{outside}\n".encode()).slides[0].files == (outside,)
    for name in (b"sub/../../other/x.png", b"../other/x.png", b"sub/../.."):
        with pytest.raises(ConfigError, match="line 2: the file lies outside"):
            listed(inside, b"slide,file\nS," + name + b"\n")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (b"", "file is empty"),
        (b"slide,file\n", "no lines"),
        (b"slide\nS\n", "line 1: no column 'file'"),
        (b"slide,file,um\nS,a.png,1\n", "line 1: column 'um' is unknown"),
        (b"slide,file,file\nS,a.png,a.png\n", "line 1: column"),
        (b"slide,file\nS,a.png\n\nS,c.png,9\n", "line 4: 3 columns instead of 2"),
        (b"slide,file\n,a.png\n", "line 2: no slide"),
        (b"slide,file\nS,\n", "line 2: no file"),
        (b"slide,file\nS,a\0.png\n", "line 2"),
        (b"slide,file\nS,a.png\nT,sub/../a.png\n", "line 3: the same file as in line 2"),
        (b"slide,file,um_per_px\nS,a.png,0.1\nS,c.png,0.2\n", "line 3: another um_per_px"),
        (b"slide,file,um_per_px\nS,a.png,nan\n", "line 2: um_per_px 'nan' is no number"),
        (b"slide,file,um_per_px\nS,a.png,100\n", "line 2: um_per_px '100' is no number"),
        (b'slide,file\nS,"a.png\n', "line 2"),
    ],
)
def test_a_wrong_list_is_refused_with_the_line(text: bytes, what: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=what):
        listed(tmp_path, text)


def test_a_list_that_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="slide list: file does not exist"):
        find_slides(fill(tmp_path, "a.png"), slide_list=tmp_path / "no.csv")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain name.png", "plain name.png"),
        ("Zählung 深.png", "Zählung 深.png"),
        ("new\nline\t.png", "new\\nline\\t.png"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\u202egnp.exe\u2069", "\\u202egnp.exe\\u2069"),
        (os.fsdecode(b"\xff\xe9.png"), "\\xff\\xe9.png"),
        ("\u2028\u200b", "\\u2028\\u200b"),
    ],
)
def test_a_name_is_shown_on_one_harmless_line(name: str, shown: str) -> None:
    assert printable(name) == shown
    assert printable(shown) == shown
    assert shown.encode()
