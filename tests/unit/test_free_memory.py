"""Memory that was freed is used again, or given back; weights are held once."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from edgeapl.engines.ort import OrtEngine
from tests.small_bundle import cell_network

IMAGES = """
import resource, sys
from edgeapl.free_memory import reuse_free_memory
if sys.argv[1] == "reused":
    reuse_free_memory()
def faults():
    for _ in range(100):
        bytearray(4 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
before = faults()
print(faults() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone can be told")
def test_images_of_a_worker_lie_where_those_before_them_lay() -> None:
    """In pages of the system: 1,024 for each of 100 images, unless they are kept."""
    environment = {**os.environ, "MALLOC_TRIM_THRESHOLD_": "65536"}
    faults = {}
    for way in ("reused", "as Dask has it"):
        command = [sys.executable, "-c", IMAGES, way]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        faults[way] = int(done.stdout)
    assert faults["as Dask has it"] > 50_000
    assert faults["reused"] < 5_000


def test_a_network_that_is_open_does_not_hold_its_file() -> None:
    file = cell_network()
    before = sys.getrefcount(file)
    engine = OrtEngine("cells", file)
    assert sys.getrefcount(file) == before
    engine.close()
