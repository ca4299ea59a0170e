"""Show the cells of several slides to one network after another, so that each is opened once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgeapl.bundle.manifest import Manifest, sources
from edgeapl.protocols import Engine
from edgeapl.stages.classified import Classified
from edgeapl.stages.classify import Classifier
from edgeapl.stages.routing import steps
from edgeapl.types import UInt8


class SlideOnItsWay:
    """All cells of one slide; answers as `edgeapl.stages.whole_slide.classify_slide` gives.

    Parameters
    ----------
    manifest : names roles and networks. engines : network name to engine; may change between runs.
    crops : uint8 (N, size, size, 3) RGB. The cells' numbers are their rows.
    batch_size : cells in one run.
    """

    def __init__(
        self, manifest: Manifest, engines: Mapping[str, Engine], crops: UInt8, batch_size: int
    ) -> None:
        self._classifier = Classifier(manifest, engines, batch_size)
        self._classifier.enter(np.arange(len(crops), dtype=np.int64), crops)

    def run_network(self, network: str) -> None:
        """Show the cells to one network, after those before it in `networks_in_order`."""
        self._classifier.run_network(network)

    def answers(self) -> Classified:
        """Return all answers, once all networks were run. Raises EngineError when one failed."""
        result = self._classifier.run(flush=True)
        if result.errors:
            raise result.errors[0]
        return result


def networks_in_order(manifest: Manifest) -> tuple[str, ...]:
    """Return the networks that look at cells, each after those it waits for.

    The slide's head is the last unless another network waits for it: it is needed again at the end.
    """
    names = [step.network for step in steps(manifest)]
    head = manifest.reducer.head
    if head in names and not any(head in sources(manifest.networks[name]) for name in names):
        names.remove(head)
        names.append(head)
    return tuple(names)
