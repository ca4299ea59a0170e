"""Engines that answer otherwise are found out, with what differs; the damaging layers too."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgeapl.bundle.load import Bundle
from edgeapl.bundle.specs import LimitsSpec
from edgeapl.calibration.quantise.layers import Layers
from edgeapl.calibration.quantise.qdq import qdq_onnxruntime, qdq_tensorrt
from edgeapl.calibration.validation.damage import LayerDamage, rank_layers, repair
from edgeapl.calibration.validation.detected import compare_detected
from edgeapl.calibration.validation.document import engine_proof_document
from edgeapl.calibration.validation.engine_proof import EngineProof, prove_engine
from edgeapl.engines.ort import OrtEngine
from edgeapl.errors import EngineError, InputError
from edgeapl.protocols import Engine
from edgeapl.types import Detections, Frame, UInt8
from tests.quantising import CLASSES, FIRST, SECOND, THIRD, conv_network, images, measured
from tests.small_bundle import SIZE, cell_network, head_network, settings, small_bundle

RED, GREEN, BLUE, GREY = (230, 20, 20), (20, 230, 20), (20, 20, 230), (150, 150, 150)
LIMITS = LimitsSpec()


def crops(*colours: tuple[int, int, int]) -> UInt8:
    """Give one flat cell per colour."""
    flat = np.array(colours, dtype=np.uint8)
    return np.broadcast_to(flat[:, None, None, :], (len(flat), SIZE, SIZE, 3)).copy()


def graded(count: int) -> UInt8:
    """Give cells from no red to full red: promyelocytes from 60 % red on."""
    return crops(*[(round(255 * row / (count - 1)), 20, 20) for row in range(count)])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return small_bundle(tmp_path_factory.mktemp("proof") / "bundle")


def engines(cells: bytes | None = None, head: bytes | None = None) -> dict[str, Engine]:
    return {
        "cells": OrtEngine("cells", cells or cell_network()),
        "head": OrtEngine("head", head or head_network()),
    }


def proven(
    bundle: Bundle, candidate: dict[str, Engine], *slides: UInt8, **more: Any
) -> EngineProof:
    named = [(f"slide {number}", cells) for number, cells in enumerate(slides)]
    limits = more.pop("limits", LIMITS)
    return prove_engine(bundle.manifest, engines(), candidate, named, limits, **more)


def test_the_same_networks_pass_with_nothing_apart(bundle: Bundle) -> None:
    proof = proven(bundle, engines(), crops(RED, GREEN, BLUE), graded(30))
    assert not proof.problems
    assert (proof.cells.cells, proof.cells.flipped, proof.flip_rate) == (33, 0, 0)
    assert {one.network for one in proof.outputs} == {"cells", "head"}
    assert all(one.largest == 0 for one in proof.outputs)
    assert not proof.unproven


def test_cells_that_cross_a_threshold_are_counted_one_by_one(bundle: Bundle) -> None:
    moved = engines(cell_network(bias=np.array([-11, -12, -12], dtype=np.float32)))
    slide = graded(101)
    proof = proven(bundle, moved, slide)
    # The threshold lies at 60 % red, with the other bias at 55 %.
    red = slide[:, 0, 0, 0].astype(float) / 255
    crossed = int(((red >= 0.55) & (red < 0.6)).sum())
    assert crossed > 1
    role = {one.role: one for one in proof.cells.roles}
    assert role["promyelocyte"].crossed == proof.cells.flipped == crossed
    assert role["myeloblast"].crossed == 0
    assert role["promyelocyte"].largest == pytest.approx(0.245, abs=0.01)
    assert any(f"{crossed} of 101 cells flip" in problem for problem in proof.problems)
    assert any(problem.startswith("promyelocyte differs by 0.2") for problem in proof.problems)


def test_the_limits_decide(bundle: Bundle) -> None:
    moved = cell_network(bias=np.array([-11, -12, -12], dtype=np.float32))
    wide = LimitsSpec(max_flip_rate=0.1, max_difference=0.3, max_recall_drop=0.1)
    assert not proven(bundle, engines(moved), graded(101), limits=wide).problems
    strict = wide.model_copy(update={"max_flip_rate": 0.01})
    (problem,) = proven(bundle, engines(moved), graded(101), limits=strict).problems
    assert "allowed 1 %" in problem


def test_positive_cells_that_are_lost_are_told_by_role(bundle: Bundle) -> None:
    blind = engines(cell_network(bias=np.array([-14, -12, -12], dtype=np.float32)))
    proof = proven(bundle, blind, graded(101))
    lost = next(one for one in proof.cells.recalls if one.name == "promyelocyte")
    assert 0 < lost.kept < lost.cells
    assert lost.drop == pytest.approx(1 - lost.kept / lost.cells)
    text = f"{lost.cells - lost.kept} of {lost.cells} cells of promyelocyte are lost"
    assert any(problem.startswith(text) for problem in proof.problems)


def test_one_lost_cell_of_a_rare_class_is_left_to_the_flip_rate(bundle: Bundle) -> None:
    moved = engines(cell_network(bias=np.array([-12.2, -12, -12], dtype=np.float32)))
    few = LimitsSpec(max_flip_rate=0.05, max_difference=0.5, max_verdict_changes=1)
    cells = crops(RED, (154, 20, 20), *[GREY] * 38)
    proof = proven(bundle, moved, cells, limits=few)
    assert proof.cells.flipped == 1
    assert not proof.problems


def test_another_class_is_a_flip_though_no_threshold_is_crossed(tmp_path: Path) -> None:
    networks = settings()["networks"]
    networks["cells"]["classes"] = ["promyelocyte", "myeloblast", "auer_rod"]
    classed = small_bundle(tmp_path / "bundle", networks=networks)
    tilted = engines(cell_network(bias=np.array([-12, -11.9, -12], dtype=np.float32)))
    proof = proven(classed, tilted, crops(*[(100, 99, 20)] * 5, *[RED] * 5))
    assert [role.crossed for role in proof.cells.roles] == [0, 0, 0]
    assert proof.cells.flipped == 5
    recall = {one.name: (one.cells, one.kept) for one in proof.cells.recalls}
    assert recall["cells.promyelocyte"] == (10, 5)
    assert any("5 of 10 cells flip" in problem for problem in proof.problems)


def test_an_engine_that_gives_no_number_fails_the_proof(bundle: Bundle) -> None:
    weights = 20 * np.eye(3, dtype=np.float32)
    weights[0, 0] = np.nan
    proof = proven(bundle, engines(cell_network(weights)), crops(RED, GREEN, BLUE))
    assert proof.cells.failed == proof.cells.flipped == 3
    assert any("3 of 3 cells get no usable answer" in problem for problem in proof.problems)
    assert any("cells.promyelocyte is no number" in problem for problem in proof.problems)
    json.dumps(engine_proof_document(proof), allow_nan=False)


def test_a_slide_whose_verdict_changes_is_named(bundle: Bundle) -> None:
    slide = crops(*[RED] * 20, *[GREEN] * 20)
    timid = engines(head=head_network(bias=-30))
    wide = LimitsSpec(max_difference=1)
    proof = proven(bundle, timid, crops(*[GREEN] * 40), slide, limits=wide)
    assert [one.changed for one in proof.slides] == [False, True]
    (problem,) = proof.problems
    assert "1 of 2 slides changes, e.g. of slide 1 from FLAG to" in problem
    allowed = wide.model_copy(update={"max_verdict_changes": 0.5})
    assert not proven(bundle, timid, crops(*[GREEN] * 40), slide, limits=allowed).problems


def test_nothing_is_proven_on_nothing(bundle: Bundle) -> None:
    with pytest.raises(InputError, match="no cell to prove engines on"):
        proven(bundle, engines())
    with pytest.raises(InputError, match="no cell to prove engines on"):
        proven(bundle, engines(), np.empty((0, SIZE, SIZE, 3), dtype=np.uint8))


def test_networks_that_no_cell_reaches_are_run_or_named(tmp_path: Path) -> None:
    networks = settings()["networks"]
    networks["cells"]["classes"] = ["promyelocyte", "myeloblast", "auer_rod"]
    networks["rare"] = {**networks["cells"], "classes": [], "when": "cells.auer_rod"}
    roles = settings()["roles"]
    roles[1]["network"] = "rare"
    routed = small_bundle(tmp_path / "bundle", networks=networks, roles=roles)

    def both() -> dict[str, Engine]:
        return {**engines(), "rare": OrtEngine("rare", cell_network())}

    slides = [("one", crops(RED, RED, GREY))]
    proof = prove_engine(routed.manifest, both(), both(), slides, LIMITS)
    assert {one.network for one in proof.outputs} == {"cells", "rare", "head"}
    assert not proof.problems


def test_a_candidate_with_another_output_is_refused(bundle: Bundle) -> None:
    loaded = onnx.load_model_from_string(cell_network())
    assert loaded.graph.output.pop().name == "features"
    with pytest.raises(EngineError, match=r"engine lacks an output: cells\.features"):
        proven(bundle, engines(loaded.SerializeToString()), crops(RED))


def test_a_head_that_can_not_answer_fails_the_proof(bundle: Bundle) -> None:
    proof = proven(bundle, {**engines(), "head": OrtEngine("head", cell_network())}, crops(RED))
    assert "slide slide 0 gets no probability" in proof.problems
    assert proof.unproven == ("head",)
    assert any("network head was shown nothing" in problem for problem in proof.problems)


def test_the_document_holds_all_that_was_compared(bundle: Bundle) -> None:
    proof = proven(bundle, engines(), crops(RED, GREEN, BLUE))
    document = json.loads(json.dumps(engine_proof_document(proof), allow_nan=False))
    assert document["passed"]
    assert document["cells"] == 3
    assert document["flip_rate"] == 0
    assert document["roles"]["promyelocyte"]["crossed"] == 0
    assert document["recall"]["promyelocyte"] == {"cells": 1, "kept": 1, "drop": 0.0}
    assert document["outputs"]["cells"]["features"]["rows"] == 3
    assert document["slides"][0]["reference"] == document["slides"][0]["engine"]
    assert document["limits"]["max_flip_rate"] == 0.01


def test_detected_cells_are_matched_once_each_and_by_overlap() -> None:
    frame = Frame(np.zeros((100, 100, 3), dtype=np.uint8), 0, 0, 0.2, "drawn", "0" * 64)

    def found(*boxes: tuple[int, int, int, int]) -> Detections:
        array = np.array(boxes, dtype=np.float32).reshape(-1, 4)
        labels = np.zeros((100, 100), dtype=np.uint16)
        return Detections(frame, array, labels, np.ones(len(array), dtype=np.float32))

    one = found((0, 0, 10, 10), (50, 50, 60, 60), (80, 80, 90, 90))
    other = found((1, 1, 11, 11), (0, 0, 9, 10), (50, 57, 60, 67))
    result = compare_detected([(one, other), (one, one), (found(), found())])
    assert (result.frames, result.reference, result.lost, result.extra) == (3, 6, 2, 2)
    assert result.share_apart == pytest.approx(4 / 6)


@pytest.mark.parametrize("quantise", [qdq_onnxruntime, qdq_tensorrt])
def test_the_layer_with_the_worst_range_is_ranked_first(quantise: Callable[..., bytes]) -> None:
    network = conv_network()
    ranges = measured(network, images())
    ranges["r2"] = (0.0, 60 * ranges["r2"][1])
    told: list[tuple[int, int]] = []
    ranked = rank_layers(
        "cells",
        network,
        ranges,
        [images()],
        quantise,
        classes=CLASSES,
        step=lambda done, of: told.append((done, of)),
    )
    assert {one.layers.name for one in ranked} == {FIRST, SECOND, THIRD}
    worst = {one.layers.name for one in ranked if one.damage > 5 * ranked[-1].damage}
    assert SECOND in worst
    assert ranked[0].damage > 0.05
    assert told[-1] == (3, 3)


def damaged(count: int) -> list[LayerDamage]:
    return [
        LayerDamage(Layers(f"l{n}", frozenset({f"l{n}", f"relu{n}"}), (f"l{n}",)), 1.0 - n / 100, 0)
        for n in range(count)
    ]


@pytest.mark.parametrize("needed", [0, 1, 2, 5, 16, 17, 40])
def test_no_more_layers_are_spared_than_the_limit_asks_for(needed: int) -> None:
    ranked = damaged(40)
    asked: list[int] = []

    def flip_rate(kept: frozenset[str]) -> float:
        asked.append(len(kept) // 2)
        return 0.001 if len(kept) // 2 >= needed else 0.2

    done = repair(ranked, flip_rate, 0.01)
    assert done.chosen is not None
    assert done.chosen.layers == tuple(f"l{n}" for n in range(needed))
    assert {f"relu{n}" for n in range(needed)} <= done.chosen.kept
    assert [len(step.layers) for step in done.steps] == asked
    assert len(asked) == len(set(asked)) <= 12


def test_a_limit_that_can_not_be_kept_is_said_so() -> None:
    done = repair(damaged(5), lambda kept: 0.5, 0.01)
    assert done.chosen is None
    assert len(done.steps[-1].layers) == 5
