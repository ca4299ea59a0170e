"""Passes the cells of several slides to one network after another, opening each once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgeapl.bundle.manifest import Manifest, sources
from edgeapl.inference import InferenceResult, scheduler_for
from edgeapl.inference.routing import steps
from edgeapl.protocols import Engine
from edgeapl.types import UInt8


class SlidePass:
    """All cells of one slide; answers like `edgeapl.inference.classify`.

    Parameters
    ----------
    manifest : names roles and networks. engines : network name to engine; may change between runs.
    crops : uint8 (N, size, size, 3) RGB. Rows number the cells.
    batch_size : cells per run.
    """

    def __init__(
        self, manifest: Manifest, engines: Mapping[str, Engine], crops: UInt8, batch_size: int
    ) -> None:
        self._scheduler = scheduler_for(manifest, engines, batch_size)
        self._scheduler.enter(np.arange(len(crops), dtype=np.int64), crops)

    def run_network(self, network: str) -> None:
        """Run one network on the cells, after those before it in `networks_in_order`."""
        self._scheduler.run_network(network)

    def answers(self) -> InferenceResult:
        """Return all answers, once all networks have run. Raises EngineError when one failed."""
        return self._scheduler.run(flush=True).checked()


def networks_in_order(manifest: Manifest) -> tuple[str, ...]:
    """Return the networks that see cells, each after those it waits for.

    The slide's head is the last unless another network waits for it: it is needed again at the end.
    """
    names = [step.network for step in steps(manifest)]
    head = manifest.reducer.head
    if head in names and not any(head in sources(manifest.networks[name]) for name in names):
        names.remove(head)
        names.append(head)
    return tuple(names)
