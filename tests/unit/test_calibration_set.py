"""A set that would mislead is refused in one line, and nothing in it is passed over silently."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeapl.calibration.calibration_set import check_collected, choose, slides_to_hold_back
from edgeapl.calibration.cells import Cell, CollectedCells, SlideSeen
from edgeapl.calibration.disk_array import DiskArray
from edgeapl.calibration.held_out import Excluded, read_exclusions, refuse_named
from edgeapl.calibration.replacement import replace_folder
from edgeapl.calibration.versions import next_version
from edgeapl.errors import ConfigError, InputError, StorageError, UsageError
from edgeapl.sources.decode import read_images
from edgeapl.sources.discover import SlideInput
from edgeapl.types import UInt8
from tests.small_bundle import png


def image(seed: int) -> UInt8:
    return np.random.default_rng(seed).integers(0, 256, (20, 20, 3), dtype=np.uint8)


def write(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(image(seed)))
    return path


def labels(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "labels.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("slide\nA\nB\n", {"a", "b"}),
        ("patient,diagnosis,cells\nA,APL,60\n", {"a"}),
        ("Slide , label\n a ,APL\n", {"a"}),
        ("slide,split\nA,train\nB,test\nC,Test \nD,val\n", {"b", "c"}),
        ("\ufeffslide\nA\n\n", {"a"}),
    ],
)
def test_test_slides_are_named_in_one_of_the_usual_columns(
    tmp_path: Path, text: str, names: set[str]
) -> None:
    assert read_exclusions(labels(tmp_path, text), tmp_path).slides == names


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "empty"),
        ("name\nA\n", "no column"),
        ("slide,slide\nA,B\n", "there twice"),
        ("slide,split\nA,train\n", "names no test slide"),
        ("slide\n", "names no test slide"),
        ("slide,split\nA\n", "line 2: 1 columns instead of 2"),
        ('slide\n"A\n', "line"),
        ("file\nmoved/1.png\n", "line 2: 'moved/1.png' is not there.*beside its images"),
    ],
)
def test_a_list_that_names_nothing_is_refused(tmp_path: Path, text: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word) as caught:
        read_exclusions(labels(tmp_path, text), tmp_path)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="list of test slides"):
        read_exclusions(tmp_path / "missing.csv", tmp_path)


def test_test_images_are_known_by_their_content_whatever_they_are_called(tmp_path: Path) -> None:
    listed = tmp_path / "test"
    write(listed / "A" / "deep" / "1.png", 1)
    write(listed / "2.png", 2)
    write(tmp_path / "frames" / "3.png", 3)
    write(tmp_path / "elsewhere" / "4.png", 4)
    path = labels(listed, "slide,file\nA,\n,2.png\n,3.png\n..,\n")
    found = read_exclusions(path, tmp_path / "frames")
    assert len(found.digests) == 3
    assert found.slides == {"a", ".."}


def test_test_images_of_a_file_with_several_are_known_one_by_one(tmp_path: Path) -> None:
    pages = [cv2.cvtColor(image(seed), cv2.COLOR_RGB2BGR) for seed in (1, 2)]
    assert cv2.imwritemulti(str(tmp_path / "1.tif"), pages)
    found = read_exclusions(labels(tmp_path, "file\n1.tif\n"), tmp_path)
    assert {reading().digest for reading in read_images(tmp_path / "1.tif")} < found.digests


def test_a_test_slide_in_the_set_is_an_error_that_names_it() -> None:
    slides = [SlideInput(name, ()) for name in ("A", "B", "C")]
    refuse_named(slides, Excluded(frozenset({"d"})))
    with pytest.raises(UsageError, match="2 test slides: A, B") as caught:
        refuse_named(slides, Excluded(frozenset({"a", "b"})))
    assert caught.value.exit_code == 2


def gathered(folder: Path, cells: dict[str, int], **slide: object) -> CollectedCells:
    made = CollectedCells(DiskArray(folder / "rows"))
    random = np.random.default_rng(0)
    for number, (name, count) in enumerate(cells.items()):
        made.slides.append(SlideSeen(name, count, cells=count))
        if count:
            crops = random.integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
            features = random.normal(0, 1, (count, 4)).astype(np.float32)
            same = [
                Cell(name, f"{name}{row}", "", None, "blast", float(row < number))
                for row in range(count)
            ]
            made.add(same, crops, features)
    return made


@pytest.mark.parametrize(
    ("cells", "unusable", "words"),
    [
        ({"a": 10, "b": 9}, [], "19 cells"),
        ({"a": 40}, [], "one slide only: a"),
        ({"a": 40, "b": 0}, [], "one slide only: a"),
        ({"a": 40, "b": 40}, [("1.png", "the image is black")], r"a/1.png \(the image is black\)"),
        ({"a": 40, "b": 40}, [(f"{n}.png", "cut off") for n in range(9)], "and 6 more"),
    ],
)
def test_an_unfit_set_is_refused_in_one_line(
    tmp_path: Path, cells: dict[str, int], unusable: list[tuple[str, str]], words: str
) -> None:
    found = gathered(tmp_path, cells)
    found.slides[0].unusable = unusable
    with pytest.raises(InputError, match=words) as caught:
        check_collected(found, leave_out_unusable=False)
    assert "\n" not in str(caught.value)
    if unusable:
        check_collected(found, leave_out_unusable=True)


def test_a_fit_set_passes(tmp_path: Path) -> None:
    check_collected(gathered(tmp_path, {"a": 10, "b": 10}), leave_out_unusable=False)


def test_nothing_is_chosen_from_slides_that_are_held_back(tmp_path: Path) -> None:
    found = gathered(tmp_path, {f"s{n}": 12 for n in range(10)})
    chosen = choose(found, 30)
    assert len(chosen.held_back) == 2
    assert len(chosen.rows) == 30
    assert not {found.cells[row].slide for row in chosen.rows} & set(chosen.held_back)
    assert choose(found, None).rows[:30] == chosen.rows


def test_held_back_slides_reach_from_harmless_to_suspicious(tmp_path: Path) -> None:
    found = gathered(tmp_path, {f"s{n}": 12 for n in range(10)})
    assert slides_to_hold_back(found.cells) == ("s2", "s7")
    few = gathered(tmp_path, {f"s{n}": 12 for n in range(4)})
    assert slides_to_hold_back(few.cells) == ()


def test_more_cells_than_there_are_can_not_be_asked_for(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="24 cells to choose from: --size 25"):
        choose(gathered(tmp_path, {"a": 12, "b": 12}), 25)


@pytest.mark.parametrize(
    ("old", "new"), [("1.0", "1.0+cal1"), ("1.0+cal1", "1.0+cal2"), ("2.1b+cal9", "2.1b+cal10")]
)
def test_the_next_version_says_that_the_networks_are_the_same(old: str, new: str) -> None:
    assert next_version(old) == new


@pytest.mark.parametrize("fault", [OSError(28, "full"), KeyboardInterrupt()])
def test_the_old_version_comes_back_when_the_new_one_can_not_be_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: BaseException
) -> None:
    target, made = tmp_path / "bundle", tmp_path / "work" / "bundle"
    target.mkdir()
    (target / "old.txt").write_text("old")
    made.mkdir(parents=True)
    rename = Path.rename

    def failing(self: Path, to: Path) -> Path:
        if self == made:
            raise fault
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(StorageError if isinstance(fault, OSError) else KeyboardInterrupt):
        replace_folder(made, target)
    assert (target / "old.txt").read_text() == "old"
    monkeypatch.undo()
    replace_folder(made, target)
    assert not (target / "old.txt").exists()
