"""The process of the networks, started by the host.

It opens the networks, runs them as it is told and answers. It never decides anything: when it
hangs or crashes, the host ends it and starts another.
"""

from __future__ import annotations

import resource
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path

from edgeapl.cores import OwnCores
from edgeapl.engines.hosted.pipes import Requests, Teller
from edgeapl.engines.hosted.shared import Region
from edgeapl.engines.hosted.wire import (
    OPENING,
    Described,
    DescribedChain,
    Opened,
    trouble_of,
)
from edgeapl.engines.hosted.workers import ChainWorker, NetworkWorker, Worker
from edgeapl.errors import EdgeAplError
from edgeapl.protocols import CellChain, Engine


def main() -> None:
    """Serve the host; the command line holds the numbers of the inherited file descriptors."""
    asked, answers, *memory = map(int, sys.argv[1:])
    _depend_on_the_station()
    requests = Requests(open(asked, "rb"))  # noqa: SIM115, PTH123 - until the end
    tell = Teller(answers)
    regions = [Region(descriptor) for descriptor in memory]
    slots = list(zip(regions[::2], regions[1::2], strict=True))
    opening = requests.opening()
    try:
        engines = {network.name: network.open() for network in opening.networks}
        chain = None if opening.chain is None else opening.chain.open(engines)
    except EdgeAplError as error:
        tell(trouble_of(OPENING, error))
        return
    networks = tuple(_describe(name, engine) for name, engine in engines.items())
    tell(Opened(networks, None if chain is None else _describe_chain(chain)))
    workers: list[Worker] = [NetworkWorker(engines, slots, requests, tell)] * len(slots)
    if chain is not None:
        workers.append(ChainWorker(chain, slots, requests, tell))
    own = OwnCores(len(workers))
    threads = [
        threading.Thread(target=worker.work, args=(own,), name="edgeapl-networks", daemon=True)
        for worker in workers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _describe(name: str, engine: Engine) -> Described:
    inputs = tuple((key, dtype, tuple(shape)) for key, (dtype, shape) in engine.inputs.items())
    return Described(name, engine.runtime, engine.digest, inputs, tuple(engine.outputs))


def _describe_chain(chain: CellChain) -> DescribedChain:
    return DescribedChain(
        chain.runtime,
        chain.digest,
        chain.most_cells,
        chain.most_batches,
        chain.most_pixels,
        chain.widest_cut,
        chain.labelled,
    )


def _depend_on_the_station() -> None:
    # Ctrl-C and a stop of the service reach the whole group; the station needs its networks for
    # the last batch and ends this process when it is done with it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # Writing a core of a gigabyte would hold up the next start.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        # When memory runs out this process shall go, not the one with the slide.
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")
