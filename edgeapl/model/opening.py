"""Open a bundle for use."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from edgeapl.bundle.load import open_bundle
from edgeapl.engines.registry import open_engine
from edgeapl.model.assembled import Model, assemble
from edgeapl.model.golden import self_test
from edgeapl.protocols import Engine


def open_model(
    folder: Path, *, threads: int = 1, target: str = "onnxruntime", proven: bool = True
) -> Model:
    """Open a bundle and prove that it gives its golden answers on this machine.

    Parameters
    ----------
    folder : the bundle.
    threads : CPU threads inside one run of a network.
    target : runtime for all networks.
    proven : run the self-test; only who writes the golden answers may leave it out.

    Raises BundleError, or EngineError when a network is refused or the self-test fails.
    """
    bundle = open_bundle(folder)
    with ExitStack() as opened:
        engines: dict[str, Engine] = {}
        for name, spec in bundle.manifest.networks.items():
            engines[name] = open_engine(target, name, bundle.read(spec.file), threads=threads)
            opened.callback(engines[name].close)
        model = assemble(bundle, engines)
        model.reducer.check_head(model.head)
        if proven:
            self_test(model)
        opened.pop_all()
    return model
