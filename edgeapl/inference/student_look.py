"""A first look at all cells of a frame, by the small network that answers first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from edgeapl.bundle.manifest import Manifest
from edgeapl.errors import DeadlineError
from edgeapl.inference.answer_memo import AnswerMemo
from edgeapl.inference.cpu import CpuExecutor
from edgeapl.inference.routing import first_step
from edgeapl.inference.scheduler import Scheduler
from edgeapl.protocols import Engine
from edgeapl.stages.cascade import Cascade, student_output
from edgeapl.stages.crop import CellImages
from edgeapl.types import Float32, UInt8


class StudentLook:
    """Asks a cascade's student about cells before they are put in order.

    What it answers is remembered, so that the scheduler need not ask again.

    Parameters
    ----------
    manifest, cascade : of the bundle. engines : by name. batch_size, workers : of the scheduler.
    memo : of the scheduler too.
    """

    def __init__(
        self,
        manifest: Manifest,
        cascade: Cascade,
        engines: Mapping[str, Engine],
        batch_size: int,
        workers: int,
        memo: AnswerMemo,
    ) -> None:
        # Alone: nobody is behind it here to answer for it.
        step = replace(first_step(manifest, cascade), is_first=False)
        roles = tuple(
            role.model_copy(
                update={
                    "network": cascade.network,
                    "output": student_output(role.network, role.output),
                }
            )
            for role in manifest.roles
        )
        self._suspicious = tuple(role.name for role in manifest.roles if role.suspicious)
        alone = manifest.model_copy(update={"roles": roles, "cascade": None})
        executor = CpuExecutor((step,), engines, batch_size, workers, memo)
        self._scheduler = Scheduler(alone, (step,), [executor])

    def suspicion(self, images: CellImages | Sequence[UInt8]) -> Float32 | None:
        """Return the highest probability of a suspicious role, float32 (N,), per cell.

        Cells without a usable answer count as suspicious. None when time is up before all have one.
        """
        ids = np.arange(len(images), dtype=np.int64)
        self._scheduler.enter(ids, images)
        try:
            result = self._scheduler.run(flush=True)
        except DeadlineError:
            self._scheduler.give_up(ids)
            return None
        found = np.ones(len(ids), dtype=np.float32)
        columns = [result.scores.roles[name] for name in self._suspicious]
        if columns:
            found[result.scores.ids] = np.max(columns, axis=0)
        return found

    def close(self) -> None:
        """End its threads; the engines stay open."""
        self._scheduler.close()
