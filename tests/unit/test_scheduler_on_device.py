"""Cells that are cut and judged on a device get the answers, and the fates, of all other cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgeapl.bundle.manifest import Manifest
from edgeapl.bundle.specs import CropSpec
from edgeapl.engines.ort import OrtEngine
from edgeapl.engines.trt.chain import TrtChain
from edgeapl.engines.trt.crop_network import crop_network
from edgeapl.engines.trt.frames import PLACES
from edgeapl.errors import DeadlineError, EdgeAplError, EngineError
from edgeapl.inference import InferenceResult, Scheduler, classify, scheduler_for
from edgeapl.inference.routing import chain_links
from edgeapl.protocols import CellChain, CellsOnFrame, Engine, Link
from edgeapl.stages.crop import UncutCells, cut_cells, uncut_cells
from edgeapl.testing import FakeDriver
from edgeapl.types import Detections, Float32, Frame, UInt8
from tests.fake_tensorrt import FakeTensorRt
from tests.gpu_chain import LARGEST, OTHERS, Chained, chain_on, engines_on
from tests.small_bundle import ROLES, SIZE, cell_network, head_network, settings
from tests.unit.test_trt_crop import cut_by

SPEC = CropSpec(window_um=8.0, size_px=SIZE)
MIXED = cell_network(weights=np.array([[9, -9, 2], [1, 9, -4], [0, 2, 9]], np.float32))
NETWORKS = {
    "first": cell_network(),
    "red": MIXED,
    "green": cell_network(bias=np.zeros(3, np.float32)),
    "deep": cell_network(bias=np.full(3, -3, np.float32)),
    "second": head_network(),
}


def network(input_name: str = "cells", **changes: Any) -> dict[str, Any]:
    return {"file": "n.onnx", "input": input_name, **changes}


def manifest(**changes: Any) -> Manifest:
    """Two networks see all cells, one of them through the other; three see some."""
    roles = {
        "red": ("red", ROLES[1]),
        "green": ("green", ROLES[0]),
        "deep": ("deep", ROLES[2]),
        "apl": ("second", "apl"),
    }
    given = {
        **settings(),
        "crop": SPEC.model_dump(),
        "networks": {
            "first": network(classes=ROLES),
            "red": network(classes=ROLES, when=f"first.{ROLES[0]}"),
            "green": network(when=f"first.{ROLES[1]}"),
            "deep": network(when=f"red.{ROLES[0]}"),
            "second": network("ratios", after="first.features"),
        },
        "roles": [
            {"name": r, "network": n, "output": o, "threshold": 0.5, "suspicious": r == "apl"}
            for r, (n, o) in roles.items()
        ],
        "reducer": {"kind": "vote"},
        "features": "first.features",
        **changes,
    }
    files = dict.fromkeys(["n.onnx", "MODEL_CARD.md", "golden.png", "golden.npz"], "0" * 64)
    return Manifest.model_validate({"schema_version": 1, **given, "files": files})


def frame_of(seed: int, cells: int) -> Detections:
    """A field of cells in clear colours, so that no class hangs by a hair."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 40, (150, 180, 3), dtype=np.uint8)
    labels = np.zeros((150, 180), np.uint16)
    boxes = np.zeros((cells, 4), np.float32)
    for row in range(cells):
        x, y = 5 + 34 * (row % 5), 5 + 34 * (row // 5)
        colour = rng.permutation([230, 120, 20]) + rng.integers(-15, 15, 3)
        cv2.rectangle(pixels, (x, y), (x + 29, y + 29), colour.tolist(), -1)
        labels[y : y + 30, x : x + 30] = row + 1
        boxes[row] = x, y, x + 30, y + 30
    frame = Frame(pixels, seed, 0, 0.2, f"{seed}.png", f"{seed:064d}")
    return Detections(frame, boxes, labels, np.ones(cells, np.float32))


ROUNDING = 1e-5
"""A mean over a batch of another size is rounded otherwise."""

COUNTS = (7, 12, 1, 20, 3, 5, 16, 2)
FRAMES = [frame_of(seed, cells) for seed, cells in enumerate(COUNTS)]


def numbers(frames: Sequence[Detections]) -> list[NDArray[np.int64]]:
    ends = np.cumsum([len(found) for found in frames])
    return [np.arange(end - len(found), end) for end, found in zip(ends, frames, strict=True)]


def made(of: Manifest | None = None) -> Chained:
    of = of or manifest()
    fake = FakeTensorRt(FakeDriver(), LARGEST, OTHERS)
    engines = engines_on(fake, NETWORKS)
    return Chained(fake, engines, chain_on(fake, engines, chain_links(of), of.crop))


def on(gpu: Chained, batch_size: int = LARGEST) -> Scheduler:
    return scheduler_for(
        manifest(), gpu.engines, batch_size, workers=2, chain=gpu.chain, keep_pace=False
    )


def plain() -> Scheduler:
    engines: dict[str, Engine] = {name: OrtEngine(name, onnx) for name, onnx in NETWORKS.items()}
    return scheduler_for(manifest(), engines, LARGEST, keep_pace=False)


def enter_all(scheduler: Scheduler, frames: Sequence[Detections] = FRAMES) -> None:
    for ids, found in zip(numbers(frames), frames, strict=True):
        scheduler.enter(ids, uncut_cells(found, SPEC))


def alone(of: Manifest, frames: Sequence[Detections] = FRAMES) -> dict[str, NDArray[np.generic]]:
    """The same networks one by one, on cells cut by the same network."""
    cutter, scheduler = OrtEngine("crop", crop_network(of.crop)), plain()
    for ids, found in zip(numbers(frames), frames, strict=True):
        scheduler.enter(ids, cut_by(cutter, found, of.crop))
    return together([scheduler.run(flush=True)])


def together(parts: Sequence[InferenceResult]) -> dict[str, NDArray[np.generic]]:
    """Everything that was given about cells, in the order of their numbers."""
    ids = np.concatenate([part.scores.ids for part in parts])
    order = np.argsort(ids)
    assert len(set(ids.tolist())) == len(ids)
    roles = {
        name: np.concatenate([part.scores.roles[name] for part in parts])[order]
        for name in parts[0].scores.roles
    }
    # Without cells there are no columns.
    features = [part.scores.features for part in parts if len(part.scores)]
    failed = np.sort(np.concatenate([part.failed for part in parts]))
    return {"ids": ids[order], "features": features_in(features, order), "failed": failed, **roles}


def features_in(parts: Sequence[Float32], order: NDArray[np.intp]) -> Float32:
    return np.concatenate(parts)[order] if parts else np.empty((0, 0), np.float32)


def all_steps(scheduler: Scheduler, frames: Sequence[Detections] = FRAMES) -> list[InferenceResult]:
    """Take frames in and step as the pipeline does, until all cells have come back."""
    parts = []
    for ids, found in zip(numbers(frames), frames, strict=True):
        scheduler.enter(ids, uncut_cells(found, SPEC))
        while scheduler.ready(flush=False):
            parts.append(scheduler.step(flush=False))
    cells = sum(len(found) for found in frames)
    while sum(len(part.scores) + len(part.failed) for part in parts) < cells:
        assert len(parts) < 1000
        parts.append(scheduler.step(flush=True))
    return parts


WANTED = alone(manifest())


def test_the_cells_go_different_ways() -> None:
    for role in ("red", "green", "deep", "apl"):
        asked = np.asarray(WANTED[role], np.float32) > 0
        assert asked.any(), role
        assert role == "apl" or not asked.all(), role


@pytest.mark.parametrize("batch_size", [1, 3, 5, LARGEST, 100])
def test_all_cells_get_the_answers_of_the_networks_one_by_one(batch_size: int) -> None:
    gpu = made()
    got = together(all_steps(on(gpu, batch_size)))
    assert set(got) == set(WANTED)
    for name, values in WANTED.items():
        np.testing.assert_allclose(np.asarray(got[name]), np.asarray(values), atol=ROUNDING)
    assert gpu.chain.moved.frames == len(FRAMES)


def test_a_masked_cell_is_shown_without_its_neighbours() -> None:
    masked = manifest(crop=SPEC.model_copy(update={"mask": True}).model_dump())
    gpu = made(masked)
    scheduler = scheduler_for(masked, gpu.engines, LARGEST, chain=gpu.chain)
    for ids, found in zip(numbers(FRAMES), FRAMES, strict=True):
        scheduler.enter(ids, uncut_cells(found, masked.crop))
    got, wanted = together([scheduler.run(flush=True)]), alone(masked)
    for name in ("red", "apl", "features"):
        np.testing.assert_allclose(np.asarray(got[name]), np.asarray(wanted[name]), atol=ROUNDING)
    assert not np.allclose(np.asarray(got["features"]), np.asarray(WANTED["features"]), atol=0.01)


def test_cells_are_asked_about_in_the_order_in_which_they_came() -> None:
    networks = {name: manifest().networks[name].model_dump() for name in ("first", "second")}
    roles = [
        {"name": "apl", "network": "second", "output": "apl", "threshold": 0.5, "suspicious": True}
    ]
    short = manifest(networks=networks, roles=roles)
    gpu = made(short)
    scheduler = scheduler_for(short, gpu.engines, 4, chain=gpu.chain)
    ids = np.array([7, 2, 9, 4, 1, 0, 8, 3, 6, 5, 11, 10])
    scheduler.enter(ids, uncut_cells(FRAMES[1], SPEC))
    parts = [scheduler.step(flush=True).scores.ids.tolist() for _ in range(3)]
    assert parts == [[2, 4, 7, 9], [0, 1, 3, 8], [5, 6, 10, 11]]


def test_run_gives_the_same_at_once() -> None:
    scheduler = on(made())
    enter_all(scheduler)
    got = together([scheduler.run(flush=True)])
    np.testing.assert_array_equal(got["ids"], WANTED["ids"])
    np.testing.assert_allclose(np.asarray(got["deep"]), np.asarray(WANTED["deep"]), atol=ROUNDING)


def test_cells_of_small_frames_share_batches() -> None:
    gpu, frames = made(), [frame_of(seed, 2) for seed in range(PLACES)]
    scheduler = on(gpu)
    enter_all(scheduler, frames)
    assert not scheduler.ready(flush=False)
    scheduler.step(flush=True)
    # First all cells in one batch; more follow only for those sent on.
    assert gpu.chain.moved.batches == 1


def test_a_batch_is_not_awaited_while_there_is_room_for_another() -> None:
    gpu = made()
    scheduler = on(gpu)
    gpu.driver.log.clear()
    scheduler.enter(np.arange(LARGEST), uncut_cells(frame_of(0, LARGEST), SPEC))
    assert len(scheduler.step(flush=False).scores) == 0
    assert gpu.chain.moved.batches == 1
    scheduler.enter(np.arange(8, 16), uncut_cells(frame_of(1, LARGEST), SPEC))
    assert not [work for work in gpu.driver.log if "synchronize" in work.call]
    scheduler.step(flush=False)
    assert gpu.chain.moved.batches == 2
    waits = [work for work in gpu.driver.log if "synchronize" in work.call]
    assert len(waits) == 1


def test_more_frames_than_places_wait_their_turn_without_a_full_batch() -> None:
    gpu, frames = made(), [frame_of(seed, 1) for seed in range(PLACES + 2)]
    scheduler = on(gpu)
    enter_all(scheduler, frames)
    assert gpu.chain.moved.frames == PLACES
    assert scheduler.ready(flush=False)
    got = together([scheduler.run(flush=True)])
    assert len(np.asarray(got["ids"])) == PLACES + 2


@pytest.mark.parametrize("steps", range(4))
def test_cells_that_are_given_up_are_out_wherever_they_are(steps: int) -> None:
    gpu = made()
    scheduler = on(gpu)
    enter_all(scheduler)
    parts = [scheduler.step(flush=False) for _ in range(steps)]
    parts = [part for part in parts if len(part.scores)]
    come = {cell for part in parts for cell in part.scores.ids.tolist()}
    given_up = scheduler.give_up(np.arange(0, 40, dtype=np.int64))
    assert set(given_up.tolist()) == set(range(40)) - come
    assert scheduler.give_up(np.arange(0, 40, dtype=np.int64)).size == 0
    got = together([*parts, scheduler.run(flush=True)])
    assert set(np.asarray(got["ids"]).tolist()) == (set(range(sum(COUNTS))) - set(range(40))) | come
    # All places are free again.
    assert [gpu.chain.put(FRAMES[0].frame, FRAMES[0].labels) for _ in range(PLACES + 1)].count(
        None
    ) == 1


@pytest.mark.parametrize(
    "call", ["memcpy_htod_async", "execute_async_v3", "event_synchronize", "pagelocked_empty"]
)
@pytest.mark.parametrize("later", [0, 2])
def test_a_gpu_that_fails_costs_its_cells_and_loses_none(call: str, later: int) -> None:
    gpu = made()
    gpu.driver.fail_on = {call: gpu.driver.calls.count(call) + later}
    parts = all_steps(on(gpu))
    got = together(parts)
    done = np.asarray(got["ids"]).tolist() + np.asarray(got["failed"]).tolist()
    assert sorted(done) == list(range(sum(COUNTS)))
    errors = [error for part in parts for error in part.errors]
    affected = {cell for part in parts for cells in part.affected for cell in cells.tolist()}
    assert errors
    assert affected == set(np.asarray(got["failed"]).tolist())
    assert len(affected) > 0


def test_answers_that_are_no_numbers_fail_their_cells() -> None:
    gpu = made()
    gpu.fake.silent = True
    parts = all_steps(on(gpu), FRAMES[:3])
    assert np.asarray(together(parts)["failed"]).tolist() == list(range(sum(COUNTS[:3])))
    assert not any(part.errors for part in parts)


def test_images_of_single_cells_go_to_the_engines() -> None:
    gpu = made()
    scheduler = on(gpu)
    images: UInt8 = cut_cells(FRAMES[0], SPEC)
    scheduler.enter(np.arange(len(images)), images)
    scheduler.enter(np.arange(100, 112), uncut_cells(FRAMES[1], SPEC))
    parts: list[InferenceResult] = []
    while sum(len(part.scores) for part in parts) < len(images) + 12:
        parts.append(scheduler.step(flush=True))
    assert gpu.chain.moved.frames == 1
    assert not scheduler.ready(flush=True)
    with_engines = plain()
    with_engines.enter(np.arange(len(images)), images)
    wanted = with_engines.run(flush=True).scores
    got = np.asarray(together(parts)["apl"], np.float32)[: len(images)]
    np.testing.assert_allclose(got, wanted.roles["apl"], atol=ROUNDING)


def test_classify_gives_what_went_wrong() -> None:
    gpu, uncut = made(), uncut_cells(FRAMES[0], SPEC)
    result = classify(manifest(), gpu.engines, uncut, chain=gpu.chain).checked()
    assert result.scores.ids.tolist() == list(range(7))
    gpu.fake.complains = True
    with pytest.raises(EngineError, match="kernel failed"):
        classify(manifest(), gpu.engines, uncut, chain=gpu.chain).checked()


def test_uncut_cells_are_cut_here_where_there_is_no_device() -> None:
    uncut = uncut_cells(FRAMES[1], SPEC)
    some = uncut[np.array([4, 1, 9])]
    assert len(some) == 3
    np.testing.assert_array_equal(some.cut(), cut_cells(FRAMES[1], SPEC)[[4, 1, 9]])
    assert uncut[np.arange(0)].cut().shape == (0, SPEC.size_px, SPEC.size_px, 3)
    scheduler = plain()
    scheduler.enter(np.arange(12), uncut)
    assert len(scheduler.run(flush=True).scores) == 12
    assert isinstance(uncut, UncutCells)


def test_networks_are_links_in_the_order_in_which_they_take() -> None:
    links = {link.network: link for link in chain_links(manifest())}
    assert list(links) == ["first", "red", "green", "deep", "second"]
    assert links["second"] == Link("second", "ratios", ("first", "features"), ("apl",))
    assert links["first"].outputs == (*ROLES, "features")


class FailsOnce:
    """A chain of which one call, by its number, raises an error: its batch is lost."""

    def __init__(self, chain: TrtChain, call: str, number: int, error: type[EdgeAplError]) -> None:
        self._chain, self._call, self._left, self._error = chain, call, number, error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._chain, name)

    def start(self, cells: Sequence[CellsOnFrame], networks: Sequence[str]) -> None:
        if self._fails("start"):
            raise self._error("told to by the test")
        self._chain.start(cells, networks)

    def finish(self) -> dict[str, dict[str, NDArray[np.generic]]]:
        answers = self._chain.finish()
        if self._fails("finish"):
            raise self._error("told to by the test")
        return answers

    def _fails(self, call: str) -> bool:
        self._left -= call == self._call
        return call == self._call and self._left == -1


