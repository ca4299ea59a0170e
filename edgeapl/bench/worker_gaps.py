"""How long workers had no cells, because the next frame was not decoded, gated and segmented."""

from __future__ import annotations

from dataclasses import dataclass

from edgeapl.bench.runner import INSIDE
from edgeapl.bench.scenarios import Measured
from edgeapl.inference.routing import steps
from edgeapl.model import Model


@dataclass(frozen=True, slots=True)
class WorkerGaps:
    """The time of all workers, and what of it they had nothing to run.

    runs_at_once : workers, with the runs that may wait inside the runtime. frames : answered.
    seconds : of each worker. waited_s : of all together.
    """

    runs_at_once: int
    frames: int
    seconds: float
    waited_s: float

    @property
    def per_frame_s(self) -> float:
        """Seconds that one worker waited for each frame, on average."""
        return self.waited_s / self.runs_at_once / max(1, self.frames)

    @property
    def share(self) -> float:
        """The same as a share of its time, 0 to 1."""
        whole = self.runs_at_once * self.seconds
        return self.waited_s / whole if whole else 0.0


def worker_gaps(model: Model, measured: Measured) -> WorkerGaps | None:
    """Return how long workers waited; None where a device runs the networks as a chain.

    All of a slide's time counts that a worker neither cut cells nor ran a network of cells: the
    first frame, which nothing hides, the commit, and what Python takes. So it is an upper bound.
    """
    if model.chain is not None:
        return None
    networks = [step.network for step in steps(model.bundle.manifest)]
    ran_s = sum(measured.work[name].seconds for name in networks if name in measured.work)
    frames = [frame for one in measured.passes for frame in one.frames]
    cut_s = sum(frame.stages.get(INSIDE, 0.0) for frame in frames)
    runs = model.workers + model.waiting
    waited_s = max(0.0, runs * measured.seconds - ran_s - cut_s)
    return WorkerGaps(runs, measured.frames, measured.seconds, waited_s)
