"""Import a TensorRT and print as JSON what its API has and what our code makes of it.

    python -m tests.trt_probe tensorrt|tensorrt-rtx

Started by tests/trt_stubs.py in a process where the library can be found.
"""

from __future__ import annotations

import json
import re
import sys
import threading
from typing import Any

from edgeapl.engines.trt.build import BuildOptions, build_plan
from edgeapl.engines.trt.engine import open_plan
from edgeapl.engines.trt.library import Library, find_library
from edgeapl.engines.trt.local_runtime import place_here
from edgeapl.engines.trt.monitor import monitor_of
from edgeapl.engines.trt.plan import StoredPlan, record_of
from edgeapl.errors import EngineError
from edgeapl.testing import FakeDriver
from tests.probing import said
from tests.small_bundle import head_network

SAME = (
    (r"\b\w+\.(?:tensorrt|tensorrt_rtx)\.", ""),
    (r"\btyping\.SupportsInt\b|\bSupportsInt\b", "int"),
    (r"\btyping\.SupportsFloat\b|\bSupportsFloat\b", "float"),
    (r"\btyping_extensions\.Buffer\b", "buffer"),
    (r"\bList\[", "list["),
    # Not known to Python yet when this was written down.
    (r"\bnvinfer1::(?=IRuntimeCache)", ""),
)
"""What one pybind11 calls so, and another otherwise."""


def surface(api: Any) -> dict[str, dict[str, list[str]]]:
    """Give each class with its members, and each member with its signatures."""
    found: dict[str, dict[str, list[str]]] = {}
    for name in dir(api):
        kind = getattr(api, name)
        if isinstance(kind, type):
            found[name] = {key: describe(kind, key) for key in dir(kind)}
    return found


def describe(kind: type, key: str) -> list[str]:
    """Say what a member is: its signatures, or one word."""
    member = getattr(kind, key)
    if isinstance(member, property):
        return ["property", "settable"] if member.fset else ["property"]
    if isinstance(member, kind) or isinstance(getattr(member, "value", None), int):
        return [f"member {int(member)}"]
    if key == "__members__":
        return ["members"]
    lines = (getattr(member, "__doc__", None) or "").splitlines()
    pattern = rf"(?:\d+\. )?{re.escape(key)}(\(self: .*)"
    return [plain(found[1]) for found in (re.match(pattern, line) for line in lines) if found]


def plain(signature: str) -> str:
    """Write a signature as every pybind11 would."""
    for pattern, text in SAME:
        signature = re.sub(pattern, text, signature)
    return signature


def our_side(library: Library) -> dict[str, Any]:
    """Take the ways that depend on the version, and say which were taken."""
    api = library.api
    driver = FakeDriver()
    place = place_here(library.target, "this machine", driver, library)
    plan = b"ftrt, the rest is for a GPU to read"
    monitor = monitor_of(api, threading.Event(), None)
    library.logger.log(api.ILogger.WARNING, "a warning")
    library.logger.log(api.ILogger.INTERNAL_ERROR, "an internal\nerror")
    network = head_network()
    return {
        "version": library.version,
        "monitor": isinstance(monitor, getattr(api, "IProgressMonitor", type(None))),
        "logged": [library.messages.take(), library.messages.take()],
        "build": said(lambda: build_plan(network, name="head", library=library)),
        "build for": said(
            lambda: build_plan(
                network,
                name="head",
                library=library,
                options=BuildOptions(capabilities=("8.9",)),
            )
        ),
        "open": said(
            lambda: open_plan(
                StoredPlan(library.target, "head", plan, record_of(plan, place), "this machine"),
                driver=driver,
                library=library,
            )
        ),
        # Shapes that the library answers with.
        "shape": tuple(api.Dims((-1, 3, 2))),
        "left on the GPU": {kind: n for kind, n in driver.live.items() if n},
    }


def main(target: str) -> None:
    """Print both as one JSON value, or only why the library was not found."""
    try:
        library = find_library(target)
    except EngineError as error:
        print(json.dumps({"refused": str(error)}))
    else:
        print(json.dumps({"api": surface(library.api), "ours": our_side(library)}))


if __name__ == "__main__":
    main(sys.argv[1])
