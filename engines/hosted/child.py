"""The process of the networks, started by the host.

It opens the networks, runs them as it is told and answers. It never decides anything: when it
hangs or crashes, the host ends it and starts another.
"""

from __future__ import annotations

import sys
import threading

from edgeapl.cores import OwnCores
from edgeapl.engines.hosted.messages import (
    OPENING,
    REPLIES,
    REQUESTS,
    ChainInfo,
    EngineInfo,
    Opened,
    failed,
)
from edgeapl.engines.hosted.queues import RequestQueues
from edgeapl.engines.hosted.workers import ChainWorker, Host, NetworkWorker, Worker
from edgeapl.engines.registry import ON_GPU
from edgeapl.errors import EdgeAplError
from edgeapl.process.lifetime import end_first
from edgeapl.process.memory import SharedMemory
from edgeapl.protocols import CellChain, Engine


def main() -> None:
    """Serve the host; the command line holds the numbers of the inherited file descriptors."""
    requests, replies, *descriptors = map(int, sys.argv[1:])
    host = Host(requests, replies, REQUESTS, REPLIES)
    end_first()
    queues = RequestQueues()
    host.listen(queues.put)
    memory = [SharedMemory(descriptor) for descriptor in descriptors]
    slots = list(zip(memory[::2], memory[1::2], strict=True))
    opening = queues.opening()
    try:
        engines = {one.name: one.open() for group in opening.groups for one in group.networks}
        chains = [group.chain.open(engines) for group in opening.groups if group.chain is not None]
    except EdgeAplError as error:
        host.send(failed(OPENING, error))
        return
    networks = tuple(_describe(name, engine) for name, engine in engines.items())
    host.send(Opened(networks, next(map(_describe_chain, chains), None)))
    workers: list[tuple[str, Worker]] = []
    for group in opening.groups:
        worker = NetworkWorker(engines, slots, queues, host, group.name)
        workers += [(group.name, worker)] * group.slots
    workers += [("chain", ChainWorker(chain, slots, queues, host)) for chain in chains]
    # Threads that wait for a GPU compute nothing; kept to a core, they would wait for that as well.
    targets = {one.target for group in opening.groups for one in group.networks}
    own = OwnCores(0 if targets & set(ON_GPU) else len(workers))
    threads = [
        threading.Thread(target=worker.work, args=(own,), name=f"edgeapl-{name}", daemon=True)
        for name, worker in workers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _describe(name: str, engine: Engine) -> EngineInfo:
    inputs = tuple((key, dtype, tuple(shape)) for key, (dtype, shape) in engine.inputs.items())
    return EngineInfo(name, engine.runtime, engine.digest, inputs, tuple(engine.outputs))


def _describe_chain(chain: CellChain) -> ChainInfo:
    return ChainInfo(
        chain.runtime,
        chain.digest,
        chain.most_cells,
        chain.most_batches,
        chain.most_pixels,
        chain.widest_cut,
        chain.labelled,
    )
