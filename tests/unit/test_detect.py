"""Faster R-CNN's steps at the station against slow references, and boxes found where they are."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeapl.bundle.specs import DetectorSpec
from edgeapl.errors import EngineError
from edgeapl.protocols import Arrays
from edgeapl.stages.detect.anchors import anchors
from edgeapl.stages.detect.boxes import moved, overlaps, thinned, thinned_apart
from edgeapl.stages.detect.detector import detect, letterbox
from edgeapl.stages.detect.proposals import proposals
from edgeapl.stages.detect.roi_align import align, levels_of
from edgeapl.stages.detect.segmenter import FasterRcnnSegmenter, ellipses
from edgeapl.testing import FakeEngine
from edgeapl.types import Float32, Frame

HEIGHT, WIDTH = 192, 256
SPEC = DetectorSpec(detector="d", box_head="b", input_height=HEIGHT, input_width=WIDTH)
STRIDES = (4, 8, 16, 32, 64)


def random_boxes(seed: int, count: int, side: float = 200) -> Float32:
    random = np.random.default_rng(seed)
    low = random.uniform(0, side, (count, 2))
    return np.hstack([low, low + random.uniform(1, side / 2, (count, 2))]).astype(np.float32)


def test_anchors_are_the_usual_ones() -> None:
    """Checked by hand: 32 px, ratio 0.5: 45.25 wide and 22.63 high, rounded at half."""
    found = anchors(0, 2, 2, 8, 8)
    assert found.shape == (12, 4)
    assert found[0].tolist() == [-23, -11, 23, 11]
    assert found[1].tolist() == [-16, -16, 16, 16]
    assert found[2].tolist() == [-11, -23, 11, 23]
    assert found[4].tolist() == [-12, -16, 20, 16]  # next column
    assert found[7].tolist() == [-16, -12, 16, 20]  # next row


def loop_overlap(a: Float32, b: Float32) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return float(width * height / (sum(areas) - width * height))


def loop_thinned(boxes: Float32, scores: Float32, limit: float) -> list[int]:
    left = sorted(range(len(boxes)), key=lambda row: (-scores[row], row))
    kept = []
    while left:
        best = left.pop(0)
        kept.append(best)
        left = [row for row in left if overlaps(boxes[[best]], boxes[[row]])[0, 0] <= limit]
    return kept


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 60), st.floats(0.1, 0.9))
def test_thinning_out_is_the_greedy_loop(seed: int, count: int, limit: float) -> None:
    boxes = random_boxes(seed, count)
    scores = (np.random.default_rng(seed).integers(0, 8, count) / 8).astype(np.float32)
    assert thinned(boxes, scores, limit).tolist() == loop_thinned(boxes, scores, limit)


def test_thinning_out_more_boxes_than_a_block_is_the_same_loop() -> None:
    boxes, scores = random_boxes(1, 1200), np.random.default_rng(1).random(1200).astype(np.float32)
    assert thinned(boxes, scores, 0.3).tolist() == loop_thinned(boxes, scores, 0.3)


def test_groups_are_thinned_apart_and_come_best_first() -> None:
    boxes = np.array([[0, 0, 10, 10]] * 4, np.float32)
    scores = np.array([0.1, 0.9, 0.5, 0.7], np.float32)
    kept = thinned_apart(boxes, scores, np.array([0, 0, 1, 1]), 0.5)
    assert kept.tolist() == [1, 3]
    assert thinned_apart(boxes[:0], scores[:0], np.empty(0, np.int64), 0.5).tolist() == []


def test_overlaps_are_those_of_the_loop() -> None:
    some, others = random_boxes(2, 20), random_boxes(3, 30)
    wanted = [[loop_overlap(a, b) for b in others] for a in some]
    np.testing.assert_allclose(overlaps(some, others), wanted, rtol=1e-4, atol=1e-6)


def deltas_between(start: Float32, end: Float32) -> Float32:
    """What a network would have to say to move `start` onto `end`."""
    size, wanted = start[:, 2:] - start[:, :2], end[:, 2:] - end[:, :2]
    shift = ((end[:, :2] + end[:, 2:]) - (start[:, :2] + start[:, 2:])) / 2 / size
    return np.hstack([shift, np.log(wanted / size)]).astype(np.float32)


def test_moves_undo_their_making_and_growth_is_bounded() -> None:
    start, end = random_boxes(4, 50), random_boxes(5, 50)
    np.testing.assert_allclose(moved(start, deltas_between(start, end)), end, atol=1e-2)
    weighed = deltas_between(start, end) * np.array([10, 10, 5, 5], np.float32)
    np.testing.assert_allclose(moved(start, weighed, (10.0, 5.0)), end, atol=1e-2)
    wild = moved(start[:1], np.array([[0, 0, 99, 99]], np.float32))
    assert (wild[0, 2:] - wild[0, :2] <= (start[0, 2:] - start[0, :2]) * 62.6).all()


def point(pixels: Float32, y: float, x: float) -> Float32:
    """One bilinear sample, written out as in the papers' code."""
    height, width = pixels.shape[1:]
    if y < -1 or y > height or x < -1 or x > width:
        return np.zeros(len(pixels), np.float32)
    y, x = min(max(y, 0.0), height - 1), min(max(x, 0.0), width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    dy, dx = y - top, x - left
    upper = pixels[:, top, left] * (1 - dx) + pixels[:, top, right] * dx
    lower = pixels[:, bottom, left] * (1 - dx) + pixels[:, bottom, right] * dx
    return np.asarray(upper * (1 - dy) + lower * dy, np.float32)


def loop_align(maps: list[Float32], boxes: Float32) -> Float32:
    made = np.zeros((len(boxes), maps[0].shape[1], 7, 7), np.float32)
    for row, box in enumerate(boxes):
        side = math.sqrt((box[2] - box[0]) * (box[3] - box[1]))
        level = min(5, max(2, math.floor(4 + math.log2(side / 224) + 1e-6))) - 2
        x0, y0, x1, y1 = (box / STRIDES[level]).tolist()
        wide, high = max(x1 - x0, 1.0) / 7, max(y1 - y0, 1.0) / 7
        for i in range(7):
            for j in range(7):
                made[row, :, i, j] = np.mean(
                    [
                        point(
                            maps[level][0],
                            y0 + high * (i + (a + 0.5) / 2),
                            x0 + wide * (j + (b + 0.5) / 2),
                        )
                        for a in range(2)
                        for b in range(2)
                    ],
                    axis=0,
                )
    return made


def pyramid(seed: int, channels: int = 3) -> list[Float32]:
    random = np.random.default_rng(seed)
    return [
        random.normal(size=(1, channels, HEIGHT // s, WIDTH // s)).astype(np.float32)
        for s in STRIDES[:4]
    ]


def test_features_of_regions_are_those_of_the_loop() -> None:
    boxes = random_boxes(6, 60, side=150)
    edges = [[0, 0, 256, 192], [0, 0, 1, 1], [250, 180, 256, 192], [10, 10, 10.5, 150]]
    boxes = np.vstack([boxes, np.array(edges, np.float32)])
    assert len(set(levels_of(boxes).tolist())) >= 2
    maps = pyramid(7)
    np.testing.assert_allclose(align(maps, boxes, HEIGHT), loop_align(maps, boxes), atol=1e-5)


def planted(boxes: Float32) -> tuple[FakeEngine, FakeEngine]:
    """Networks that propose exactly these boxes (network px) and call each of them a cell."""

    def propose(inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        assert inputs["frame"].shape == (1, HEIGHT, WIDTH, 3)
        maps: dict[str, NDArray[np.generic]] = {}
        for level, stride in enumerate(STRIDES):
            rows, columns = math.ceil(HEIGHT / stride), math.ceil(WIDTH / stride)
            maps[f"objectness_{level}"] = np.full((1, 3, rows, columns), -9, np.float32)
            maps[f"deltas_{level}"] = np.zeros((1, 12, rows, columns), np.float32)
        grid = anchors(0, HEIGHT // 4, WIDTH // 4, HEIGHT, WIDTH).reshape(HEIGHT // 4, -1, 3, 4)
        for number, box in enumerate(boxes):
            x, y = int(box[::2].mean() // 4), int(box[1::2].mean() // 4)
            move = deltas_between(grid[y, x, 1][None], box[None])[0]
            maps["objectness_0"][0, 1, y, x] = 9 - number / 10
            maps["deltas_0"][0, 4:8, y, x] = move
        for level, values in enumerate(pyramid(0, 256)):
            maps[f"features_{level}"] = values
        return maps

    def judge(inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        count = len(inputs["regions"])
        logits = np.tile(np.array([[9.0, -9.0]], np.float32), (count, 1))
        if state["first"]:
            logits[: len(boxes)] = [-4.0, 4.0]
        state["first"] = False
        deltas = np.zeros((count, 8), np.float32)
        return {"class_logits": logits, "box_deltas": deltas}

    state = {"first": True}
    names = [f"{kind}_{level}" for kind in ("objectness", "deltas") for level in range(5)]
    return (
        FakeEngine(propose, {"frame": ("uint8", (1, HEIGHT, WIDTH, 3))}, tuple(names)),
        FakeEngine(judge, {"regions": ("float32", (None, 256, 7, 7))}, ("class_logits",)),
    )


PLANTED = np.array([[20, 30, 60, 80], [100, 20, 150, 60], [180, 120, 240, 180]], np.float32)


@pytest.mark.parametrize(("height", "width"), [(192, 256), (768, 1024), (400, 400), (300, 800)])
def test_cells_are_found_where_they_lie_at_the_frames_own_scale(height: int, width: int) -> None:
    pixels = np.zeros((height, width, 3), np.uint8)
    scale = letterbox(pixels, HEIGHT, WIDTH)[1]
    inside = PLANTED[(PLANTED[:, 2] <= width * scale) & (PLANTED[:, 3] <= height * scale)]
    boxes, scores = detect(pixels, *planted(inside), SPEC)
    np.testing.assert_allclose(boxes, inside / scale, atol=0.6 / scale)
    assert (scores > 0.99).all()


def test_a_letterbox_keeps_proportions_and_says_its_scale() -> None:
    given, scale = letterbox(np.full((100, 400, 3), 255, np.uint8), HEIGHT, WIDTH)
    assert scale == pytest.approx(0.64)
    assert given[:64].min() == 255
    assert given[64:].max() == 0


def test_at_most_so_many_cells_as_the_bundle_says_best_first() -> None:
    spec = SPEC.model_copy(update={"max_detections": 2})
    boxes, scores = detect(np.zeros((HEIGHT, WIDTH, 3), np.uint8), *planted(PLANTED), spec)
    assert len(boxes) == 2
    assert (np.diff(scores) <= 0).all()


def test_no_cell_gives_no_detections() -> None:
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    found = FasterRcnnSegmenter(*planted(PLANTED[:0]), SPEC).segment(
        Frame(pixels, 0, 0, 0.1, "t", "0" * 64)
    )
    assert len(found) == 0


@pytest.mark.parametrize("output", ["objectness_2", "features_1", "class_logits"])
def test_what_is_no_number_is_loud(output: str) -> None:
    first, second = planted(PLANTED)

    def broken(inner: FakeEngine) -> FakeEngine:
        def answer(inputs: Arrays) -> dict[str, NDArray[np.generic]]:
            answers = dict(inner._function(inputs))
            if output in answers:
                answers[output] = np.full_like(answers[output], np.nan)
            return answers

        return FakeEngine(answer, inner.inputs, inner.outputs)

    with pytest.raises(EngineError, match=f"no number: {output}"):
        detect(np.zeros((HEIGHT, WIDTH, 3), np.uint8), broken(first), broken(second), SPEC)


def test_ellipses_fill_their_boxes_and_touching_cells_are_parted() -> None:
    boxes = np.array([[0, 0, 40, 20], [30, 0, 70, 20]], np.float32)
    labels = ellipses(boxes, 30, 80)
    assert labels[10, 5] == 1
    assert labels[10, 65] == 2
    assert labels[10, 33] == 1
    assert labels[10, 36] == 2
    assert labels[0, 0] == labels[25, 10] == 0
    area = int((ellipses(boxes[:1], 30, 80) == 1).sum())
    assert area == pytest.approx(math.pi * 20 * 10, rel=0.02)


def test_proposals_come_best_first_from_the_levels_maps() -> None:
    first, _ = planted(PLANTED)
    maps = first.run({"frame": np.zeros((1, HEIGHT, WIDTH, 3), np.uint8)})
    found = proposals(maps, HEIGHT, WIDTH)
    np.testing.assert_allclose(found[:3], PLANTED, atol=0.01)
    assert len(found) <= 1000
    assert found.min() >= 0
    assert (found.max(axis=0) <= [WIDTH, HEIGHT, WIDTH, HEIGHT]).all()
