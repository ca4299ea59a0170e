"""`edgeapl calibrate` from images to the bundle's next version."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from edgeapl.bundle.load import open_bundle
from edgeapl.calibration.calibrator import Calibrated, CalibrateRequest, calibrate
from edgeapl.calibration.document import read_set
from edgeapl.calibration.ranges import read_ranges
from edgeapl.errors import EdgeAplError
from edgeapl.model import open_model
from tests.conv_bundle import conv_bundle, smear, write_slides
from tests.e2e.station import Station
from tests.small_bundle import png


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return conv_bundle(tmp_path_factory.mktemp("bundle") / "conv").folder


@pytest.fixture(scope="module")
def smears(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slides(tmp_path_factory.mktemp("smears"), slides=6, frames=8)


def run(bundle: Path, frames: Path, out: Path, **more: object) -> Calibrated:
    request = CalibrateRequest(bundle, frames, out=out, um_per_px=0.2, **more)  # type: ignore[arg-type]
    return calibrate(request, lambda text, share: None)


def test_the_next_version_holds_ranges_set_and_fingerprint(
    station: Station, bundle: Path, smears: Path
) -> None:
    out = station.folder / "calibrated"
    arguments = ("--frames", smears, "--um-per-px", "0.2", "--out", out, "--json")
    done = station.run("calibrate", bundle, *arguments)
    assert done.code == 0, done.err
    document = done.document
    made = open_bundle(out)
    assert made.manifest.version == document["bundle"]["version"] == "1.0+cal1"
    assert made.digest == document["bundle"]["digest"] != open_bundle(bundle).digest
    assert document["bundle_digest"] == open_bundle(bundle).digest
    assert made.manifest.calibration is not None
    ranges = read_ranges(made.read(made.manifest.calibration.ranges))
    low, high = ranges.networks["cells"]["scaled"]
    assert 0 <= low < 0.5 < high <= 1
    assert ranges.digests["cells"] == made.manifest.files["cells.onnx"]
    assert ranges.kept == {"head": "no convolution in it"}
    stored = json.loads(made.read(made.manifest.calibration.images))
    assert stored == {name: value for name, value in document.items() if name != "bundle"}
    assert len(stored["items"]) == ranges.images == sum(stored["classes"].values())
    read = read_set(made.read(made.manifest.calibration.images))
    assert read.used == {item["image"] for item in stored["items"]}
    assert not read.used & set(read.held_back)
    held = {slide["name"] for slide in stored["slides"] if slide["held_back"]}
    assert set(read.held_back.values()) == held
    assert len(held) == 1
    assert not held & {item["slide"] for item in stored["items"]}
    assert {image["slide"] for image in stored["held_back"]} == held
    assert stored["fingerprint"]["strength"] == "weak"
    with open_model(out) as model:
        assert model.domain is not None
        # The station then asks for almost the sharpness of the images of the set.
        asked = model.bundle.manifest.gate.min_focus
        assert asked == stored["fingerprint"]["min_focus"]
        assert asked > open_bundle(bundle).manifest.gate.min_focus


def test_slides_of_one_frame_each_give_all_the_cells_they_have(
    bundle: Path, tmp_path: Path
) -> None:
    """As where one field is taken of every smear: a few cells of each frame would be too few."""
    single = write_slides(tmp_path / "single", slides=6, frames=1)
    done = run(bundle, single, tmp_path / "out", size=12)
    slides = done.report["slides"]
    assert {slide["images"] for slide in slides} == {1}
    assert sum(slide["cells"] for slide in slides) > 24


def test_a_calibrated_slide_is_known_and_another_stain_is_not(
    station: Station, bundle: Path, smears: Path, tmp_path: Path
) -> None:
    out = tmp_path / "calibrated"
    run(bundle, smears, out)
    write_slides(tmp_path / "new", slides=1, frames=8, first=50)
    other = tmp_path / "new" / "other"
    other.mkdir()
    for frame in range(8):
        darker = 235 * (smear(7000 + frame) / 235) ** 1.6
        (other / f"{frame}.png").write_bytes(png(np.clip(darker, 0, 255).astype(np.uint8)))
    arguments = ("--bundle", out, "--um-per-px", "0.2", "--json")
    slides = station.run("score", tmp_path / "new", *arguments).document["slides"]
    told = {
        slide["slide"]: [
            reason["code"] for reason in slide["reasons"] if reason["code"].startswith("domain_")
        ]
        for slide in slides
    }
    assert told["slide50"] == []
    assert "domain_stain" in told["other"]


def test_the_same_images_give_the_same_bundle(bundle: Path, smears: Path, tmp_path: Path) -> None:
    one = run(bundle, smears, tmp_path / "one")
    two = run(bundle, smears, tmp_path / "two")
    assert one.bundle.digest == two.bundle.digest


def test_without_out_the_bundle_is_replaced_by_its_next_version(
    bundle: Path, smears: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(bundle, mine)
    request = CalibrateRequest(mine, smears, um_per_px=0.2, size=20, method="minmax")
    for version in ("1.0+cal1", "1.0+cal2"):
        done = calibrate(request, lambda text, share: None)
        assert done.bundle.folder == mine
        assert open_bundle(mine).manifest.version == version
    assert len(done.report["items"]) == 20
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_few_slides_give_ranges_but_no_fingerprint(bundle: Path, tmp_path: Path) -> None:
    frames = write_slides(tmp_path / "frames", slides=2, frames=8)
    done = run(bundle, frames, tmp_path / "out")
    assert done.bundle.manifest.domain is None
    assert done.bundle.manifest.calibration is not None
    assert done.report["fingerprint"] == {
        "strength": "none",
        "slides": ["slide0", "slide1"],
        "min_focus": None,
        "min_detail": None,
    }
    assert done.bundle.manifest.gate == open_bundle(bundle).manifest.gate


def test_test_slides_are_left_out_when_that_is_asked_for(
    bundle: Path, smears: Path, tmp_path: Path
) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("slide,label,split\nslide1,APL,test\nslide2,AML,train\n")
    more = {"exclude": labels, "leave_out_excluded": True}
    done = run(bundle, smears, tmp_path / "out", **more)
    assert done.report["excluded_slides"] == ["slide1"]
    assert "slide1" not in {slide["name"] for slide in done.report["slides"]}


def damage(folder: Path, kind: str) -> Path:
    """Make a calibration folder that must be refused."""
    if kind == "empty":
        folder.mkdir()
        return folder
    write_slides(folder, slides=1 if kind == "one slide" else 2, frames=4)
    place = folder / "slide0" / "0.png"
    if kind == "black":
        place.write_bytes(png(np.zeros((300, 300, 3), np.uint8)))
    elif kind == "saturated":
        place.write_bytes(png(np.full((300, 300, 3), 255, np.uint8)))
    elif kind == "damaged":
        place.write_bytes(place.read_bytes()[:2000])
    elif kind == "few cells":
        for path in folder.glob("*/[1-3].png"):
            path.unlink()
    return folder


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("empty", "no images in folder"),
        ("one slide", "one slide only: slide0"),
        ("black", "slide0/0.png (the image is black"),
        ("saturated", "slide0/0.png (the image is overexposed"),
        ("damaged", "slide0/0.png"),
        ("few cells", "cells: slide0, slide1"),
    ],
)
def test_an_unfit_folder_is_refused_in_one_line_and_nothing_is_written(
    bundle: Path, tmp_path: Path, kind: str, words: str
) -> None:
    frames = damage(tmp_path / "frames", kind)
    with pytest.raises(EdgeAplError) as caught:
        run(bundle, frames, tmp_path / "out")
    assert caught.value.exit_code == 3
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["frames"]


@pytest.mark.parametrize("renamed", [False, True])
def test_test_slides_in_the_set_are_refused_also_under_another_name(
    bundle: Path, tmp_path: Path, renamed: bool
) -> None:
    frames = write_slides(tmp_path / "frames", slides=2)
    shutil.copytree(frames / "slide1", tmp_path / "tests" / "slide1")
    (tmp_path / "tests" / "labels.csv").write_text("slide,label\nslide1,APL\n")
    if renamed:
        (frames / "slide1").rename(frames / "training")
    with pytest.raises(
        EdgeAplError, match=r"training/0.png" if renamed else "1 test slide: slide1"
    ) as c:
        run(bundle, frames, tmp_path / "out", exclude=tmp_path / "tests" / "labels.csv")
    assert c.value.exit_code == 2


def test_renamed_test_images_are_left_out_and_counted_when_that_is_asked_for(
    bundle: Path, tmp_path: Path
) -> None:
    frames = write_slides(tmp_path / "frames", slides=3, frames=6)
    (tmp_path / "tests" / "slide9").mkdir(parents=True)
    for name in ("0.png", "1.png"):
        shutil.copy(frames / "slide1" / name, tmp_path / "tests" / "slide9" / f"renamed{name}")
    (tmp_path / "tests" / "labels.csv").write_text("slide\nslide9\n")
    more = {"exclude": tmp_path / "tests" / "labels.csv", "leave_out_excluded": True}
    slides = run(bundle, frames, tmp_path / "out", **more).report["slides"]
    assert [slide["excluded"] for slide in slides] == [0, 2, 0]
    assert [slide["looked_at"] for slide in slides] == [6, 4, 6]


def test_the_command_line_refuses_in_one_line(station: Station, bundle: Path) -> None:
    (station.folder / "nothing").mkdir()
    done = station.run("calibrate", bundle, "--frames", "nothing", "--out", "out")
    assert (done.code, len(done.error_lines)) == (3, 1)
    assert not (station.folder / "out").exists()
