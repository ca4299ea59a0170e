"""A detector learns from boxes: the same boxes and features as at the station, losses that fall."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")

from torch import Tensor, nn  # noqa: E402

from edgeapl.errors import InputError, UsageError  # noqa: E402
from edgeapl.export.architectures.faster_rcnn import (  # noqa: E402
    CHANNELS,
    FasterRcnnNetworks,
)
from edgeapl.export.architectures.initialise import initialise  # noqa: E402
from edgeapl.export.recipes.registry import find_recipe  # noqa: E402
from edgeapl.export.training.box_files import BoxedImage, read_boxes  # noqa: E402
from edgeapl.export.training.box_targets import (  # noqa: E402
    ANCHORS,
    BETWEEN,
    NOTHING,
    REGIONS,
    deltas_to,
    matched,
    sampled,
)
from edgeapl.export.training.detector_trainer import train_detector, write_detector  # noqa: E402
from edgeapl.export.training.device import Device  # noqa: E402
from edgeapl.export.training.frame_pool import FramePool, load_frames  # noqa: E402
from edgeapl.export.training.overrides import with_changes  # noqa: E402
from edgeapl.export.training.recipes.eckardt2022_detector import (  # noqa: E402
    DetectorRecipe,
    recipe,
)
from edgeapl.export.training.region_features import align  # noqa: E402
from edgeapl.report.pictures import png_bytes  # noqa: E402
from edgeapl.stages.detect import roi_align  # noqa: E402
from edgeapl.stages.detect.boxes import moved  # noqa: E402
from edgeapl.types import Float32  # noqa: E402
from tests.unit.test_training import Quiet  # noqa: E402

VOC = """<annotation><filename>{name}</filename>{objects}</annotation>"""
OBJECT = (
    "<object><name>{label}</name><bndbox><xmin>{0}</xmin><ymin>{1}</ymin><xmax>{2}</xmax>"
    "<ymax>{3}</ymax></bndbox></object>"
)
OF_NO_IMAGE = json.dumps(
    {"images": [], "annotations": [{"image_id": 1, "bbox": [0, 0, 1, 1]}], "categories": []}
)


class Trunk(nn.Module):  # type: ignore[misc]
    """Gives a pyramid as ResNet-50 does, in a thousandth of the time."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, CHANNELS, 4, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        first = torch.relu(self.conv(x))
        return tuple(nn.functional.avg_pool2d(first, 2**level) for level in range(4))


