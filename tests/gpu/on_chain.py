"""The real chain: batches on four streams that are held up at random, every answer compared."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import numpy as np

from edgeapl.engines.trt.memory import GpuMemory
from tests.gpu.record import UnmetError
from tests.gpu.site import Runtime, Site
from tests.gpu_chain import LINKS, NAMES, NETWORKS, SPEC, Answers, Field, field, plainly

FIELDS = 24
SCALE = 0.2
TOLERANCE = {"fake": 1e-5}
USUAL_TOLERANCE = 2e-3
"""Of a probability or feature, between a GPU and onnxruntime on the processor."""

FILLED_BYTES = 64 << 20
LONGEST_HOLD_S = 0.002


def answers(site: Site) -> dict[str, Any]:
    """Run 400 batches of random cells of several frames; none may have another's answer."""
    return {runtime.name: _answers(site, runtime) for runtime in site.runtimes()}


def _answers(site: Site, runtime: Runtime) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    fields = [field(seed, cells=8) for seed in range(FIELDS)]
    alone = [plainly([(one, slice(None))]) for one in fields]
    engines = {name: runtime.open(onnx, name, 8) for name, onnx in NETWORKS.items()}
    chain = runtime.chain(engines, LINKS, SPEC, SCALE)
    busy = _Busy(site, rng)
    batches = site.rounds(400, 12)
    under_way: deque[tuple[Field, Answers, slice]] = deque()
    worst = 0.0
    for _ in range(batches):
        number = int(rng.integers(FIELDS))
        one, first = fields[number], int(rng.integers(0, 8))
        rows = slice(first, int(rng.integers(first, 8)) + 1)
        if len(under_way) == chain.most_batches:
            worst = max(worst, _compared(chain.finish(), under_way.popleft()))
        place = chain.put(one.frame, one.labels)
        if place is None:
            raise UnmetError("no place is free though all frames were dropped")
        busy.hold_up()
        chain.start([one.on(place, rows)], NAMES)
        chain.drop(place)
        under_way.append((one, alone[number], rows))
    while under_way:
        worst = max(worst, _compared(chain.finish(), under_way.popleft()))
    chain.close()
    for engine in engines.values():
        engine.close()
    busy.close()
    limit = TOLERANCE.get(runtime.name, USUAL_TOLERANCE)
    found = {"batches": batches, "largest_difference": worst, "allowed": limit}
    if not worst <= limit:
        text = f"{runtime.name}: an answer differs by {worst:.3g}, allowed {limit:g}"
        raise UnmetError(text, {runtime.name: found})
    return found


def _compared(got: Answers, asked: tuple[Field, Answers, slice]) -> float:
    """Give the largest difference of any answer; NaN, and a missing row, are infinitely far."""
    _, wanted, rows = asked
    worst = 0.0
    for name, outputs in wanted.items():
        for key, values in outputs.items():
            have, want = got[name][key].astype(np.float64), values[rows].astype(np.float64)
            if have.shape != want.shape or not np.isfinite(have).all():
                return float("inf")
            worst = max(worst, float(np.abs(have - want).max()))
    return worst


class _Busy:
    """Holds the GPU up with work of another stream, and the host by sleeping."""

    def __init__(self, site: Site, rng: np.random.Generator) -> None:
        self._rng = rng
        self._memory = GpuMemory(site.driver)
        with self._memory.active():
            self._filled = self._memory.buffer(FILLED_BYTES if not site.dry else 1024, "uint8")
            self._streams = [self._memory.new_stream() for _ in range(4)]

    def hold_up(self) -> None:
        """Start some of that work, on any of four streams."""
        with self._memory.active():
            for _ in range(int(self._rng.integers(0, 6))):
                stream = self._streams[int(self._rng.integers(4))]
                half = self._filled.host.nbytes // 2
                self._memory.move(self._filled.address + half, self._filled.address, half, stream)
        time.sleep(float(self._rng.random()) * LONGEST_HOLD_S)

    def close(self) -> None:
        self._memory.close()
