"""The network that cuts cells on a GPU cuts what `cut_cells` cuts."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgeapl.bundle.specs import ColoursSpec, CropSpec, Cut
from edgeapl.engines.ort import OrtEngine
from edgeapl.engines.trt.build import build_plan
from edgeapl.engines.trt.crop_network import (
    MOST_CELLS,
    OUTPUT,
    crop_network,
    crop_ranges,
    widest,
)
from edgeapl.engines.trt.library import find_library
from edgeapl.stages.colour_transfer import with_colours
from edgeapl.stages.crop import cut_cells, cut_places
from edgeapl.stages.segment import HsvWatershed
from edgeapl.stages.views import flags_of, view_of
from edgeapl.types import Detections, Frame, UInt8

ROWS, COLUMNS, UM_PER_PX = 240, 320, 0.2
BOXES = (
    (0, 0, 30, 40),  # in a corner: most of its window lies beyond the edge
    (300, 200, 320, 240),
    (100, 100, 150.5, 130),
    (0, 100, 20, 160),
    (200, 50, 290, 170),
    (10, 220, 200, 240),
)
NO_GREYS, ONE_GREY = 0, 1

# (window_um, size_px, resized_px, mask): shrinks by areas, grows, grows and takes the middle
SPECS = {
    "shrinks": (36.0, 64, 80, False),
    "same": (20.0, 100, None, False),
    "grows": (12.8, 200, None, False),
    "middle": (20.0, 128, 144, False),
    "mask": (36.0, 64, 80, True),
    "mask that grows": (20.0, 299, None, True),
}
COLOURS = (
    ColoursSpec(mean=(-1.2, 0.1, 0.05), deviation=(1.6, 0.6, 0.4)),
    ColoursSpec(mean=(-2.5, -0.2, -0.02), deviation=(0.3, 0.1, 0.05)),
)
"""Of noise, whose own deviations are about (1.1, 0.3, 0.2)."""

BLOOD = ColoursSpec(mean=(-0.95, 0.2, 0.02), deviation=(0.17, 0.1, 0.012))
"""Like those of stained cells."""

CUTS: tuple[Cut, ...] = ("window", "square", "box")


def field(seed: int = 0) -> Detections:
    """Cells in the corners, at the edges and in the midst of noise, the hardest to cut alike."""
    pixels = np.random.default_rng(seed).integers(0, 256, (ROWS, COLUMNS, 3), dtype=np.uint8)
    labels = np.zeros((ROWS, COLUMNS), np.uint16)
    for number, (x0, y0, x1, y1) in enumerate(np.array(BOXES).astype(int).tolist(), 1):
        labels[y0:y1, x0:x1] = number
    frame = Frame(pixels, 0, 0, UM_PER_PX, "noise", "0" * 64)
    return Detections(frame, np.array(BOXES, np.float32), labels, np.ones(len(BOXES), np.float32))


def spec_of(name: str, cut: Cut = "window", colours: ColoursSpec | None = None) -> CropSpec:
    window, size, resized, mask = SPECS[name]
    return CropSpec(
        window_um=window,
        size_px=size,
        resized_px=resized,
        cut=cut,
        mask=mask,
        colour_transfer=None if colours is None else "reinhard",
        colours=colours,
    )


def cut_by(engine: OrtEngine, found: Detections, spec: CropSpec) -> UInt8:
    """Cut cells with the network as the chain on a GPU does."""
    places = np.array(cut_places(found, spec), np.int32)
    crops = []
    for first in range(0, len(found), MOST_CELLS):
        part = places[first : first + MOST_CELLS]
        inputs: dict[str, NDArray[np.generic]] = {
            "frame": found.frame.pixels.reshape(-1, 3),
            "extent": np.array(found.frame.pixels.shape[:2], np.int32),
            "places": part,
            "steps": np.arange(part[:, 2:].max(), dtype=np.int32),
        }
        if found.frame.colours is not None:
            inputs["colours"] = found.frame.colours.rows
        if spec.views > 1:
            inputs["views"] = flags_of(np.arange(first, first + len(part)) % spec.views)
        if spec.mask:
            inputs["labels"] = found.labels.reshape(-1, 1).view(np.uint8)
            numbers = np.arange(first + 1, first + len(part) + 1, dtype=np.int32)
            inputs["numbers"] = numbers
        crops.append(engine.run(inputs)[OUTPUT])
    return np.asarray(np.concatenate(crops), np.uint8)


def greys_apart(engine: OrtEngine, found: Detections, spec: CropSpec) -> tuple[int, float]:
    """Give the largest difference, and the share of values that differ."""
    found = with_colours(found, spec)
    wanted, got = cut_cells(found, spec), cut_by(engine, found, spec)
    assert got.shape == wanted.shape
    apart = np.abs(got.astype(int) - wanted)
    return int(apart.max()), float((apart > 0).mean())


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("name", SPECS)
def test_crops_differ_by_one_grey_level_at_most_also_at_the_edge(name: str, cut: Cut) -> None:
    spec = spec_of(name, cut)
    worst, share = greys_apart(OrtEngine("crop", crop_network(spec)), field(), spec)
    assert worst <= ONE_GREY
    # Where a window shrinks by whole areas nothing differs; where it grows, OpenCV's weights of
    # 11 bits move one value of noise in eight.
    assert share < 0.15
    if cut == "window" and name in ("shrinks", "same", "mask"):
        assert worst == NO_GREYS


@pytest.mark.parametrize("colours", COLOURS, ids=["wider", "narrower"])
@pytest.mark.parametrize("name", SPECS)
def test_moved_colours_differ_by_one_grey_level_at_most(name: str, colours: ColoursSpec) -> None:
    spec, found = spec_of(name, colours=colours), field()
    assert greys_apart(OrtEngine("crop", crop_network(spec)), found, spec)[0] <= ONE_GREY
    apart = cut_cells(with_colours(found, spec), spec).astype(int) - cut_cells(found, spec_of(name))
    assert np.abs(apart).mean() > 1


@pytest.mark.parametrize("name", SPECS)
def test_views_are_the_same_cut_mirrored_and_turned_to_the_last_bit(name: str) -> None:
    plain, found = spec_of(name), field()
    rows = np.tile(np.arange(len(found)), 2)[:8]
    turned = plain.model_copy(update={"views": 8})
    # Eight cuts, so that each view comes once.
    boxes = np.concatenate([found.boxes, found.boxes])[:8]
    many = Detections(found.frame, boxes, found.labels, np.ones(8, np.float32))
    if plain.mask:
        many, rows = found, np.arange(len(found))
    cut = cut_by(OrtEngine("crop", crop_network(plain)), many, plain)
    got = cut_by(OrtEngine("crop", crop_network(turned)), many, turned)
    wanted = [view_of(crop, view) for view, crop in enumerate(cut)]
    np.testing.assert_array_equal(got, wanted)
    assert len({view.tobytes() for view in got}) == len(rows)


@pytest.mark.parametrize("colours", [None, *COLOURS], ids=["none", "wider", "narrower"])
@pytest.mark.parametrize("name", SPECS)
def test_crops_stay_so_where_a_gpu_multiplies_in_tf32(
    name: str, colours: ColoursSpec | None
) -> None:
    spec = spec_of(name, colours=colours)
    rounded = OrtEngine("crop", in_tf32(crop_network(spec)))
    assert greys_apart(rounded, field(), spec)[0] <= ONE_GREY


def in_tf32(network: bytes) -> bytes:
    """Round what is multiplied to the 10 bits of TF32, those of FP16 as well."""
    model = onnx.load_model_from_string(network)
    nodes = []
    for node in model.graph.node:
        if node.op_type == "MatMul":
            for place, name in enumerate(node.input):
                half, back = f"{name}_half", f"{name}_back"
                nodes.append(helper.make_node("Cast", [name], [half], to=TensorProto.FLOAT16))
                nodes.append(helper.make_node("Cast", [half], [back], to=TensorProto.FLOAT))
                node.input[place] = back
        nodes.append(node)
    assert len(nodes) == len(model.graph.node) + 8
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return bytes(model.SerializeToString())


def test_a_neighbour_is_made_black_whatever_its_number() -> None:
    found = field()
    # 300 and 44 share their low byte.
    labels = np.where(found.labels == 3, 300, np.where(found.labels == 5, 44, 0)).astype(np.uint16)
    spec = spec_of("mask")
    inputs: dict[str, NDArray[np.generic]] = {
        "frame": np.full((ROWS * COLUMNS, 3), 200, np.uint8),
        "extent": np.array([ROWS, COLUMNS], np.int32),
        "places": np.array([[80, 20, 180, 180]], np.int32),
        "steps": np.arange(180, dtype=np.int32),
        "labels": labels.reshape(-1, 1).view(np.uint8),
    }
    engine = OrtEngine("crop", crop_network(spec))
    shown = [
        engine.run({**inputs, "numbers": np.array([n], np.int32)})[OUTPUT] for n in (300, 44, 0)
    ]
    assert all((crop == 200).any() for crop in shown)
    assert not ((shown[0] == 200) & (shown[1] == 200)).any()


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["grows", "middle", "mask"])
def test_real_cells_are_cut_alike(real_data: Path, name: str) -> None:
    folders = (real_data / "chula_wbc", real_data / "bccd")
    files = [file for folder in folders for file in sorted(folder.rglob("*.jpg"))[:3]]
    spec, cells = spec_of(name), 0
    moving = spec_of(name, colours=BLOOD)
    engine, mover = (OrtEngine("crop", crop_network(one)) for one in (spec, moving))
    for file in files:
        image = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_COLOR_RGB)
        assert image is not None
        frame = Frame(np.asarray(image, np.uint8), 0, 0, UM_PER_PX, file.name, "0" * 64)
        found = HsvWatershed().segment(frame)
        if not len(found):
            continue
        cells += len(found)
        assert greys_apart(engine, found, spec)[0] <= ONE_GREY
        assert greys_apart(mover, found, moving)[0] <= ONE_GREY
    assert cells


def test_the_widest_window_leaves_room_for_a_scale_half_the_bundles() -> None:
    spec = spec_of("shrinks")
    reach = widest(spec, UM_PER_PX)
    assert reach >= 2 * spec.window_um / UM_PER_PX
    assert crop_ranges(spec, UM_PER_PX)["steps"] == (1, 180, reach)
    recoloured = spec_of("shrinks", colours=COLOURS[0])
    assert crop_ranges(recoloured, UM_PER_PX)["colours"] == (2, 2, 2)
    turned = spec.model_copy(update={"views": 8})
    assert crop_ranges(turned, UM_PER_PX)["views"] == crop_ranges(spec, UM_PER_PX)["places"]
    assert set(crop_ranges(spec_of("mask"), UM_PER_PX)) - set(crop_ranges(spec, UM_PER_PX)) == {
        "labels",
        "numbers",
    }


@pytest.mark.parametrize(
    ("name", "colours"), [("grows", None), ("mask", None), ("mask", COLOURS[0])]
)
def test_tensorrt_rtx_builds_it(name: str, colours: ColoursSpec | None) -> None:
    pytest.importorskip("tensorrt_rtx")
    spec = spec_of(name, colours=colours)
    if colours is not None:
        spec = spec.model_copy(update={"views": 8})
    library = find_library("tensorrt-rtx")
    ranges = crop_ranges(spec, UM_PER_PX)
    plan = build_plan(crop_network(spec), name="crop", library=library, ranges=ranges)
    assert plan[:4] == b"vtrt"
