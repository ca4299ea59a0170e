"""Build plans of the demonstration with what `pip install 'edgeapl[rtx]'` brings, and no more.

    python -m tests.bare_builder

Run by `.ci/run` in an environment of its own on a machine without CUDA's toolkit.
"""

from __future__ import annotations

from importlib.util import find_spec

from edgeapl.bundle.load import open_bundle
from edgeapl.engines.registry import available_targets
from edgeapl.engines.trt.build import build_plan
from edgeapl.engines.trt.library import find_library
from edgeapl.model import EMBEDDED


def main() -> None:
    """Print what was built; raises when something is missing."""
    assert find_spec("pycuda") is None, "an environment with pycuda shows nothing here"
    target = "tensorrt-rtx"
    found = {one.target: one for one in available_targets()}[target]
    assert not found.build, found.build
    # All that is missing to run them is a GPU.
    assert found.run in ("", "no NVIDIA driver on this machine"), found.run
    bundle, library = open_bundle(EMBEDDED), find_library(target)
    for name, spec in bundle.manifest.networks.items():
        plan = build_plan(bundle.read(spec.file), name=name, library=library)
        print(f"{name}: {len(plan) / 2**20:.1f} MiB, {target} {library.version}")


if __name__ == "__main__":
    main()