@pytest.mark.parametrize("number", [0, 1, 4])
@pytest.mark.parametrize("call", ["start", "finish"])
def test_cells_whose_batch_was_cancelled_wait_again(call: str, number: int) -> None:
    gpu = made()
    chain = FailsOnce(gpu.chain, call, number, DeadlineError)
    scheduler = scheduler_for(manifest(), gpu.engines, LARGEST, chain=cast(CellChain, chain))
    enter_all(scheduler)
    parts: list[InferenceResult] = []
    late = 0
    while sum(len(part.scores) + len(part.failed) for part in parts) < sum(COUNTS):
        try:
            parts.append(scheduler.step(flush=True))
        except DeadlineError:
            late += 1
        assert len(parts) < 1000
    assert late == 1
    got = together(parts)
    assert not len(got["failed"])
    for name in ("red", "apl", "features"):
        np.testing.assert_allclose(np.asarray(got[name]), np.asarray(WANTED[name]), atol=ROUNDING)


@pytest.mark.parametrize("error", [DeadlineError, EngineError])
def test_a_batch_that_nobody_waits_for_any_more_may_fail(error: type[EdgeAplError]) -> None:
    gpu = made()
    chain = FailsOnce(gpu.chain, "finish", 0, error)
    scheduler = scheduler_for(manifest(), gpu.engines, COUNTS[0], chain=cast(CellChain, chain))
    enter_all(scheduler, FRAMES[:1])
    assert not len(scheduler.step(flush=False).scores)
    assert len(scheduler.give_up(numbers(FRAMES)[0])) == COUNTS[0]
    scheduler.enter(numbers(FRAMES)[1], uncut_cells(FRAMES[1], SPEC))
    result = scheduler.run(flush=True)
    assert len(result.scores) == COUNTS[1]
    assert not result.errors
    assert not len(result.failed)


