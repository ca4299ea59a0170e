"""The limits of this machine: matrix products through the runtime, and memory copies."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgeapl.bench.bare_networks import Setting, run_rows, session, settings_to_try
from edgeapl.engines.registry import open_engine
from edgeapl.protocols import Engine

SIZE = 1024
"""Rows and columns of the matrices: 1 MiB of bytes and 4 MiB of floats fit into caches."""

REPEAT = 4
WINDOW_S = 0.3

COPY_BYTES = 128 << 20
"""Larger than the caches of any CPU in a station."""

Maker = Callable[[int, bool, int], bytes]
"""Makes the model of a product: size, INT8 or not, how many products."""


@dataclass(frozen=True, slots=True)
class Peak:
    """The machine's best, operations and bytes per second; None if not measured.

    by : what computed it. notes : what was not measured, and why.
    """

    by: str
    fp32: float
    int8: float | None
    bytes_per_s: float
    notes: tuple[str, ...] = ()

    def of(self, precision: str) -> float | None:
        """Return the peak for a precision; None if not measured."""
        return {"fp32": self.fp32, "int8": self.int8}.get(precision)


def higher_peak(one: Peak, other: Peak) -> Peak:
    """Return the higher of two measurements: other load can only lower a peak."""
    int8 = None if one.int8 is None or other.int8 is None else max(one.int8, other.int8)
    traffic = max(one.bytes_per_s, other.bytes_per_s)
    return replace(one, fp32=max(one.fp32, other.fp32), int8=int8, bytes_per_s=traffic)


def measure_peak(cores: int, maker: Maker | None) -> Peak:
    """Measure it on `cores` cores. maker : None if onnx is not installed."""
    traffic = copied_bytes_per_s(cores)
    if maker is None:
        note = "INT8 peak was not measured: pip install 'edgeapl[build]' brings onnx"
        return Peak("numpy", numpy_flop_per_s(), None, traffic, (note,))
    ways = settings_to_try(cores, (SIZE,))
    fp32 = product_flop_per_s(maker, ways, int8=False)
    int8 = product_flop_per_s(maker, ways, int8=True)
    return Peak("onnxruntime", fp32, int8, traffic)


def product_flop_per_s(maker: Maker, ways: Sequence[Setting], *, int8: bool) -> float:
    """Return the operations per second of the fastest way to multiply through onnxruntime."""
    model = maker(SIZE, int8, REPEAT)
    random = np.random.default_rng(1)
    values = random.integers(0, 256, (SIZE, SIZE)).astype(np.uint8 if int8 else np.float32)
    rates = []
    for way in ways:
        with session(lambda threads, _: _opened(model, threads), way) as engine:
            # Twice: the first time raises the CPU's clock.
            runs = [run_rows(engine, {"a": values}, way, WINDOW_S) for _ in range(2)]
        rates += [run.rows_per_s for run in runs]
    return max(rates) * 2 * SIZE * SIZE * REPEAT


def _opened(model: bytes, threads: int) -> Engine:
    return open_engine("onnxruntime", "product", model, threads=threads)


def numpy_flop_per_s() -> float:
    """Return the FP32 operations per second of numpy's matrix product, with its own threads."""
    random = np.random.default_rng(1)
    first, second = (random.normal(size=(SIZE, SIZE)).astype(np.float32) for _ in range(2))
    out = np.empty_like(first)
    best = min(_taken(lambda: np.matmul(first, second, out=out)) for _ in range(10))
    return 2 * SIZE**3 / best


def copied_bytes_per_s(cores: int) -> float:
    """Return the bytes read and written per second by copies on all cores."""
    source = np.ones(COPY_BYTES // 8, np.float64)
    target = np.zeros_like(source)
    pairs = list(zip(np.array_split(source, cores), np.array_split(target, cores), strict=True))

    def copy_all() -> None:
        threads = [threading.Thread(target=np.copyto, args=(b, a)) for a, b in pairs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return 2 * COPY_BYTES / min(_taken(copy_all) for _ in range(5))


def _taken(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
