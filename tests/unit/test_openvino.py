"""OpenVINO: alone with itself, and with no precision that nobody chose."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeapl.engines.registry import open_engine
from edgeapl.errors import EngineError
from tests.small_bundle import SIZE, cell_network

pytest.importorskip("openvino")
from edgeapl.engines.openvino import OpenVinoEngine

ALONE = """
import sys
from edgeapl.engines.openvino import OpenVinoEngine
from tests.small_bundle import cell_network
OpenVinoEngine("cells", cell_network()).close()
loaded = [name for name in sys.modules if name.split(".")[0] == "openvino_telemetry"]
assert not loaded, loaded
from openvino.tools.ovc import telemetry_utils
assert telemetry_utils.tm.__name__.endswith("stub"), telemetry_utils.tm
"""


def test_its_telemetry_is_never_loaded_and_leaves_no_id(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ALONE],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "intel").exists()


def test_it_answers_like_onnxruntime() -> None:
    cells = np.random.default_rng(0).integers(0, 256, (5, SIZE, SIZE, 3), dtype=np.uint8)
    here = open_engine("openvino", "cells", cell_network()).run({"cells": cells})
    there = open_engine("onnxruntime", "cells", cell_network()).run({"cells": cells})
    for name, value in there.items():
        np.testing.assert_allclose(
            here[name].astype(np.float32), value.astype(np.float32), atol=1e-5
        )


def test_the_precision_is_fp32_unless_it_is_chosen_and_the_runtime_says_it() -> None:
    plain = OpenVinoEngine("cells", cell_network())
    assert plain.runtime.endswith("CPU f32")
    assert plain.used("INFERENCE_PRECISION_HINT") == "f32"
    assert plain.used("DYNAMIC_QUANTIZATION_GROUP_SIZE") == "0"
    with pytest.raises(EngineError, match="unknown precision"):
        OpenVinoEngine("cells", cell_network(), precision="int8")


@pytest.mark.parametrize("threads", [1, 2])
def test_the_threads_are_those_asked_for(threads: int) -> None:
    engine = OpenVinoEngine("cells", cell_network(), threads=threads)
    assert engine.used("INFERENCE_NUM_THREADS") == str(threads)