class Regions(nn.Module):  # type: ignore[misc]
    """Gives what the two large layers of a region do."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(CHANNELS, 1024)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.fc(x.mean((2, 3))))


class Tiny(DetectorRecipe):
    """The recipe with small networks."""

    def build(self) -> nn.Module:
        with torch.device("meta"):
            module = FasterRcnnNetworks()
        module.backbone = Trunk()
        module.roi_heads["box_head"] = Regions()
        module.rpn.to_empty(device="cpu")
        module.roi_heads["box_predictor"].to_empty(device="cpu")
        initialise(module, torch.initial_seed())
        return module


def boxes(*rows: tuple[float, ...]) -> Float32:
    return np.array(rows, dtype=np.float32).reshape(-1, 4)


def random_boxes(count: int, height: int, width: int) -> Float32:
    random = np.random.default_rng(3)
    low = random.uniform(-10, [width - 4, height - 4], (count, 2))
    high = low + random.uniform(0.5, [width, height], (count, 2))
    return np.concatenate([low, high], 1).astype(np.float32)


def write_frames(folder: Path, count: int = 3) -> Path:
    """Write frames with one cell and one platelet each, and their boxes as Pascal VOC."""
    for number in range(count):
        random = np.random.default_rng(number)
        picture = random.integers(200, 230, (96, 128, 3), dtype=np.uint8)
        x, y = random.integers(30, 66, 2).tolist()
        cv2.circle(picture, (x, y), 20, (120, 50, 150), -1)
        cv2.circle(picture, (110, 80), 4, (150, 90, 150), -1)
        (folder / f"{number}.png").write_bytes(png_bytes(picture))
        cell = OBJECT.format(x - 20, y - 20, x + 20, y + 20, label="WBC")
        text = VOC.format(name=f"{number}.png", objects=cell + OBJECT.format(
            106, 76, 114, 84, label="Platelets"))  # fmt: skip
        (folder / f"{number}.xml").write_text(text)
    return folder


def tiny(**changes: float) -> DetectorRecipe:
    made = recipe(96)
    settings = with_changes(made.settings, seed=1, **changes)  # type: ignore[arg-type]
    return Tiny(replace(settings, save_every=1), made.height, made.width)


def test_regions_have_the_features_that_the_station_gives_them() -> None:
    random = np.random.default_rng(1)
    shapes = ((24, 32), (12, 16), (6, 8), (3, 4))
    maps = [random.normal(size=(1, 5, *shape)).astype(np.float32) for shape in shapes]
    some = np.concatenate([random_boxes(40, 96, 128), boxes((-900, -900, -800, -800))])
    own = align([torch.from_numpy(one) for one in maps], some, 96)
    assert np.allclose(own.numpy(), roi_align.align(maps, some, 96), atol=1e-4)


def test_features_of_regions_pass_the_gradient_on() -> None:
    given = torch.rand(1, 2, 24, 32, requires_grad=True)
    align([given] * 4, boxes((8, 8, 40, 40)), 96).sum().backward()
    assert given.grad is not None
    assert given.grad.abs().sum() > 0


@pytest.mark.parametrize("weights", [(1.0, 1.0), (10.0, 5.0)])
def test_what_is_learned_moves_a_box_to_the_drawn_one(weights: tuple[float, float]) -> None:
    some, drawn = random_boxes(20, 96, 128), random_boxes(21, 90, 120)[1:]
    near = np.abs(deltas_to(some, drawn)[:, 2:]).max(1) < 4  # a growth has a bound
    there = moved(some, deltas_to(some, drawn, weights), weights)
    assert np.allclose(there[near], drawn[near], atol=1e-3)


def test_boxes_are_matched_as_the_paper_says() -> None:
    drawn = boxes((0, 0, 10, 10), (50, 50, 60, 60))
    some = boxes((0, 0, 10, 10), (0, 0, 10, 6), (0, 0, 10, 2), (50, 50, 60, 54), (90, 90, 99, 99))
    assert matched(some, drawn, ANCHORS).tolist() == [0, BETWEEN, NOTHING, 1, NOTHING]
    assert matched(some, drawn, REGIONS).tolist() == [0, 0, NOTHING, NOTHING, NOTHING]
    assert matched(some, boxes(), ANCHORS).tolist() == [NOTHING] * 5


def test_a_share_of_the_examples_at_most_are_cells() -> None:
    match = np.array([0] * 300 + [NOTHING] * 900 + [BETWEEN] * 9, dtype=np.int64)
    cells, nothing = sampled(match, REGIONS, torch.Generator().manual_seed(1))
    assert (len(cells), len(nothing)) == (128, 384)
    assert (match[cells] >= 0).all()
    assert (match[nothing] == NOTHING).all()
    few, rest = sampled(match[290:], ANCHORS, torch.Generator().manual_seed(1))
    assert (len(few), len(rest)) == (10, 246)


def test_boxes_are_read_from_every_format(tmp_path: Path) -> None:
    folder = write_frames(tmp_path, 2)
    wanted = read_boxes(folder, folder, ("wbc",))
    assert [len(one.boxes) for one in wanted] == [1, 1]
    assert [len(one.boxes) for one in read_boxes(folder, folder)] == [2, 2]
    rows = ["file,left,top,right,bottom,label"]
    coco: dict[str, list[dict[str, object]]] = {"images": [], "annotations": []}
    coco["categories"] = [{"id": 7, "name": "WBC"}]
    for number, one in enumerate(wanted):
        left, top, right, bottom = one.boxes[0].tolist()
        rows.append(f"{one.file},{left},{top},{right},{bottom},WBC")
        coco["images"].append({"id": number, "file_name": one.file.name})
        box = [left, top, right - left, bottom - top]
        coco["annotations"].append({"image_id": number, "bbox": box, "category_id": 7})
    (tmp_path / "cells.csv").write_text("\n".join(rows))
    (tmp_path / "boxes.json").write_text(json.dumps(coco))
    for name in ("cells.csv", "boxes.json"):
        found = read_boxes(tmp_path / name, folder)
        assert [one.file for one in found] == [one.file for one in wanted]
        for one, other in zip(found, wanted, strict=True):
            assert one.boxes.tolist() == other.boxes.tolist()


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("a.xml", VOC.format(name="gone.png", objects=""), "missing: gone.png"),
        ("a.xml", VOC.format(name="0.png", objects="<object/>"), "not understood"),
        ("a.xml", "<!DOCTYPE x><annotation/>", "declares entities"),
        ("a.csv", "file,left,top,right,bottom,label\n0.png,5,5,5,9,a\n", "no area"),
        ("a.csv", "file,left,top,right,bottom,label\n0.png,5,5,nan,9,a\n", "no area"),
        ("a.csv", "file,left,top,right,bottom,label\n0.png,x,5,5,9,a\n", "line 2"),
        ("a.csv", "file,label\n0.png,a\n", "no boxes"),
        ("a.json", '{"images": [], "annotations": [], "categories": []}', "no box"),
        ("a.json", OF_NO_IMAGE, "of no image"),
    ],
)  # fmt: skip
def test_boxes_that_are_none_are_refused(name: str, text: str, line: str, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    write_frames(images, 1)
    home = tmp_path / "boxes"
    home.mkdir()
    (home / name).write_text(text)
    with pytest.raises(InputError, match=line):
        read_boxes(home if name.endswith("xml") else home / name, images)


def test_images_of_one_name_are_told_by_their_folder_or_refused(tmp_path: Path) -> None:
    for home in ("a", "b"):
        (tmp_path / home).mkdir()
        write_frames(tmp_path / home, 1)
    with pytest.raises(InputError, match=r"2 images have the name: 0\.png"):
        read_boxes(tmp_path / "a", tmp_path)
    text = (tmp_path / "a" / "0.xml").read_text().replace("0.png", "b/0.png")
    (tmp_path / "a" / "0.xml").write_text(text)
    (image,) = read_boxes(tmp_path / "a", tmp_path)
    assert image.file == tmp_path / "b" / "0.png"


def test_boxes_move_with_their_frame(tmp_path: Path) -> None:
    (image,) = read_boxes(write_frames(tmp_path, 1), tmp_path, ("WBC",))
    pool = load_frames([image], 192, 192, lambda done, total: None)  # 128 x 96 px, made larger
    assert np.allclose(pool.boxes[0], image.boxes * 1.5)
    left, top, right, bottom = pool.boxes[0][0].astype(int).tolist()
    inside = pool.pixels[0, (top + bottom) // 2, (left + right) // 2]
    assert inside.tolist() == pytest.approx([120, 50, 150], abs=12)


def test_boxes_are_mirrored_with_their_frame(tmp_path: Path) -> None:
    pixels = np.full((1, 96, 128, 3), 220, dtype=np.uint8)
    cv2.circle(pixels[0], (25, 30), 20, (120, 50, 150), -1)
    pool = FramePool(pixels, (boxes((5, 10, 45, 50)),), (tmp_path / "a.png",), ("",))
    objective = tiny().objective(pool, np.array([0]), Device())
    corners = set()
    for seed in range(12):
        frame, moved_boxes = objective.augmented(0, torch.Generator().manual_seed(seed))
        left, top, right, bottom = moved_boxes[0].round().astype(int).tolist()
        corners.add((left, top))
        assert frame[0, 1, (top + bottom) // 2, (left + right) // 2] < -0.5  # dark, as the cell
        assert frame[0, 1, top, left] > 0  # light, as the ground
    assert len(corners) == 4


def test_it_learns_and_goes_on_after_a_kill(tmp_path: Path) -> None:
    images = read_boxes(write_frames(tmp_path, 2), tmp_path, ("WBC",))
    few = tiny(epochs=3, batch=1, rate=0.002)
    watcher = Quiet()
    whole = train_detector(few, images, Device(), tmp_path / "whole", watcher)
    losses = [epoch.loss for epoch in watcher.epochs]
    assert losses[-1] < losses[0]
    with pytest.raises(KeyboardInterrupt):
        train_detector(few, images, Device(), tmp_path / "cut", Quiet(stop_at=4))
    again = train_detector(few, images, Device(), tmp_path / "cut", Quiet())
    own, other = whole.module.state_dict(), again.module.state_dict()
    assert all(torch.equal(own[name], other[name]) for name in own)
    write_detector(whole, tmp_path)
    assert torch.load(tmp_path / "weights.pt", weights_only=True).keys() == own.keys()
    other_boxes = [BoxedImage(one.file, one.boxes + 1) for one in images]
    with pytest.raises(UsageError, match="another training"):
        train_detector(few, other_boxes, Device(), tmp_path / "whole", Quiet())


def test_the_networks_are_those_of_the_export() -> None:
    with torch.device("meta"):
        own = {name: one.shape for name, one in recipe().build().state_dict().items()}
        for network in find_recipe("eckardt2022").networks[:2]:
            other = network.build({}).state_dict().items()
            assert {name: one.shape for name, one in other} == own


def test_folds_keep_images_that_show_the_same_together(tmp_path: Path) -> None:
    images = read_boxes(write_frames(tmp_path, 2), tmp_path, ("WBC",))
    copy = tmp_path / "copy.png"
    copy.write_bytes(images[0].file.read_bytes())
    images.append(BoxedImage(copy, images[0].boxes))
    made = train_detector(tiny(epochs=1), images, Device(), tmp_path, Quiet(), folds=2)
    tested = [split.tested for split, _ in made.rounds[:-1]]
    assert sorted(name for names in tested for name in names) == ["0", "1"]
    assert all(history[-1].watched_loss is not None for _, history in made.rounds[:-1])


def test_a_size_that_the_pyramid_has_not_is_refused() -> None:
    with pytest.raises(UsageError, match="100 px"):
        recipe(100)
