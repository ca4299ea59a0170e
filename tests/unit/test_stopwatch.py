"""A build says how long each of its stages took, so that the next one can say what to expect."""

from __future__ import annotations

from edgeapl.calibration.builder.stopwatch import Stopwatch, stage_of


def test_every_stage_has_its_seconds_and_progress_is_no_stage_of_its_own() -> None:
    times = iter([0.0, 2.0, 5.0, 9.0])
    said: list[str] = []
    watch = Stopwatch(said.append, lambda: next(times))
    watch("prove")
    watch("build plan of cells")
    watch("build plan of cells: kernels 1 of 2")
    watch("self-test")
    assert watch.seconds() == {"prove": 2.0, "build plan of cells": 3.0, "self-test": 4.0}
    assert len(said) == 4


def test_a_colon_in_another_stage_belongs_to_its_name() -> None:
    assert stage_of("int8 for onnxruntime: prove") == "int8 for onnxruntime: prove"