@pytest.mark.parametrize("error", [None, DeadlineError, EngineError])
def test_what_is_under_way_when_one_ends_is_no_answer_of_the_next(
    error: type[EdgeAplError] | None,
) -> None:
    gpu = made()
    failing = FailsOnce(gpu.chain, "finish", 1, error or EngineError)
    chain = gpu.chain if error is None else cast(CellChain, failing)
    first = scheduler_for(manifest(), gpu.engines, 5, chain=chain)
    enter_all(first)
    first.step(flush=True)
    first.close()
    second = scheduler_for(manifest(), gpu.engines, 5, chain=chain)
    enter_all(second)
    got = together([second.run(flush=True)])
    np.testing.assert_array_equal(got["ids"], WANTED["ids"])
    np.testing.assert_allclose(np.asarray(got["apl"]), np.asarray(WANTED["apl"]), atol=ROUNDING)


def test_a_network_that_takes_what_another_gave_of_some_cells_makes_no_chain() -> None:
    networks = {
        "first": network(classes=ROLES),
        "second": network("ratios", after="first.features", when=f"first.{ROLES[0]}"),
    }
    roles = [
        {"name": "apl", "network": "second", "output": "apl", "threshold": 0.5, "suspicious": True}
    ]
    assert chain_links(manifest(networks=networks, roles=roles)) == ()
