"""Time the layers of stored engines."""

from __future__ import annotations

import importlib

from edgeapl.engines.registry import PLANS
from edgeapl.engines.store.folder import EngineFolder
from edgeapl.errors import EngineError


def profile_plans(engines: EngineFolder) -> dict[str, list[tuple[str, float]]]:
    """Return network to its layers with their times in ms, on the GPU that is here.

    Raises EngineError where they are no plans, or no GPU can be used.
    """
    record = engines.record
    if record.target not in PLANS:
        text = f"only plans tell it, and these run in {record.target}"
        raise EngineError("layers cannot be timed", engines.folder, text)
    profiling = importlib.import_module("edgeapl.engines.trt.layer_profiler")
    found = {}
    for name in record.networks:
        origin = engines.origin(name)
        assert origin is not None
        found[name] = profiling.profile_plan(
            origin.stored_plan(record.target, name, engines.read(name))
        )
    return found
