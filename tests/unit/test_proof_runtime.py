"""Engines are proven in the runtime that serves them; only a plan for a GPU has a stand-in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from edgeapl.bundle.load import Bundle
from edgeapl.calibration.builder import build, files
from edgeapl.calibration.builder.build import BuildRequest, build_engine
from edgeapl.calibration.builder.candidates import Candidate, make_candidate, proof_runtime
from edgeapl.calibration.builder.on_device import USUAL
from edgeapl.calibration.builder.paired_timing import Measured
from edgeapl.calibration.builder.proof_slides import ProofSlides
from edgeapl.calibration.builder.tactic_selection import BUNDLE, Selection
from edgeapl.engines.registry import BACKENDS, TARGETS
from edgeapl.errors import EngineError, ProofError
from edgeapl.protocols import Arrays
from tests.quantising import measured
from tests.small_bundle import SIZE, pooled_network, small_bundle

pytest.importorskip("openvino", reason="needs the openvino extra")
from edgeapl.engines import openvino

COLOURS = np.random.default_rng(6).integers(0, 256, (40, 1, 1, 3), dtype=np.uint8)
CELLS = np.broadcast_to(COLOURS, (40, SIZE, SIZE, 3)).copy()
SLIDES = ProofSlides((("drawn", CELLS),), (), "cells of one colour each")
Run = Callable[[Any, Arrays], dict[str, Any]]


def test_what_serves_proves() -> None:
    serves = {target: target if target in BACKENDS else "onnxruntime" for target in TARGETS}
    assert {target: proof_runtime(target) for target in TARGETS} == serves
    assert serves["openvino"] == "openvino"


def other_answers(run: Run) -> Run:
    """Answer as no file says."""

    def turned(engine: Any, inputs: Arrays) -> dict[str, Any]:
        return {name: (1 - value).astype(np.float32) for name, value in run(engine, inputs).items()}

    return turned


def unraced(_: Bundle, candidates: Sequence[Candidate], *__: Any) -> Selection:
    """Let the first win."""
    first = candidates[0]
    seconds = dict.fromkeys((BUNDLE, first.name), 1.0)
    return Selection(first, {first.name: Measured(USUAL, {})}, seconds, {})


def failing(run: Run) -> Run:
    """Answer nothing."""

    def fail(engine: Any, inputs: Arrays) -> dict[str, Any]:
        raise EngineError("network failed while running", "cells", "no kernel")

    return fail


@pytest.mark.parametrize("wrong", [other_answers, failing])
def test_an_openvino_that_answers_otherwise_than_onnxruntime_is_refused(
    wrong: Callable[[Run], Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = small_bundle(tmp_path / "b").folder
    kind = openvino.OpenVinoEngine
    monkeypatch.setattr(kind, "run", wrong(kind.run))
    # Neither what is proven on nor which is the fastest is what this asks.
    monkeypatch.setattr(build, "slides_for", lambda *_: SLIDES)
    monkeypatch.setattr(build, "select_fastest", unraced)
    request = BuildRequest(bundle, "fp32", target="openvino", out=tmp_path / "e")
    with pytest.raises((ProofError, EngineError), match=r"do not answer|failed while"):
        build_engine(request, lambda _: None)
    assert not (tmp_path / "e").exists()
    either = BuildRequest(bundle, "fp32", out=tmp_path / "either")
    record = build_engine(either, lambda _: None).record
    assert record.target == record.proof["run_in"] == "onnxruntime"
    assert record.proof["candidates"]["fp32 openvino"]
    assert "fp32 openvino" in record.timing["not_picked"]


def convolved_constant() -> bytes:
    """Give a network to which a convolution of a constant is added."""
    rng = np.random.default_rng(2)
    nodes = [
        helper.make_node("Transpose", ["scaled"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "w1"], ["c"], name="first"),
        helper.make_node("Conv", ["k", "w2"], ["d"], name="constant"),
        helper.make_node("Add", ["c", "d"], ["sum"], name="sum"),
        helper.make_node("ReduceMean", ["sum", "axes"], ["features"], keepdims=0, name="mean"),
    ]
    return pooled_network(
        nodes,
        {
            "w1": np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1),
            "k": rng.normal(0, 0.3, (1, 3, SIZE, SIZE)).astype(np.float32),
            "w2": rng.normal(0, 0.3, (3, 3, 1, 1)).astype(np.float32),
            "axes": np.array([2, 3]),
            "weights": (20 * np.eye(3)).astype(np.float32),
            "bias": np.full(3, -10, dtype=np.float32),
        },
    )


def made(bundle: Bundle, target: str, folder: Path) -> Candidate:
    request = BuildRequest(bundle.folder, "int8", target)
    folder.mkdir()
    return make_candidate(bundle, target, "int8", SLIDES, request, folder, lambda _: None)


def test_eight_bits_that_openvino_computes_otherwise_do_not_pass_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = convolved_constant()
    bundle = small_bundle(tmp_path / "b", cells=network)
    ranges = measured(network, {"cells": CELLS})
    monkeypatch.setattr(files, "ranges_of", lambda _: {"cells": ranges})
    here = made(bundle, "onnxruntime", tmp_path / "onnxruntime")
    assert here.proof.problems == ()
    there = made(bundle, "openvino", tmp_path / "openvino")
    assert there.proof.problems
