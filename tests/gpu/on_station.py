"""The networks of a station on the GPU: one process, killed once and back."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from edgeapl.calibration.builder.build import build_engine
from edgeapl.calibration.builder.request import BuildRequest
from edgeapl.engines.hosted import process
from edgeapl.engines.registry import CUDA, PLANS, available_targets
from edgeapl.engines.store.folder import EngineFolder
from edgeapl.engines.trt import local_runtime
from edgeapl.errors import ModelError
from edgeapl.model import EMBEDDED, ModelRequest
from edgeapl.protocols import Engine
from edgeapl.station.hosted_model import HostedModel, open_hosted
from edgeapl.testing import FakeDriver
from tests import gpu_child
from tests.fake_tensorrt import FakeTensorRt
from tests.gpu.record import UnmetError
from tests.gpu.site import Site
from tests.gpu_chain import OTHERS
from tests.gpu_engines import write_plans
from tests.small_bundle import small_bundle

BACK_WITHIN_S = 60.0


def one_process(site: Site) -> dict[str, Any]:
    """Open a station's networks, kill their process, and time until the head answers again."""
    with (
        tempfile.TemporaryDirectory() as work,
        _engines(site, Path(work)) as (bundle, engines),
        open_hosted(ModelRequest(bundle, engines=engines)) as hosted,
    ):
        groups = [group.value for group in hosted.hosts]
        pid = _only_process(hosted)
        head = hosted.model.head
        if head is None:
            raise UnmetError(f"{bundle.name} has no head")
        times = [_asked(head) for _ in range(site.rounds(200, 5))]
        on_gpu = _processes_on_gpu()
        os.kill(pid, signal.SIGKILL)
        back = _until_back(head)
        if _only_process(hosted) == pid or hosted.restarts != 1:
            raise UnmetError(f"{hosted.restarts} restarts after one process was killed")
        return {
            "target": engines.record.target,
            "groups": groups,
            "processes_on_gpu": on_gpu,
            "kept_back_s": hosted.back_s,
            "back_after_kill_s": back,
            "head_ms": 1e3 * float(np.median(times)),
        }


def _only_process(hosted: HostedModel) -> int:
    pids = {host.health.pid for host in hosted.hosts.values()}
    pid = pids.pop()
    if pids or pid is None:
        raise UnmetError(f"the groups of networks are in {len(pids) + 1} processes, or in none")
    return pid


def _asked(head: Engine) -> float:
    given = {
        name: np.full([1 if size is None else size for size in shape], 0.3, dtype)
        for name, (dtype, shape) in head.inputs.items()
    }
    start = time.perf_counter()
    head.run(given)
    return time.perf_counter() - start


def _until_back(head: Engine) -> float:
    """Ask until there is an answer; gives how long that took, s."""
    start = time.perf_counter()
    while True:
        try:
            _asked(head)
        except ModelError as error:
            if time.perf_counter() - start > BACK_WITHIN_S:
                raise UnmetError(f"not back within {BACK_WITHIN_S:g} s: {error}") from error
            continue
        return time.perf_counter() - start


def _processes_on_gpu() -> int | None:
    """Give how many processes have a context, as NVIDIA's program tells; None without it."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, "--query-compute-apps=pid", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    return len(done.stdout.split())


@contextmanager
def _engines(site: Site, work: Path) -> Iterator[tuple[Path, EngineFolder]]:
    """Give a bundle and engines of it for the GPU; in a dry run, for one that is not there."""
    if site.dry:
        with _fake_engines(work) as made:
            yield made
        return
    there = [one.target for one in available_targets() if not one.build and not one.run]
    served = [one for one in (*PLANS, CUDA) if one in there and not site.refusal(one)]
    if not served:
        raise UnmetError("neither TensorRT nor onnxruntime's CUDA provider runs here")
    request = BuildRequest(EMBEDDED, "fp32", served[0], work / "engines", frames=site.frames)
    yield EMBEDDED, build_engine(request, lambda _: None)


@contextmanager
def _fake_engines(work: Path) -> Iterator[tuple[Path, EngineFolder]]:
    small_bundle(work / "bundle")
    (work / "flags").mkdir()
    fake = FakeTensorRt(FakeDriver(), largest=8, others=OTHERS)
    engines = write_plans(work, work / "engines", fake)
    with (
        patch.object(process, "CHILD", gpu_child.__name__),
        patch.dict(os.environ, {gpu_child.FLAGS: str(work / "flags")}),
        patch.object(local_runtime, "find_library", lambda target: fake.library),
        patch.object(local_runtime, "load_driver", lambda: fake.driver),
    ):
        yield work / "bundle", engines
