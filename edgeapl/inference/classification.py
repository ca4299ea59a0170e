"""Make the scheduler for a bundle's networks, and classify cells at once."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing

import numpy as np

from edgeapl.bundle.manifest import Manifest
from edgeapl.errors import EngineError
from edgeapl.inference.answer_memo import AnswerMemo
from edgeapl.inference.cpu import CpuExecutor
from edgeapl.inference.device import DeviceExecutor
from edgeapl.inference.executor import Executor
from edgeapl.inference.result import InferenceResult
from edgeapl.inference.routing import steps
from edgeapl.inference.scheduler import Scheduler
from edgeapl.protocols import CellChain, Engine
from edgeapl.stages.crop import CellImages


def scheduler_for(
    manifest: Manifest,
    engines: Mapping[str, Engine],
    batch_size: int = 16,
    workers: int = 1,
    *,
    chain: CellChain | None = None,
    keep_pace: bool = True,
    memo: AnswerMemo | None = None,
) -> Scheduler:
    """Return the scheduler for the cell networks of a bundle.

    Parameters
    ----------
    engines : network name to engine.
    batch_size : cells in one run, 1 or more; each view of a cell counts as one.
    workers : runs at the same time without a chain; more than one take threads of their own.
    chain : the same networks on a device, which runs all cells that it takes; the engines run the
        others, one batch at a time. A device always keeps pace.
    keep_pace : of `Scheduler`.
    memo : answers that the engines need not give again; a chain gives all its own.

    Raises EngineError for a chain of a bundle whose small network answers first.
    """
    if chain is not None and manifest.cascade is not None:
        mend = "build engines for the processor, or of its parent or its student for the GPU"
        raise EngineError("a cascade does not run as a chain on a device", manifest.name, mend)
    order = steps(manifest)
    executors: list[Executor] = []
    if chain is not None:
        executors.append(DeviceExecutor(order, chain, batch_size, manifest.crop.views))
        workers, keep_pace = 1, True
    executors.append(CpuExecutor(order, engines, batch_size, workers, memo, manifest.crop.views))
    return Scheduler(manifest, order, executors, keep_pace=keep_pace)


def classify(
    manifest: Manifest,
    engines: Mapping[str, Engine],
    cells: CellImages,
    batch_size: int | None = None,
    *,
    chain: CellChain | None = None,
) -> InferenceResult:
    """Classify cells, network after network.

    Parameters
    ----------
    cells : uint8 (N, size, size, 3) RGB, or N cells on their frame. Their numbers are their rows.
    batch_size : cells in one run; None for all at once.
    chain : of `scheduler_for`.

    Runs that failed are among the errors of the result; `InferenceResult.checked` raises them.
    """
    size = batch_size or max(1, len(cells))
    with closing(scheduler_for(manifest, engines, size, chain=chain)) as scheduler:
        scheduler.enter(np.arange(len(cells), dtype=np.int64), cells)
        return scheduler.run(flush=True)
