"""Things that take turns, round after round, so that whatever else the machine does meets all."""

from __future__ import annotations

import math
import time

from edgeapl.bench.runner import PipelineRunner, Until
from edgeapl.bench.workload import BenchSlide

ROUNDS = 5
"""Each round is one pair."""

ROUND_S = 10.0
"""A round of the pipeline takes as many frames as fit into this, but at least `LEAST_FRAMES`."""

LEAST_FRAMES = 4
"""Nothing hides that the first frame is searched for cells: a twentieth of its time with three deep
networks, and so a hundredth of a round."""


def frames_of_round(runner: PipelineRunner, slide: BenchSlide) -> int:
    """Return the frames that the pipeline is given in a round; one is run to find out."""
    start = time.perf_counter()
    runner.run(slide, 1, Until())
    one_s = time.perf_counter() - start
    return max(1, min(len(slide.files), max(LEAST_FRAMES, math.floor(ROUND_S / one_s))))
