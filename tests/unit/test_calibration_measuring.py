"""Ranges are those of the values themselves, whatever the parts they were measured in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from edgeapl.calibration import range_measurement
from edgeapl.calibration.disk_array import DiskArray
from edgeapl.calibration.histogram import BINS, Histogram
from edgeapl.calibration.inputs import NetworkInputs
from edgeapl.calibration.range_measurement import MeasurementOptions, NetworkRanges, measure
from edgeapl.calibration.ranges import Method
from edgeapl.calibration.tensors import Network, Tensor, parts
from edgeapl.engines.registry import open_engine
from edgeapl.errors import BundleError, EngineError
from edgeapl.types import Float32, UInt8
from tests.conv_bundle import conv_network
from tests.small_bundle import SIZE, cell_network, model

NET = conv_network()


def cells(count: int, seed: int = 0, most: int = 255) -> UInt8:
    random = np.random.default_rng(seed)
    return random.integers(0, most + 1, (count, SIZE, SIZE, 3), dtype=np.uint8)


def kept(folder: Path, rows: np.ndarray, name: str = "cells") -> NetworkInputs:
    spool = DiskArray(folder / f"{name}.rows")
    spool.append(rows)
    return NetworkInputs(name, spool)


def run(
    folder: Path, rows: np.ndarray, method: Method = "minmax", *, grow: bool = False
) -> NetworkRanges:
    how = MeasurementOptions(method, 99.9, grow=grow)
    return measure("cells", NET, kept(folder, rows), how, lambda done, of: None)


def values(rows: UInt8) -> dict[str, Float32]:
    """All tensors at once, the plain way."""
    network = Network("cells", NET)
    engine = open_engine("onnxruntime", "cells", network.watched(network.tensors()))
    return {name: np.asarray(array) for name, array in engine.run({"cells": rows}).items()}


def test_min_max_is_that_of_all_values(tmp_path: Path) -> None:
    rows = cells(21)
    wanted = {name: (float(v.min()), float(v.max())) for name, v in values(rows).items()}
    found = run(tmp_path, rows)
    assert found.tensors.keys() == wanted.keys() >= {"scaled", "conv", "relu", "features"}
    for name, limits in wanted.items():
        assert found.tensors[name] == pytest.approx(limits, rel=1e-6), name
    assert found.images == 21


@pytest.mark.parametrize("method", ["minmax", "percentile"])
def test_parts_of_the_network_and_batches_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: Method
) -> None:
    rows = cells(11)
    whole = run(tmp_path, rows, method)
    monkeypatch.setattr(range_measurement, "HELD_BYTES", 1)
    (tmp_path / "again").mkdir()
    apart = run(tmp_path / "again", rows, method)
    for name, limits in whole.tensors.items():
        assert apart.tensors[name] == pytest.approx(limits, rel=1e-6), name


def test_percentiles_are_those_of_all_values_to_one_step(tmp_path: Path) -> None:
    rows = cells(16)
    found = run(tmp_path, rows, "percentile")
    for name, value in values(rows).items():
        low, high = found.tensors[name]
        step = 4 * float(np.abs(value).max()) / BINS
        cut = 0.0005 * value.size
        # No more is cut off than may be, and a step further in it would be.
        assert (value < low - 1e-7).sum() <= cut, name
        assert (value > high + 1e-7).sum() <= cut, name
        assert (value < low + step).sum() + 1 > cut, name
        assert (value > high - step).sum() + 1 > cut, name


@pytest.mark.parametrize("method", ["minmax", "percentile"])
def test_ranges_are_those_of_the_calibrator_of_onnxruntime(tmp_path: Path, method: str) -> None:
    quantization = pytest.importorskip("onnxruntime.quantization")
    calibrate = pytest.importorskip("onnxruntime.quantization.calibrate")

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc, name-defined]
        def __init__(self, rows: UInt8) -> None:
            self._rows = iter(rows[:, None])

        def get_next(self) -> dict[str, UInt8] | None:
            row = next(self._rows, None)
            return None if row is None else {"cells": row}

    rows = cells(12)
    (tmp_path / "m.onnx").write_bytes(NET)
    kind = {
        "minmax": calibrate.CalibrationMethod.MinMax,
        "percentile": calibrate.CalibrationMethod.Percentile,
    }
    options = {"percentile": 99.9, "num_bins": 4096} if method == "percentile" else {}
    theirs = calibrate.create_calibrator(
        tmp_path / "m.onnx",
        ["Conv"],
        augmented_model_path=str(tmp_path / "a.onnx"),
        calibrate_method=kind[method],
        extra_options={"symmetric": False, **options},
    )
    theirs.collect_data(Reader(rows))
    ours = run(tmp_path, rows, "minmax" if method == "minmax" else "percentile")
    compared = theirs.compute_data()
    for name in ("planes", "conv"):
        low, high = compared[name].range_value
        wanted = (float(np.ravel(low)[0]), float(np.ravel(high)[0]))
        assert ours.tensors[name] == pytest.approx(wanted, abs=1e-6 if method == "minmax" else 2e-3)


def test_it_grows_until_the_ranges_are_stable_and_no_further(tmp_path: Path) -> None:
    same = np.repeat(cells(1), 200, axis=0)
    assert run(tmp_path, same, grow=True).images == 16
    brighter = np.concatenate([cells(1, most=n) for n in range(2, 202)])
    (tmp_path / "b").mkdir()
    found = run(tmp_path / "b", brighter, grow=True)
    assert found.images == 200
    assert [line.images for line in found.stability] == [16, 32, 64, 128, 200]
    assert all(line.change > range_measurement.STABLE for line in found.stability)
    (tmp_path / "c").mkdir()
    assert run(tmp_path / "c", same, grow=False).images == 200


def test_a_number_that_is_not_finite_is_loud(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["cells"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Log", ["float"], ["log"]),
    ]
    log = model(
        nodes,
        [helper.make_tensor_value_info("cells", TensorProto.UINT8, ["n", SIZE, SIZE, 3])],
        [helper.make_tensor_value_info("log", TensorProto.FLOAT, ["n", SIZE, SIZE, 3])],
        {},
    )
    black = kept(tmp_path, np.zeros((2, SIZE, SIZE, 3), np.uint8))
    with pytest.raises(EngineError, match="cells log"):
        measure("cells", log, black, MeasurementOptions(), lambda done, of: None)


def test_a_network_of_fixed_batch_is_run_row_by_row(tmp_path: Path) -> None:
    relu = model(
        [helper.make_node("Relu", ["x"], ["y"])],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
        {},
    )
    rows = np.array([[-3, 1], [2, 5], [0, 4]], np.float32)
    found = measure(
        "x", relu, kept(tmp_path, rows, "x"), MeasurementOptions("minmax"), lambda a, b: None
    )
    assert found.tensors == {"x": (-3.0, 5.0), "y": (0.0, 5.0)}


def test_only_networks_with_a_convolution_are_worth_eight_bits() -> None:
    assert Network("cells", NET).has_convolution
    assert not Network("cells", cell_network()).has_convolution
    with pytest.raises(BundleError, match="not an ONNX file"):
        Network("cells", b"nonsense")


def test_parts_hold_every_tensor_once_and_no_more_than_they_may() -> None:
    tensors = [Tensor(str(n), 10 * n, weighed=False) for n in range(9)]
    groups = parts(tensors, 100)
    assert [tensor for group in groups for tensor in group] == tensors
    assert all(len(group) == 1 or sum(t.row_bytes for t in group) <= 100 for group in groups)


finite = st.floats(-(2.0**99), 2.0**99, width=32, allow_subnormal=False).map(
    lambda value: value if abs(value) > 2.0**-60 else 0.0
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(finite, min_size=1, max_size=30), min_size=1, max_size=6))
def test_counts_keep_every_value_within_a_step(batches: list[list[float]]) -> None:
    histogram = Histogram()
    for batch in batches:
        histogram.add(np.array(batch, np.float32))
    everything = np.concatenate([np.array(batch, np.float32) for batch in batches])
    assert (histogram.low, histogram.high) == (everything.min(), everything.max())
    low, high = histogram.percentile(100)
    assert low <= histogram.low + 1e-12
    assert high == histogram.high
    low, high = histogram.percentile(60)
    step = 4 * float(np.abs(everything).max()) / BINS
    inside = (everything >= low - step) & (everything <= high + step)
    assert inside.mean() >= 0.6 - 1e-9
