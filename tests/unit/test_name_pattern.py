"""Slides by the names of their images; nothing is dropped quietly."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from edgeapl.errors import UsageError
from edgeapl.sources.discover import find_slides

NAMES = ("S1_001.png", "S2_001.png", "deep/Blast/S1_002.png", "deep/Other/S2_002.tif")


def grouped(folder: Path, pattern: str, *names: str) -> dict[str, list[str]]:
    for name in names or NAMES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    found = find_slides(folder, crops=True, slide_from=pattern).slides
    return {
        f"{slide.patient}{slide.name}": [str(file.relative_to(folder)) for file in slide.files]
        for slide in found
    }


@pytest.mark.parametrize(
    "pattern", [r"^([^_]+)_", r"_?(?P<number>\d\d\d)?(?P<slide>S\d)", r"^(?:.*/)?(S\d)_"]
)
def test_a_group_of_the_name_is_the_slide(pattern: str, tmp_path: Path) -> None:
    assert grouped(tmp_path, pattern) == {
        "S1": ["S1_001.png", "deep/Blast/S1_002.png"],
        "S2": ["S2_001.png", "deep/Other/S2_002.tif"],
    }


def test_a_patient_and_other_forms_of_a_name_are_known(tmp_path: Path) -> None:
    names = ("P1_Ä1_a.png", unicodedata.normalize("NFD", "P1_Ä1_b.png"), "P2_B_a.png")
    found = grouped(tmp_path, r"(?P<patient>P\d)_(\w+?)_", *names)
    assert {slide: len(files) for slide, files in found.items()} == {"P1Ä1": 2, "P2B": 1}


@pytest.mark.parametrize(
    ("pattern", "what"),
    [
        (r"^(S1)_", "2 of 4 images do not match --slide-from: S2_001.png, deep/Other/S2_002"),
        (r"^(X)?", "4 of 4 images do not match"),
        (r"S\d", "no group that could be the slide"),
        (r"(?P<patient>S\d)", "no group that could be the slide"),
        (r"(S\d", "no regular expression"),
        (r"(?P<patient>S\d)_(00)", "one slide of two patients"),
    ],
)
def test_what_does_not_match_is_named_and_refused(pattern: str, what: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=what):
        grouped(tmp_path, pattern)


def test_a_list_and_a_pattern_are_not_mixed(tmp_path: Path) -> None:
    (tmp_path / "slides.csv").write_text("slide,file\nA,S1_001.png\n")
    with pytest.raises(UsageError, match="both a slide list and --slide-from"):
        grouped(tmp_path, r"^(S\d)_")
    with pytest.raises(UsageError, match="needs a folder"):
        find_slides(tmp_path / "S1_001.png", slide_from="(S)")


def test_images_of_one_name_from_two_folders_are_not_joined_unsaid(tmp_path: Path) -> None:
    names = ("P1/1_a.png", "P2/1_a.png")
    with pytest.raises(UsageError, match=r"may join two slides.*1: P1/1_a.png and P2/1_a.png"):
        grouped(tmp_path, r"^([^_]+)_", *names)
    assert set(grouped(tmp_path, r"^([^/]+/[^_]+)_", *names)) == {"P1/1", "P2/1"}
    assert set(grouped(tmp_path, r"^(?:.*/)?([^_/]+)_", *names)) == {"1"}
