"""Segment Anything at the station: prompts, masks, whose outline a mask is, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgeapl.bundle.specs import SamSpec, SegmenterSpec
from edgeapl.calibration.calibrator import CalibrateRequest, calibrate
from edgeapl.cli.main import run
from edgeapl.errors import EngineError, UsageError
from edgeapl.model import ModelRequest, open_model, trial
from edgeapl.model.resolution import resolve
from edgeapl.model.segmenter_choice import check_segmenter, with_segmenter
from edgeapl.protocols import Arrays
from edgeapl.stages.clearance import Clearing
from edgeapl.stages.crop import cut_cells
from edgeapl.stages.sam import SamSegmenter
from edgeapl.stages.sam.masks import outline, part_of_frame, stability
from edgeapl.stages.sam.prompts import of_boxes, of_grid
from edgeapl.stages.segment import HsvWatershed
from edgeapl.station.hosted_model import open_hosted
from edgeapl.testing import FakeEngine
from edgeapl.types import Certificate, Detections, Float32, Frame
from tests.conv_bundle import conv_network, write_slides
from tests.sam_bundle import GRID, SIDE, STEEP, sam_bundle, sam_decoder
from tests.small_bundle import drawn_field, png, small_bundle

FINE = SIDE // 4
SPEC = SamSpec(encoder="e", decoder="d", side=SIDE)
CELLS = ((60, 60), (150, 130))


def field(cells: tuple[tuple[int, int], ...] = CELLS) -> Frame:
    return Frame(drawn_field(cells), 0, 0, 0.2, "t", "0" * 64)


Answer = Callable[[NDArray[np.float32]], tuple[NDArray[np.float32], NDArray[np.float32]]]


def positions() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    steps = ((np.arange(FINE) + 0.5) * 4).astype(np.float32)
    x, y = np.meshgrid(steps, steps)
    return x, y


def disc(x: float, y: float, radius: float) -> NDArray[np.float32]:
    """Logits of a disc, in input px."""
    columns, rows = positions()
    away = ((columns - x) ** 2 + (rows - y) ** 2) / radius**2
    return (STEEP * (1 - away)).astype(np.float32)


def ellipses(prompts: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Answer a box with the ellipse in it."""
    columns, rows = positions()
    masks = []
    for low, high in prompts[..., :2]:
        middle, radius = (low + high) / 2, (high - low) / 2
        away = ((columns - middle[0]) / radius[0]) ** 2 + ((rows - middle[1]) / radius[1]) ** 2
        masks.append(STEEP * (1 - away))
    four = np.repeat(np.array(masks, np.float32)[:, None], 4, axis=1)
    return four, np.full((len(prompts), 4), 0.97, np.float32)


