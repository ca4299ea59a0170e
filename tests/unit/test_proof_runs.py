"""The proof of an export runs nothing twice, and takes an answer only for exactly its batch."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs torch: pip install 'edgeapl[export]'")

from edgeapl.export.proof_runs import BATCHES, RecordedRuns, ShownRows
from edgeapl.export.recipes.registry import find_recipe
from edgeapl.protocols import Arrays
from edgeapl.testing import FakeEngine


def doubling() -> FakeEngine:
    return FakeEngine(
        lambda given: {"twice": 2 * given["x"]}, {"x": ("float32", (None, 2))}, ("twice",)
    )


def batches() -> dict[int, Arrays]:
    rows = np.arange(32, dtype=np.float32).reshape(16, 2)
    return {size: {"x": np.array(rows[:size])} for size in BATCHES}


def test_a_batch_that_was_run_is_not_run_again() -> None:
    engine, runs = doubling(), RecordedRuns()
    wanted = batches()
    runs.note("net", wanted[16], engine.run(wanted[16]))
    answers = runs.complete("net", engine, wanted)
    assert engine.runs == 3  # 16 rows once, then 1 and 5
    for size, inputs in wanted.items():
        np.testing.assert_array_equal(answers[size]["twice"], 2 * inputs["x"])


@pytest.mark.parametrize("change", ["value", "network", "order", "rows", "shared"])
def test_an_answer_to_anything_else_is_not_taken(change: str) -> None:
    engine, runs = doubling(), RecordedRuns()
    inputs = batches()[16]
    runs.note("net", inputs, engine.run(inputs))
    name, other = "net", {"x": np.array(inputs["x"])}
    assert runs.find(name, other) is not None
    if change == "value":
        other["x"][15, 1] = np.nextafter(other["x"][15, 1], np.float32(99))
    elif change == "network":
        name = "other"
    elif change == "order":
        other["x"] = np.ascontiguousarray(other["x"][::-1])
    elif change == "rows":
        other["x"] = other["x"][:5]
    else:
        other["shared"] = np.zeros((1, 3), np.float32)
    assert runs.find(name, other) is None


def test_what_a_runtime_returned_is_copied() -> None:
    runs, inputs = RecordedRuns(), batches()[5]
    outputs = {"twice": 2 * inputs["x"]}
    runs.note("net", inputs, outputs)
    found = runs.find("net", inputs)
    assert found is not None
    assert not np.shares_memory(found["twice"], outputs["twice"])


def test_fewer_cells_than_the_largest_batch_are_repeated() -> None:
    recipe = find_recipe("eckardt2022", "hsv-watershed")
    shown, name = ShownRows(recipe), recipe.networks[0].name
    crops = np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1) + np.zeros((1, 4, 4, 3), np.uint8)
    shown.note(name, {recipe.networks[0].input_name: crops})
    made = shown.batches(name, crops)
    assert list(made) == list(BATCHES)
    (rows,) = made[16].values()
    assert rows[:, 0, 0, 0].tolist() == [number % 3 for number in range(16)]
