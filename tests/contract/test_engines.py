"""What every engine promises, whatever runs it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeapl.engines.registry import TARGETS, open_engine
from edgeapl.errors import EngineError
from edgeapl.protocols import Engine
from edgeapl.testing import FakeDriver
from tests.fake_tensorrt import FakeTensorRt
from tests.small_bundle import ROLES, SIZE, cell_network

BACKENDS = [
    "onnxruntime",
    pytest.param(
        "openvino",
        marks=pytest.mark.skipif(
            importlib.util.find_spec("openvino") is None, reason="openvino is not installed"
        ),
    ),
    "tensorrt over a fake GPU",
]


def opened(target: str, data: bytes) -> Engine:
    if target.startswith("tensorrt"):
        return FakeTensorRt(FakeDriver()).open(data)
    return open_engine(target, "cells", data, threads=2)


@pytest.fixture(params=BACKENDS)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    made = opened(request.param, cell_network())
    yield made
    made.close()


def cells(count: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


def test_it_says_what_it_is(engine: Engine) -> None:
    assert isinstance(engine, Engine)
    assert engine.inputs == {"cells": ("uint8", (None, SIZE, SIZE, 3))}
    assert engine.outputs == (*ROLES, "features")
    assert len(engine.digest) == 64
    assert engine.runtime


@pytest.mark.parametrize("count", [1, 2, 17])
def test_a_cell_gets_the_same_answer_in_any_batch(engine: Engine, count: int) -> None:
    batch = cells(count)
    together = engine.run({"cells": batch})
    for row in range(count):
        alone = engine.run({"cells": batch[row : row + 1]})
        for name in engine.outputs:
            np.testing.assert_allclose(together[name][row], alone[name][0], atol=1e-5)


def test_the_caller_owns_the_answer(engine: Engine) -> None:
    first = engine.run({"cells": cells(3)})
    kept = {name: value.copy() for name, value in first.items()}
    engine.run({"cells": cells(3, seed=1)})
    for name, value in kept.items():
        np.testing.assert_array_equal(first[name], value)


@pytest.mark.parametrize(
    "inputs",
    [
        {},
        {"cell": cells(1)},
        {"cells": cells(1), "more": cells(1)},
        {"cells": cells(1).astype(np.float32)},
        {"cells": cells(1)[0]},
        {"cells": cells(1)[:, :-1]},
        {"cells": cells(0)},
    ],
)
def test_input_that_does_not_fit_is_refused(
    engine: Engine, inputs: dict[str, NDArray[np.generic]]
) -> None:
    with pytest.raises(EngineError, match="cells"):
        engine.run(inputs)


def test_a_closed_engine_refuses_and_closes_twice(engine: Engine) -> None:
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.run({"cells": cells(1)})


@pytest.mark.parametrize("target", BACKENDS)
def test_bytes_that_are_no_network_are_refused_in_one_line(target: str) -> None:
    for data in (b"", b"not a network", cell_network()[:-40]):
        with pytest.raises(EngineError) as caught:
            opened(target, data)
        assert "\n" not in str(caught.value)


def test_an_unknown_target_names_those_there_are() -> None:
    with pytest.raises(EngineError) as caught:
        open_engine("abacus", "cells", cell_network())
    assert all(target in str(caught.value) for target in TARGETS)


@pytest.mark.parametrize("target", ["tensorrt", "tensorrt-rtx"])
def test_a_plan_without_a_record_is_never_loaded(target: str) -> None:
    with pytest.raises(EngineError, match="no record: cells: only a plan that this machine built"):
        open_engine(target, "cells", b"plan")