def networks(answer: Answer = ellipses) -> tuple[FakeEngine, FakeEngine]:
    def encode(inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        return {"embedding": np.zeros((1, 256, GRID, GRID), np.float32)}

    def decode(inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        masks, quality = answer(np.asarray(inputs["prompts"], np.float32))
        return {"masks": masks, "predicted_iou": quality}

    prompts: dict[str, tuple[str, tuple[int | None, ...]]] = {
        "prompts": ("float32", (None, 2, 3)),
        "embedding": ("float32", (1, 256, GRID, GRID)),
    }
    return (
        FakeEngine(encode, {"image": ("uint8", (1, SIDE, SIDE, 3))}, ("embedding",)),
        FakeEngine(decode, prompts, ("masks", "predicted_iou")),
    )


def overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / (one | other).sum())


def segmented(answer: Answer, spec: SamSpec = SPEC, frame: Frame | None = None) -> Detections:
    return SamSegmenter(*networks(answer), spec).segment(frame or field())


def test_a_box_is_its_corners_and_a_grid_is_spread_evenly() -> None:
    (box,) = of_boxes(np.array([[10, 20, 30, 60]], np.float32), 0.5)
    assert box.tolist() == [[5, 10, 2], [15, 30, 3]]
    grid = of_grid(2, 100, 200, 0.5)
    assert grid[:, 0].tolist() == [[25, 12.5, 1], [75, 12.5, 1], [25, 37.5, 1], [75, 37.5, 1]]
    assert (grid[:, 1] == [0, 0, -1]).all()


def test_the_encoder_is_run_once_and_the_decoder_on_full_batches() -> None:
    encoder, decoder = networks()
    frame = field(((40, 40), (150, 40), (40, 150)))
    found = SamSegmenter(encoder, decoder, SPEC.model_copy(update={"batch_size": 2}))
    assert len(found.segment(frame)) == 3
    assert (encoder.runs, decoder.runs) == (1, 2)
    assert len(found.segment(field(()))) == 0
    assert (encoder.runs, decoder.runs) == (1, 2), "a frame without cells costs nothing"


def test_outlines_are_the_masks() -> None:
    frame = field()
    classical = HsvWatershed().segment(frame)
    found = segmented(ellipses)
    assert len(found) == len(classical) == 2
    for row, (x0, y0, x1, y1) in enumerate(classical.boxes.tolist()):
        y, x = np.mgrid[: frame.height, : frame.width] + 0.5
        wanted = ((x - (x0 + x1) / 2) / ((x1 - x0) / 2)) ** 2
        wanted = wanted + ((y - (y0 + y1) / 2) / ((y1 - y0) / 2)) ** 2 < 1
        assert overlap(found.labels == row + 1, wanted) > 0.95
        rows, columns = np.nonzero(found.labels == row + 1)
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert found.boxes[row].tolist() == box
    assert (found.scores == classical.scores).all()


def lower(quality: float) -> Answer:
    def answer(prompts: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        masks, predicted = ellipses(prompts)
        return masks, np.full_like(predicted, quality)

    return answer


def flat(prompts: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    masks, predicted = ellipses(prompts)
    return masks / np.float32(STEEP / 4), predicted


def elsewhere(prompts: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return ellipses(prompts + np.array([30, 0, 0], np.float32))


def everything(prompts: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    masks, predicted = ellipses(prompts)
    return np.full_like(masks, STEEP), predicted


def nothing(prompts: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    masks, predicted = ellipses(prompts)
    return np.full_like(masks, -STEEP), predicted


@pytest.mark.parametrize("answer", [lower(0.5), flat, elsewhere, everything, nothing])
def test_a_cell_without_a_good_mask_keeps_its_classical_outline(answer: Answer) -> None:
    classical = HsvWatershed().segment(field())
    found = segmented(answer)
    np.testing.assert_array_equal(found.labels, classical.labels)
    np.testing.assert_array_equal(found.boxes, classical.boxes)


def test_cells_that_touch_stay_apart() -> None:
    frame = field(((70, 100), (128, 100)))
    classical = HsvWatershed().segment(frame)
    assert len(classical) == 2

    def wide(prompts: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        low, high = prompts[:, :1].copy(), prompts[:, 1:].copy()
        low[..., :2] -= 4
        high[..., :2] += 4
        return ellipses(np.concatenate([low, high], axis=1))

    found = segmented(wide, frame=frame)
    assert not (found.labels == classical.labels).all()
    for row in (1, 2):
        taken = (found.labels == row) & (classical.labels == 3 - row)
        assert not taken.any(), "what is the other cell's stays there"


def on_grid(prompts: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Points in a cell: its nucleus, the whole cell, and all there is; others: a red cell."""
    scale = SIDE / 200
    masks = np.full((len(prompts), 4, FINE, FINE), -STEEP, np.float32)
    quality = np.full((len(prompts), 4), 0.95, np.float32)
    for row, (x, y, _) in enumerate(prompts[:, 0]):
        masks[row, 1] = disc(x, y, 8)
        for cell in CELLS:
            middle = np.array(cell) * scale
            if np.hypot(*(middle - (x, y))) < 32 * scale:
                masks[row, 1] = disc(middle[0], middle[1], 26 * scale)
                masks[row, 2] = disc(middle[0], middle[1], 32 * scale)
                masks[row, 3] = STEEP
    return masks, quality


def test_of_a_grid_each_cell_takes_the_mask_that_agrees_best() -> None:
    spec = SPEC.model_copy(update={"prompts": "grid", "grid": 16, "batch_size": 64})
    encoder, decoder = networks(on_grid)
    found = SamSegmenter(encoder, decoder, spec).segment(field())
    assert (encoder.runs, decoder.runs) == (1, 4)
    assert len(found) == 2
    for x, y in CELLS:
        label = int(found.labels[y, x])
        wanted = np.zeros(found.labels.shape, np.uint8)
        cv2.circle(wanted, (x, y), 32, 1, -1)
        assert overlap(found.labels == label, wanted > 0) > 0.9


def test_masks_that_are_no_cell_are_not_taken() -> None:
    """Red cells and background: nothing of them is a nucleated cell."""
    spec = SPEC.model_copy(update={"prompts": "grid", "grid": 4})
    found = segmented(lambda prompts: (on_grid(prompts)[0] * 0 + STEEP, on_grid(prompts)[1]), spec)
    np.testing.assert_array_equal(found.labels, HsvWatershed().segment(field()).labels)


@pytest.mark.parametrize(("height", "width"), [(200, 200), (192, 256), (60, 90), (700, 400)])
def test_an_outline_is_that_of_logits_brought_to_the_frame(height: int, width: int) -> None:
    """Segment Anything enlarges twice, to its image and then to the frame; here it is once."""
    scale = SIDE / max(height, width)
    x, y, radius = 0.4 * width * scale, 0.6 * height * scale, 0.2 * min(height, width) * scale
    logits = disc(x, y, radius)
    mask = outline(part_of_frame(logits, scale, height, width), scale, height, width, 0.9)
    assert mask is not None
    large = cv2.resize(logits, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    rows, columns = round(height * scale), round(width * scale)
    twice = cv2.resize(large[:rows, :columns], (width, height), interpolation=cv2.INTER_LINEAR)
    have = np.zeros((height, width), bool)
    have[mask.window] = mask.inside
    assert overlap(have, twice > 0) > 0.97
    assert mask.box == (
        mask.left,
        mask.top,
        *np.add((mask.left, mask.top), mask.inside.shape[::-1]),
    )


def test_a_mask_is_one_piece_without_holes() -> None:
    logits = np.maximum(disc(60, 60, 40), disc(116, 116, 8))
    logits = np.minimum(logits, -disc(60, 60, 10))
    mask = outline(logits, 1.0, SIDE, SIDE, 0.9)
    assert mask is not None
    assert mask.inside[60 - mask.top, 60 - mask.left]
    assert mask.box[2] < 110


def test_stability_is_the_overlap_of_two_thresholds() -> None:
    logits = np.array([[-2, -0.5], [0.5, 2]], np.float32)
    assert stability(logits) == pytest.approx(1 / 3)
    assert stability(np.full((2, 2), -5, np.float32)) == 0


def replaced(name: str, value: Callable[[Float32], Float32]) -> tuple[FakeEngine, FakeEngine]:
    def broken(inner: FakeEngine) -> FakeEngine:
        def answer(inputs: Arrays) -> dict[str, NDArray[np.generic]]:
            answers = dict(inner._function(inputs))
            if name in answers:
                answers[name] = value(np.asarray(answers[name], np.float32))
            return answers

        return FakeEngine(answer, inner.inputs, inner.outputs)

    encoder, decoder = networks()
    return broken(encoder), broken(decoder)


@pytest.mark.parametrize("name", ["embedding", "masks", "predicted_iou"])
def test_what_is_no_number_is_loud(name: str) -> None:
    broken = replaced(name, lambda values: np.full_like(values, np.nan))
    with pytest.raises(EngineError, match=f"no number: {name}"):
        SamSegmenter(*broken, SPEC).segment(field())


@pytest.mark.parametrize("name", ["masks", "predicted_iou"])
def test_answers_of_another_size_are_loud(name: str) -> None:
    broken = replaced(name, lambda values: values[:, :3])
    with pytest.raises(EngineError, match=f"wrong shape: {name}"):
        SamSegmenter(*broken, SPEC).segment(field())


@pytest.mark.parametrize(
    "given",
    [
        {"kind": "sam"},
        {"kind": "hsv-watershed", "sam": {"encoder": "e", "decoder": "d", "side": 128}},
        {"kind": "sam", "sam": {"encoder": "e", "decoder": "d", "side": 100}},
        {"kind": "sam", "sam": {"encoder": "e", "decoder": "d", "side": 128, "prompts": "words"}},
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="sam"):
        SegmenterSpec.model_validate(given)


@pytest.fixture(scope="module")
def with_sam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sam_bundle(tmp_path_factory.mktemp("sam") / "bundle").folder


def test_masks_go_into_the_crops_that_show_the_mask(tmp_path: Path) -> None:
    crop = {"window_um": 16.0, "size_px": 32, "mask": True}
    tight = sam_bundle(tmp_path / "tight", decoder=sam_decoder(grown=0.8), crop=crop)
    with open_model(tight.folder) as model:
        frame = field()
        found = model.segmenter.segment(frame)
        crops = cut_cells(found, model.bundle.manifest.crop)
        classical = HsvWatershed().segment(frame)
    own = cut_cells(classical, tight.manifest.crop)
    black = [(images == 0).all(axis=3).mean() for images in (crops, own)]
    assert black[0] > black[1] + 0.1, "the smaller mask leaves more black"


def test_at_the_station_it_runs_where_cells_are_found(with_sam: Path) -> None:
    grid = ModelRequest(with_sam, segmenter="sam-grid")
    with open_hosted(with_sam) as hosted, open_model(with_sam) as here, open_model(grid) as other:
        assert isinstance(other.segmenter, SamSegmenter)
        assert other.segmenter.spec.prompts == "grid"
        frame = field()
        found, wanted = (model.segmenter.segment(frame) for model in (hosted.model, here))
    assert {group.value for group in hosted.hosts} == {"segment", "cells", "head"}
    np.testing.assert_array_equal(found.labels, wanted.labels)
    assert not np.array_equal(found.labels, HsvWatershed().segment(frame).labels)


PROOF = Certificate(
    digest="0" * 64,
    positive="apl",
    clear_below=0.1,
    alpha=0.05,
    confidence=0.95,
    patients=60,
    cleared=0,
    bound=0.05,
    drawn=False,
)


def test_another_segmenter_than_the_bundles_own_clears_nothing(with_sam: Path) -> None:
    with open_model(with_sam) as opened:
        model = replace(opened, clearing=Clearing(PROOF))
        for own in (None, "sam", "sam-boxes"):
            assert with_segmenter(model, own) is model
        classical = with_segmenter(model, "hsv-watershed")
        grid = with_segmenter(model, "sam-grid")
    assert isinstance(classical.segmenter, HsvWatershed)
    assert isinstance(grid.segmenter, SamSegmenter)
    assert grid.segmenter.spec.prompts == "grid"
    assert len({model.engine_digest, classical.engine_digest, grid.engine_digest}) == 3
    for other in (classical, grid):
        assert "what was proven was proven with sam" in other.clearing.without
    assert not with_segmenter(opened, "hsv-watershed").clearing.without, "nothing was proven"


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("sam", "bundle has no Segment Anything"),
        ("sam-grid", "bundle has no Segment Anything"),
        ("watershed", "no such segmenter"),
        ("faster-rcnn", "no such segmenter"),
    ],
)
def test_a_segmenter_that_a_bundle_has_not_is_refused_in_one_line(
    name: str, word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = small_bundle(tmp_path / "bundle").folder
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(png(drawn_field()))
    where = ["--out", str(tmp_path / "out"), "--journal", str(tmp_path / "j.db")]
    arguments = ["score", str(tmp_path / "images"), "--bundle", str(bundle), *where]
    assert run([*arguments, "--segmenter", name]) == 2
    (error,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert f"{word}: --segmenter {name}" in error
    with pytest.raises(UsageError, match=word):
        resolve(ModelRequest(bundle, segmenter=name))


def test_whole_fields_have_no_cells_to_find() -> None:
    with pytest.raises(UsageError, match="does not search for cells"):
        check_segmenter(SegmenterSpec(kind="field"), "hsv-watershed")
    check_segmenter(SegmenterSpec(kind="field"), "field")


def test_its_self_test_has_more_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opened elsewhere first, ViT-L takes minutes on a busy processor."""
    given: list[float] = []
    monkeypatch.setattr(
        trial, "call_isolated", lambda *call, limit_s, **more: given.append(limit_s)
    )
    fresh = sam_bundle(tmp_path / "bundle", version="1.1").folder
    trial.try_out(fresh, remember=False)
    assert given == [trial.SLOW_LIMIT_S]
    assert trial.limit_of("hsv-watershed") == trial.LIMIT_S


def test_it_stays_in_full_precision_where_cells_are_measured_for_eight_bits(tmp_path: Path) -> None:
    bundle = sam_bundle(tmp_path / "bundle", cells=conv_network()).folder
    slides = write_slides(tmp_path / "smears", slides=3, frames=2)
    request = CalibrateRequest(bundle, slides, um_per_px=0.2, size=8, out=tmp_path / "out")
    report = calibrate(request, lambda text, share: None).report
    assert "cells" in report["stability"]
    assert "Segment Anything is not run in eight bits" in report["kept_in_fp32"]["sam_encoder"]
    with open_model(tmp_path / "out") as model:
        assert isinstance(model.segmenter, SamSegmenter)


def test_slides_are_scored_with_it_to_the_end(with_sam: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(png(drawn_field()))
    arguments = ["score", str(tmp_path / "images"), "--bundle", str(with_sam)]
    arguments += ["--um-per-px", "0.2", "--journal", str(tmp_path / "j.db")]
    digests = set()
    for name in ("sam", "hsv-watershed"):
        out = tmp_path / name
        assert run([*arguments, "--out", str(out), "--segmenter", name]) == 0
        (record,) = [json.loads(path.read_text()) for path in out.rglob("verdict.json")]
        assert record["tally"]["scored"] == 2
        digests.add(record["engine_digest"])
    assert len(digests) == 2, "the journal tells them apart"
