"""A cell that is shown in eight views counts as eight in batches, and has one answer."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import helper

from edgeapl.bundle.manifest import Manifest
from edgeapl.cli.main import run
from edgeapl.engines.ort import OrtEngine
from edgeapl.errors import EngineError
from edgeapl.explanation.network_queries import query_in_all_views, query_networks
from edgeapl.inference import InferenceResult, classify, scheduler_for
from edgeapl.inference.cell_image import CellImage
from edgeapl.inference.cell_views import CellViews
from edgeapl.inference.routing import chain_links
from edgeapl.model import ModelRequest, open_model, trial
from edgeapl.pipeline.examiner import Examiner
from edgeapl.protocols import Arrays, CellChain, Engine
from edgeapl.report.context import report_context
from edgeapl.stages.colour_transfer import with_colours
from edgeapl.stages.crop import CellImages, UncutCells, cut_cells, uncut_cells
from edgeapl.stages.views import view_of
from edgeapl.testing import FakeDriver
from edgeapl.types import Detections, UInt8
from tests.fake_tensorrt import FakeTensorRt
from tests.gpu_chain import OTHERS, RECOLOURED, chain_on, engines_on
from tests.small_bundle import ROLES, SIZE, head_network, pooled_network, settings, small_bundle
from tests.unit.test_scheduler_on_device import frame_of

VIEWS = 8


def corner_network() -> bytes:
    """Judge by what lies to the left and at the top, so that every view has its own answer."""
    slope = np.linspace(2, 0, SIZE, dtype=np.float32)
    where = (slope[:, None] * slope[None] ** 2)[..., None]
    before = [
        helper.make_node("Mul", ["scaled", "where"], ["weighed"]),
        helper.make_node("ReduceMean", ["weighed", "axes"], ["features"], keepdims=0),
    ]
    values: dict[str, Any] = {
        "where": where,
        "axes": np.array([1, 2]),
        "weights": (8 * np.eye(3)).astype(np.float32),
        "bias": np.full(3, -3, np.float32),
    }
    return pooled_network(before, values)


NETWORKS = {"first": corner_network(), "second": head_network(), "red": corner_network()}


def manifest(views: int = VIEWS, **crop: Any) -> Manifest:
    """Every network of a kind: one sees all cells, one takes its features, one sees a class."""
    kept = settings(
        crop={"window_um": 6.4, "size_px": SIZE, "views": views, **crop},
        networks={
            "first": {"file": "n.onnx", "input": "cells", "classes": list(ROLES)},
            "second": {"file": "n.onnx", "input": "ratios", "after": "first.features"},
            "red": {"file": "n.onnx", "input": "cells", "when": f"first.{ROLES[0]}"},
        },
        roles=[
            {"name": n, "network": w, "output": o, "threshold": 0.5, "suspicious": n == "apl"}
            for n, w, o in (
                ("promyelocyte", "first", ROLES[0]),
                ("apl", "second", "apl"),
                ("deep", "red", ROLES[1]),
            )
        ],
        reducer={"kind": "vote"},
        features="first.features",
    )
    files = dict.fromkeys(["n.onnx", "MODEL_CARD.md", "golden.png", "golden.npz"], "0" * 64)
    return Manifest.model_validate({"schema_version": 1, **kept, "files": files})


def lopsided(cells: int) -> Detections:
    """Cells whose four quarters have colours of their own, so that no two views are alike."""
    rng = np.random.default_rng(5)
    plain = frame_of(3, cells)
    pixels = plain.frame.pixels.copy()
    for x0, y0, x1, y1 in plain.boxes.astype(int).tolist():
        for left in (x0, (x0 + x1) // 2):
            for top in (y0, (y0 + y1) // 2):
                pixels[top : top + 15, left : left + 15] = rng.integers(0, 256, 3)
    return replace(plain, frame=replace(plain.frame, pixels=pixels))


FOUND = lopsided(7)
SPEC = manifest().crop
CELLS = cut_cells(FOUND, SPEC)


def engines() -> dict[str, Engine]:
    return {name: OrtEngine(name, onnx) for name, onnx in NETWORKS.items()}


def answered(
    cells: CellImages, of: Manifest | None = None, chain: CellChain | None = None
) -> InferenceResult:
    return classify(of or manifest(), engines(), cells, 4, chain=chain).checked()


def one_by_one(cells: UInt8) -> dict[str, NDArray[np.float32]]:
    """The mean over eight runs, each with all cells turned alike."""
    runs = [
        classify(manifest(1), engines(), np.stack([view_of(c, view) for c in cells])).scores
        for view in range(VIEWS)
    ]
    means = {name: np.mean([one.roles[name] for one in runs], axis=0) for name in runs[0].roles}
    return {**means, "features": np.mean([one.features for one in runs], axis=0)}


def agree(got: InferenceResult, wanted: Mapping[str, NDArray[np.float32]]) -> None:
    assert got.scores.ids.tolist() == list(range(len(wanted["apl"])))
    for name, values in got.scores.roles.items():
        np.testing.assert_allclose(values, wanted[name], atol=1e-6)
    np.testing.assert_allclose(got.scores.features, wanted["features"], atol=1e-6)


def test_a_square_has_eight_views_and_the_first_is_itself() -> None:
    image = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    seen = [view_of(image, view) for view in range(VIEWS)]
    turns = [np.rot90(each, k) for each in (image, image[:, ::-1]) for k in range(4)]
    np.testing.assert_array_equal(seen[0], image)
    assert {one.tobytes() for one in seen} == {one.tobytes() for one in turns}


@pytest.mark.parametrize("cells", [CELLS, uncut_cells(FOUND, SPEC)], ids=["cut", "uncut"])
def test_the_answer_is_the_mean_over_the_views(cells: CellImages) -> None:
    wanted = one_by_one(CELLS)
    agree(answered(cells), wanted)
    alone = answered(CELLS, manifest(1)).scores
    assert (
        max(np.abs(alone.roles[name] - wanted[name]).max() for name in wanted.keys() - {"features"})
        > 0.05
    )
    # Some views of some cell are shown to `red`, and some are not: the others count 0.
    assert ((wanted["deep"] > 0) & (wanted["deep"] < 0.15)).any()


def test_a_device_gives_the_same() -> None:
    of = manifest()
    fake = FakeTensorRt(FakeDriver(), 8, OTHERS)
    plans = engines_on(fake, NETWORKS)
    chain = chain_on(fake, plans, chain_links(of), of.crop)
    chain.warm_up()
    got = classify(of, plans, uncut_cells(FOUND, SPEC), 8, chain=chain).checked()
    agree(got, one_by_one(CELLS))
    assert chain.moved.batches >= len(CELLS)


def test_a_device_and_the_processor_agree_with_both_settings() -> None:
    """Crops differ by one grey value, which these networks turn into less than 0.01."""
    of = manifest(**RECOLOURED.model_dump(mode="json", include={"colour_transfer", "colours"}))
    found = with_colours(FOUND, of.crop)
    fake = FakeTensorRt(FakeDriver(), 8, OTHERS)
    plans = engines_on(fake, NETWORKS)
    chain = chain_on(fake, plans, chain_links(of), of.crop)
    got = classify(of, plans, uncut_cells(found, of.crop), 8, chain=chain).checked()
    here = answered(uncut_cells(found, of.crop), of).scores
    plain = answered(CELLS).scores
    assert got.scores.ids.tolist() == here.ids.tolist() == list(range(7))
    for name, values in got.scores.roles.items():
        np.testing.assert_allclose(values, here.roles[name], atol=0.01)
    assert np.abs(here.roles["promyelocyte"] - plain.roles["promyelocyte"]).max() > 0.05


def test_a_plan_for_one_view_is_refused_where_eight_are_asked_for() -> None:
    of = manifest()
    for built, asked in ((manifest(1), of), (of, manifest(1))):
        fake = FakeTensorRt(FakeDriver(), 8, OTHERS)
        plans = engines_on(fake, NETWORKS)
        chain = chain_on(fake, plans, chain_links(of), built.crop)
        result = classify(asked, plans, uncut_cells(FOUND, asked.crop), 8, chain=chain)
        with pytest.raises(EngineError, match="build the engines again"):
            result.checked()


class Counted:
    """An engine that notes its batches, and fails or gives no number when told to."""

    def __init__(self, engine: Engine, broken: bytes | None = None, *, fails: bool = False) -> None:
        self._engine = engine
        self._broken = broken
        self._fails = fails
        self.batches: list[int] = []
        self.runtime, self.digest = engine.runtime, engine.digest
        self.inputs, self.outputs = engine.inputs, engine.outputs

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        (rows,) = inputs.values()
        self.batches.append(len(rows))
        answers = self._engine.run(inputs)
        for row, given in enumerate(rows):
            if given.tobytes() == self._broken:
                if self._fails:
                    raise EngineError("told to by the test")
                answers[ROLES[0]] = answers[ROLES[0]].copy()
                answers[ROLES[0]][row] = np.nan
        return answers

    def close(self) -> None:
        self._engine.close()


def test_views_fill_batches_as_cells_do() -> None:
    counted = {name: Counted(engine) for name, engine in engines().items()}
    scheduler = scheduler_for(manifest(), counted, 16)
    scheduler.enter(np.arange(7), CELLS)
    assert scheduler.held == frozenset(range(7))
    scheduler.run(flush=True)
    assert counted["first"].batches == [16, 16, 16, 8]
    assert scheduler.held == frozenset()


@pytest.mark.parametrize("fails", [False, True], ids=["no number", "failed run"])
def test_a_cell_with_a_view_without_an_answer_is_one_failed_cell(fails: bool) -> None:
    broken = view_of(CELLS[2], 5).tobytes()
    counted = {name: Counted(engine) for name, engine in engines().items()}
    counted["first"] = Counted(engines()["first"], broken, fails=fails)
    result = classify(manifest(), counted, CELLS, 1)
    assert result.failed.tolist() == [2]
    assert result.scores.ids.tolist() == [0, 1, 3, 4, 5, 6]
    assert [ids.tolist() for ids in result.affected] == ([[2]] if fails else [])
    # The three views behind the broken one are never run.
    assert sum(counted["first"].batches) == 7 * VIEWS - 2


def test_a_cell_that_is_given_up_takes_all_its_views_along() -> None:
    scheduler = scheduler_for(manifest(), engines(), 4)
    scheduler.enter(np.arange(7), CELLS)
    assert scheduler.give_up(np.array([1, 4, 99])).tolist() == [1, 4]
    assert scheduler.held == frozenset({0, 2, 3, 5, 6})
    assert scheduler.run(flush=True).scores.ids.tolist() == [0, 2, 3, 5, 6]


def test_a_cell_is_returned_when_its_last_view_is_done_and_not_before() -> None:
    scheduler = scheduler_for(manifest(), engines(), 4)
    scheduler.enter(np.arange(2), CELLS[:2])
    returned: list[int] = []
    steps = 0
    while scheduler.held:
        steps += 1
        returned += scheduler.step(flush=True).scores.ids.tolist()
        if steps == 1:
            assert not returned
    assert sorted(returned) == [0, 1]


@pytest.mark.parametrize(
    ("views", "pending", "asked"), [(1, 32, 1), (1, 33, 0), (8, 4, 1), (8, 5, 0)]
)
def test_a_camera_is_asked_for_its_next_frame_when_as_few_views_wait_as_cells_would(
    views: int, pending: int, asked: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crop = {"window_um": 6.4, "size_px": SIZE, "views": views}
    bundle = small_bundle(tmp_path / "bundle", crop=crop)
    requests: list[int] = []
    producer: Any = SimpleNamespace(request_frame=lambda: requests.append(1))
    waiting = [SimpleNamespace(pending=pending)]
    monkeypatch.setattr(Examiner, "_frames", property(lambda self: iter(waiting)))
    with (
        open_model(ModelRequest(bundle.folder)) as model,
        Examiner(model, producer, None, None, fill=False) as examiner,
    ):
        examiner._request_frame()
    assert len(requests) == asked


def test_the_time_of_a_trial_knows_how_many_views_are_run() -> None:
    assert trial.limit_of("field", 8) > trial.limit_of("field") == trial.LIMIT_S


@pytest.mark.parametrize("view", [0, 5])
def test_the_pixels_of_a_view_are_free_as_soon_as_nobody_needs_them(view: int) -> None:
    image = CellImage(uncut_cells(FOUND, SPEC), 0)
    seen = image.seen(view)
    alive = [weakref.ref(one.pixels) for one in (image, seen)]
    gc.disable()  # a circle of references would wait for it
    try:
        del image, seen
        assert [one() for one in alive] == [None, None]
    finally:
        gc.enable()


def test_a_cell_is_cut_and_held_once_for_all_its_views(monkeypatch: pytest.MonkeyPatch) -> None:
    cut: list[int] = []
    cut_one = UncutCells.cut_one

    def counted(cells: UncutCells, row: int) -> UInt8:
        cut.append(row)
        return cut_one(cells, row)

    monkeypatch.setattr(UncutCells, "cut_one", counted)
    scheduler = scheduler_for(manifest(), engines(), 4)
    scheduler.enter(np.arange(7), uncut_cells(FOUND, SPEC))
    scheduler.run_network("first")
    assert sorted(cut) == list(range(7))
    assert 0 < scheduler.held_bytes <= 7 * SIZE * SIZE * 3
    agree(scheduler.run(flush=True), one_by_one(CELLS))
    assert len(cut) == 7
    assert scheduler.held_bytes == 0


def test_with_one_view_nothing_is_copied_or_counted_otherwise() -> None:
    one = CellViews(1)
    assert one.of(np.array([3, 9])).tolist() == [3, 9]
    answer = {"n": {"p": np.float32(0.25)}}
    done: dict[int, Any] = {3: answer}
    complete: dict[int, Any] = dict(one.take_complete(done))
    assert complete[3] is answer
    assert not done


def test_a_bundle_is_sealed_with_eight_views_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crop = {"window_um": 6.4, "size_px": SIZE}
    plain = small_bundle(tmp_path / "plain", cells=corner_network(), crop={**crop, "views": 1})
    turned = small_bundle(tmp_path / "turned", cells=corner_network(), crop={**crop, "views": 8})
    assert b"views" not in (plain.folder / "bundle.toml").read_bytes()
    assert plain.manifest.subject != turned.manifest.subject
    answers = [np.load(one.folder / "golden.npz")["promyelocyte"] for one in (plain, turned)]
    assert np.abs(answers[0] - answers[1]).max() > 0.01
    assert "8 views" in report_context(turned.manifest, crops=False).cells_shown
    assert run(["inspect", str(turned.folder)]) == 0
    assert "8 views" in " ".join(capsys.readouterr().out.split())
    with open_model(ModelRequest(turned.folder)) as model:
        asked = query_in_all_views(model, CELLS, 4)
        known = classify(model.bundle.manifest, model.engines, CELLS).scores
        mine = [float(one["cells"]["promyelocyte"]) for one in asked if one["cells"]]
        np.testing.assert_allclose(mine, known.roles["promyelocyte"], atol=1e-6)
        assert query_in_all_views(model, CELLS[:0], 4) == query_networks(model, CELLS[:0], 4) == []
