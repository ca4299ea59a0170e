"""Open an engine by the name of its target; a runtime is imported only when it is asked for."""

from __future__ import annotations

import importlib
from typing import cast

from edgeapl.errors import EngineError
from edgeapl.protocols import Engine

# target: (module, class, package that brings the runtime)
BACKENDS = {"onnxruntime": ("edgeapl.engines.ort", "OrtEngine", "onnxruntime")}


def open_engine(target: str, name: str, model: bytes, *, threads: int = 1) -> Engine:
    """Make a network ready to run.

    Parameters
    ----------
    target : a key of `BACKENDS`.
    name : what error messages call the network.
    model : bytes of its file.
    threads : CPU threads inside one run.

    Raises EngineError when the target is unknown, its runtime is not installed, or the network
    is refused.
    """
    if target not in BACKENDS:
        raise EngineError("unknown target", target, f"choose one of: {', '.join(BACKENDS)}")
    module, kind, package = BACKENDS[target]
    try:
        backend = importlib.import_module(module)
    except ImportError as error:
        raise EngineError("runtime is missing", target, f"pip install {package}") from error
    return cast(Engine, getattr(backend, kind)(name, model, threads=threads))
