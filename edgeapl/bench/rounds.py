"""Alternates measurements round by round, so that other load affects them all."""

from __future__ import annotations

import math
import time

from edgeapl.bench.runner import Deadline, PipelineRunner
from edgeapl.bench.time_limit import TimeLimit
from edgeapl.bench.workload import BenchSlide

ROUNDS = 5
"""Each round is one pair."""

ROUND_S = 10.0
"""A pipeline round takes as many frames as fit into this time, but at least `LEAST_FRAMES`."""

LEAST_FRAMES = 4
"""The cell search of the first frame is not hidden behind networks: a twentieth of its time with
three deep networks, and so a hundredth of a round.
"""


def frames_of_round(runner: PipelineRunner, slide: BenchSlide, limit: TimeLimit) -> int:
    """Return the frames that the pipeline is given in a round; one is run to find out.

    limit : of all rounds together, half of which are the pipeline's.
    """
    start = time.perf_counter()
    runner.run(slide, 1, Deadline())
    one_s = time.perf_counter() - start
    fit = math.floor(min(ROUND_S, limit.left_s / (2 * ROUNDS)) / one_s)
    least = LEAST_FRAMES if LEAST_FRAMES * one_s * 2 * ROUNDS <= limit.left_s else 1
    return max(1, min(len(slide.files), max(least, fit)))
