"""Networks are measured on what the pipeline shows them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeapl.bundle.manifest import Manifest
from edgeapl.calibration import inputs as inputs_module
from edgeapl.calibration.disk_array import DiskArray
from edgeapl.calibration.inputs import FEWEST_ROUTED, fp32_opener, network_inputs
from edgeapl.engines.exclusive import ExclusiveEngines
from edgeapl.errors import EngineError
from edgeapl.protocols import Engine
from edgeapl.types import UInt8
from tests.small_bundle import SIZE, settings, small_bundle


class Red:
    """Says of each cell whether it is red, and counts how many engines are open."""

    opened = 0
    runtime, digest = "fake", "0" * 64
    inputs: Mapping[str, Any] = {}
    outputs = ("red", "other")

    def __init__(self) -> None:
        Red.opened += 1

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        (rows,) = inputs.values()
        red = (np.asarray(rows)[:, 0, 0, 0] > 128).astype(np.float32)
        return {"red": red, "other": 1 - red}

    def close(self) -> None:
        Red.opened -= 1


def routed(trained: bool = True) -> Manifest:
    """Red cells go on to a second network."""
    networks = {
        "first": {"file": "a.onnx", "input": "x", "classes": ("red", "other")},
        "second": {"file": "b.onnx", "input": "x", "when": "first.red"},
    }
    roles = [
        {"name": name, "network": name, "output": "red", "threshold": 0.5, "suspicious": True}
        for name in networks
    ]
    files = dict.fromkeys(
        ["a.onnx", "b.onnx", "MODEL_CARD.md", "golden.png", "golden.npz"], "0" * 64
    )
    made = settings(networks=networks, roles=roles, reducer={"kind": "vote"}, trained=trained)
    del made["features"]
    return Manifest.model_validate({"schema_version": 1, **made, "files": files})


def crops(reds: int, others: int) -> UInt8:
    made = np.zeros((reds + others, SIZE, SIZE, 3), np.uint8)
    made[:, 1, 1, 1] = np.arange(reds + others)  # so that rows can be told apart
    made[:reds, 0, 0, 0] = 255
    return made


def record(folder: Path, manifest: Manifest, cells: UInt8) -> dict[str, NDArray[np.generic]]:
    def opener(name: str) -> Engine:
        return Red()

    shown = network_inputs(manifest, opener, [cells[:5], cells[5:]], [], folder)
    assert Red.opened == 0
    return {
        name: np.concatenate([batch["x"] for batch in given.batches(3)])
        for name, given in shown.items()
    }


def test_a_network_gets_the_cells_that_are_routed_to_it_in_their_order(tmp_path: Path) -> None:
    cells = crops(9, 4)
    shown = record(tmp_path, routed(), cells)
    np.testing.assert_array_equal(shown["first"], cells)
    np.testing.assert_array_equal(shown["second"], cells[:9])


def test_a_trained_network_that_gets_no_cell_is_not_there(tmp_path: Path) -> None:
    assert set(record(tmp_path, routed(), crops(0, 6))) == {"first"}


def test_in_an_untrained_bundle_such_a_network_gets_all_cells(tmp_path: Path) -> None:
    cells = crops(FEWEST_ROUTED - 1, 6)
    shown = record(tmp_path, routed(trained=False), cells)
    np.testing.assert_array_equal(shown["second"], cells)


def test_no_more_rows_are_kept_than_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs_module, "MOST_ROWS", 7)
    assert len(record(tmp_path, routed(), crops(9, 4))["first"]) == 7


def test_what_engines_give_does_not_change_in_turn(tmp_path: Path) -> None:
    bundle = small_bundle(tmp_path / "bundle")
    names = tuple(bundle.manifest.networks)
    with ExclusiveEngines(names, fp32_opener(bundle)) as engines:
        cells, head = engines["cells"], engines["head"]
        rows = {"cells": crops(2, 1)}
        before = cells.run(rows)
        head.run({"ratios": np.zeros((1, 3), np.float32)})
        after = cells.run(rows)
        for name, values in before.items():
            np.testing.assert_array_equal(values, after[name])
        assert cells.digest == bundle.manifest.files["cells.onnx"]


def test_cells_the_networks_can_not_judge_are_loud(tmp_path: Path) -> None:
    class Nan(Red):
        def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
            return {name: np.full(len(v), np.nan) for name, v in super().run(inputs).items()}

    with pytest.raises(EngineError, match="no usable answer"):
        network_inputs(routed(), lambda name: Nan(), [crops(2, 2)], [], tmp_path)


def test_rows_on_disk_come_back_as_they_were(tmp_path: Path) -> None:
    spool = DiskArray(tmp_path / "rows")
    rows = np.arange(24, dtype=np.float32).reshape(6, 2, 2)
    spool.append(rows[:4])
    spool.append(rows[4:])
    np.testing.assert_array_equal(spool.rows([5, 0, 5]), rows[[5, 0, 5]])
    np.testing.assert_array_equal(np.concatenate(list(spool.batches(4, 1, 99))), rows[1:])
    with pytest.raises(ValueError, match="rows are"):
        spool.append(rows.astype(np.uint8))
