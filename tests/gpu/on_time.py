"""How long it takes: opening, the first run, stages, a whole frame, and others on the same GPU."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from edgeapl.bundle.load import open_bundle
from edgeapl.engines.trt.engine import TrtEngine
from edgeapl.inference import classify
from edgeapl.inference.routing import chain_links
from edgeapl.model import EMBEDDED
from edgeapl.stages.crop import uncut_cells
from tests.data.measure_gpu import measured, noise
from tests.gpu.record import UnmetError
from tests.gpu.site import BATCH, DRY_FRAME, FRAME, Runtime, Site, Stand, model_on

CELLS = 169
AIM_S = 0.1
"""For a frame of 169 cells and three Xceptions."""

XCEPTIONS = 3
PERCENTILES = (50, 90, 99)
TREXEC_S = 60


def first_run(site: Site) -> dict[str, Any]:
    """Time opening, the warm-up, and the first run behind it, which must be like the others."""
    found = {}
    for runtime in site.runtimes():
        bundle = open_bundle(EMBEDDED)
        link = chain_links(bundle.manifest)[0]
        onnx = bundle.read(bundle.manifest.networks[link.network].file)
        start = time.perf_counter()
        engine = runtime.open(onnx, link.network, BATCH)
        opened = time.perf_counter()
        engine.warm_up()
        warmed = time.perf_counter()
        times = [_run(engine) for _ in range(site.rounds(50, 5))]
        engine.close()
        found[runtime.name] = {
            "build_and_open_s": opened - start,
            "warm_up_s": warmed - opened,
            "first_ms": 1e3 * times[0],
            **_percentiles(times[1:]),
        }
        if not site.dry and times[0] > 10 * float(np.median(times[1:])) + 0.01:
            raise UnmetError(f"{runtime.name}: the first run took {1e3 * times[0]:.1f} ms", found)
    return found


def _run(engine: TrtEngine) -> float:
    size = next(iter(engine.inputs.values()))[1]
    name, (dtype, _) = next(iter(engine.inputs.items()))
    values = np.zeros([BATCH if n is None else n for n in size], dtype)
    start = time.perf_counter()
    engine.run({name: values})
    return time.perf_counter() - start


def _percentiles(seconds: list[float]) -> dict[str, float]:
    return {f"p{one}_ms": 1e3 * float(np.percentile(seconds, one)) for one in PERCENTILES}


def stages(site: Site) -> dict[str, Any]:
    """Time a frame through the chain again and again, and its kernels alone."""
    found = {}
    for runtime in site.runtimes():
        with model_on(runtime, EMBEDDED, "fp16") as model:
            height, width = DRY_FRAME if site.dry else FRAME
            cells = noise(model, site.rounds(CELLS, 20), height, width)
            chain = model.chain
            assert chain is not None
            uncut = uncut_cells(cells, model.bundle.manifest.crop)
            times = []
            for _ in range(site.rounds(60, 3)):
                start = time.perf_counter()
                classify(model.bundle.manifest, model.engines, uncut, chain=chain).checked()
                times.append(time.perf_counter() - start)
            timed = measured(model, cells, site.rounds(20, 2))
        found[runtime.name] = {
            "whole": _percentiles(times[1:]),
            "engines_one_by_one_ms": 1e3 * timed.engines_s,
            "in_a_row_ms": 1e3 * timed.steady_s,
            "kernels_ms": 1e3 * timed.bare_s,
            "bytes_up": timed.moved.up,
            "bytes_down": timed.moved.down,
        }
    return found


def frame(site: Site) -> dict[str, Any]:
    """Time the published frame: 169 cells, three Xceptions, under 100 ms with TensorRT."""
    folder = three_xceptions(site)
    found, slow = {}, []
    for runtime in site.runtimes():
        with model_on(runtime, folder, "fp16") as model:
            height, width = DRY_FRAME if site.dry else FRAME
            cells = noise(model, site.rounds(CELLS, 20), height, width)
            timed = measured(model, cells, site.rounds(20, 2))
        found[runtime.name] = {"ms": 1e3 * timed.alone_s, "in_a_row_ms": 1e3 * timed.steady_s}
        if not site.dry and not isinstance(runtime, Stand) and timed.alone_s > AIM_S:
            slow.append(f"{runtime.name}: {1e3 * timed.alone_s:.0f} ms")
    if slow:
        raise UnmetError(f"more than {1e3 * AIM_S:.0f} ms: {', '.join(slow)}", found)
    return found


def three_xceptions(site: Site) -> Path:
    """Give a bundle with three networks that see every cell; raises UnmetError without one."""
    bundles = site.bundles if not site.dry else (EMBEDDED,)
    three = [one for one in bundles if site.dry or _images(one) >= XCEPTIONS]
    if not three:
        text = "give --export eckardt2022 where torch is installed, or --bundle FOLDER"
        raise UnmetError(f"no bundle with three networks that see every cell: {text}")
    return three[0]


def _images(folder: Path) -> int:
    return sum(link.after is None for link in chain_links(open_bundle(folder).manifest))


def against_torch(site: Site) -> dict[str, Any]:
    """Give how many times faster each runtime's kernels are than torch's, in the same run."""
    if not find_spec("torch"):
        raise UnmetError("torch is not installed")
    seconds = {runtime.name: _bare(site, runtime) for runtime in site.runtimes()}
    if "torch" not in seconds and not site.dry:
        raise UnmetError("torch does not see the GPU")
    slowest = seconds.get("torch", max(seconds.values()))
    return {name: {"ms": 1e3 * one, "times": slowest / one} for name, one in seconds.items()}


def _bare(site: Site, runtime: Runtime) -> float:
    bundle = open_bundle((*site.bundles, EMBEDDED)[0])
    link = chain_links(bundle.manifest)[0]
    onnx = bundle.read(bundle.manifest.networks[link.network].file)
    engine = runtime.open(onnx, link.network, BATCH)
    try:
        return engine.bare_seconds(BATCH, site.rounds(50, 2))
    finally:
        engine.close()


def against_trtexec(site: Site) -> dict[str, Any]:
    """Compare with NVIDIA's own program on the same network in the same run."""
    program = shutil.which("trtexec")
    if program is None:
        raise UnmetError("trtexec is not here")
    ours = next((one for one in site.runtimes() if one.name == "tensorrt"), None)
    if ours is None:
        raise UnmetError("TensorRT does not run here, so trtexec has nothing to be compared with")
    bundle = open_bundle(EMBEDDED)
    link = chain_links(bundle.manifest)[0]
    onnx = bundle.read(bundle.manifest.networks[link.network].file)
    shape = "x".join(["16", *map(str, (bundle.manifest.crop.size_px,) * 2), "3"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        path.write_bytes(onnx)
        sizes = f"--shapes={link.input}:{shape}"
        command = [program, f"--onnx={path}", sizes, "--stronglyTyped", "--noTF32"]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=TREXEC_S
        )
    told = re.search(r"GPU Compute Time:.*?median = ([\d.]+) ms", done.stdout)
    if told is None:
        raise UnmetError(f"trtexec gave no time: {done.stdout[-300:]} {done.stderr[-300:]}")
    mine = 1e3 * _bare(site, ours)
    return {"trtexec_ms": float(told[1]), "ours_ms": mine, "ratio": mine / float(told[1])}
