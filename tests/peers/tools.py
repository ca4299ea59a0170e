"""Other tools behind one shape: a call that answers for some cells."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from edgeapl.bench.bare_networks import Opener, Setting, batches_of, session
from edgeapl.cores import cpu_cores
from edgeapl.protocols import Arrays
from edgeapl.types import UInt8

Call = Callable[[], object]
"""Answers for all cells once."""


class MissingTool(Exception):  # noqa: N818 - it is left out and said, no error
    """A tool that is not installed, or cannot run this network, with the reason."""


@dataclass(frozen=True)
class Job:
    """One network and the cells it is shown.

    name : of the network. model : ONNX of the bundle. input : its name.
    crops : uint8 (N, size, size, 3) RGB.
    """

    name: str
    model: bytes
    input: str
    crops: UInt8

    @property
    def rows(self) -> Arrays:
        """The cells as the network's input."""
        return {self.input: self.crops}


def edgeapl_call(opener: Opener, job: Job, setting: Setting, opened: ExitStack) -> Call:
    """Run our engine as `bench --floor` found it to be the fastest."""
    engine = opened.enter_context(session(opener, setting))
    parts = every_row(job.rows, setting.batch)
    return lambda: side_by_side([engine.run] * setting.workers, parts)


def per_cell_call(job: Job) -> Call:
    """Run the published way: default session, cell by cell, with a look at each by itself."""
    session = onnxruntime.InferenceSession(job.model, providers=["CPUExecutionProvider"])

    def call() -> list[Any]:
        return [
            session.run(None, {job.input: job.crops[row : row + 1]})
            for row in range(len(job.crops))
        ]

    return call


def openvino_call(job: Job) -> Call:
    """Run OpenVINO in throughput mode, with as many requests as it asks for."""
    if importlib.util.find_spec("openvino") is None:
        raise MissingTool("pip install 'edgeapl[openvino]'")
    ov = importlib.import_module("edgeapl.engines.openvino").ov
    core = ov.Core()
    model = core.read_model(job.model)
    model.reshape({job.input: [1, *job.crops.shape[1:]]})
    settings = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(model, "CPU", settings)
    count = int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
    requests = [compiled.create_infer_request() for _ in range(count)]

    def run(request: Any) -> Callable[[Arrays], object]:
        return lambda rows: request.infer(dict(rows))

    parts = every_row(job.rows, 1)
    return lambda: side_by_side([run(request) for request in requests], parts)


def torch_call(job: Job) -> Call:
    """Run the architecture in eager PyTorch, NCHW, batch 8; weights make no difference to time."""
    if importlib.util.find_spec("torch") is None:
        raise MissingTool("pip install torch")
    if job.crops.shape[1] != 299:
        raise MissingTool("only for networks at 299 x 299, Xception")
    torch = importlib.import_module("torch")
    xception = importlib.import_module("edgeapl.export.architectures.xception")
    module = xception.Xception().eval()
    torch.set_num_threads(cpu_cores())

    def call() -> None:
        with torch.inference_mode():
            for first in range(0, len(job.crops), 8):
                part = job.crops[first : first + 8].astype(np.float32) / 127.5 - 1
                module(torch.from_numpy(np.ascontiguousarray(part.transpose(0, 3, 1, 2))))

    return call


def benchmark_app_ms(job: Job, seconds: int = 10) -> float:
    """Give milliseconds per cell by OpenVINO's own `benchmark_app`, throughput mode."""
    command = shutil.which("benchmark_app")
    if command is None:
        raise MissingTool("benchmark_app is not on the PATH")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        path.write_bytes(job.model)
        shape = ",".join(str(size) for size in (1, *job.crops.shape[1:]))
        arguments = [
            command, "-m", str(path), "-d", "CPU", "-hint", "throughput", "-t", str(seconds),
            "-shape", f"{job.input}[{shape}]", "-infer_precision", "f32",
        ]  # fmt: skip
        limit_s = 60 + seconds
        try:
            done = subprocess.run(
                arguments, capture_output=True, text=True, check=False, timeout=limit_s
            )
        except subprocess.TimeoutExpired as late:
            raise MissingTool(f"benchmark_app did not end within {limit_s} s") from late
    found = re.search(r"Throughput:\s+([0-9.]+)\s*FPS", done.stdout)
    if done.returncode or found is None:
        raise MissingTool(f"benchmark_app failed: {json.dumps(done.stderr[-200:])}")
    return 1e3 / float(found[1])


def every_row(rows: Arrays, batch: int) -> tuple[Arrays, ...]:
    """Cut rows into batches, the last one smaller if need be: a peer may leave none out."""
    count = len(next(iter(rows.values())))
    whole = batches_of(rows, batch) if count >= batch else ()
    rest = {name: value[len(whole) * batch :] for name, value in rows.items()}
    return (*whole, rest) if len(next(iter(rest.values()))) else whole


def side_by_side(runs: Sequence[Callable[[Arrays], object]], parts: Sequence[Arrays]) -> None:
    """Let several sessions take batches from one line until none is left."""
    line = iter(parts)
    lock = threading.Lock()

    def work(run: Callable[[Arrays], object]) -> None:
        while True:
            with lock:
                part = next(line, None)
            if part is None:
                return
            run(part)

    with ThreadPoolExecutor(len(runs)) as pool:
        list(pool.map(work, runs))  # raises what a session raised
