"""Build engines: files, proof, choice, record; nothing is left behind when it fails."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edgeapl import __version__
from edgeapl.bundle.digest import sha256_file
from edgeapl.bundle.load import Bundle, open_bundle
from edgeapl.calibration.building.files import MadeNetwork, make_network, quantiser, ranges_of
from edgeapl.calibration.building.proof_slides import ProofSlides, proof_slides
from edgeapl.calibration.building.timing import best_settings, classify_cells, time_in_turns
from edgeapl.calibration.judging.damage import rank_layers, repair
from edgeapl.calibration.judging.document import engine_proof_document
from edgeapl.calibration.judging.engine_proof import EngineProof, prove_engine
from edgeapl.engines.registry import BACKENDS, PLANS, available_targets, open_engine
from edgeapl.engines.store.cache import cache_folder
from edgeapl.engines.store.folder import EngineFolder, write_engines
from edgeapl.engines.store.here import device_here, runtime_version
from edgeapl.engines.store.machine import machine_id
from edgeapl.engines.store.record import (
    BuiltFor,
    BuiltNetwork,
    EngineRecord,
    Precision,
    Settings,
)
from edgeapl.errors import ProofError
from edgeapl.model.assembled import segmenter_of
from edgeapl.model.opening import open_model
from edgeapl.protocols import Arrays, Engine
from edgeapl.stages.routing import steps
from edgeapl.types import UInt8

RANKED_CELLS = 16
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """What to build.

    precision : None to choose among all that can be built. target : ``auto`` to choose among those
    that run here. out : None for the cache. frames, cell_images, um_per_px : what to prove on.
    max_flip_rate : keep layers in a higher precision until no more cells flip; None to fail.
    """

    bundle: Path
    precision: Precision | None = None
    target: str = "auto"
    out: Path | None = None
    frames: Path | None = None
    cell_images: bool = False
    um_per_px: float | None = None
    max_flip_rate: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Candidate:
    """Engines that could be built.

    networks : as files. proof : of them, run in onnxruntime. repaired : what was tried to keep the
    flip rate.
    """

    target: str
    precision: Precision
    networks: Mapping[str, MadeNetwork]
    proof: EngineProof
    repaired: tuple[dict[str, Any], ...]

    @property
    def name(self) -> str:
        return f"{self.precision} {self.target}"


def build_engine(request: BuildRequest, say: Say) -> EngineFolder:
    """Build, prove and store engines; of several candidates the fastest that passes.

    Raises ProofError when none passes, EngineError when one can not be built.
    """
    bundle = open_bundle(request.bundle)
    reference = {
        name: open_engine("onnxruntime", name, bundle.read(network.file), threads=_cores())
        for name, network in bundle.manifest.networks.items()
    }
    with ExitStack() as opened:
        for engine in reference.values():
            opened.callback(engine.close)
        say("slides to prove on")
        slides = proof_slides(
            bundle,
            segmenter_of(bundle.manifest, reference),
            request.frames,
            cell_images=request.cell_images,
            um_per_px=request.um_per_px,
        )
        candidates = [
            _candidate(bundle, target, precision, reference, slides, request, say)
            for target, precision in _wanted(bundle, request)
        ]
        passed = [one for one in candidates if not one.proof.problems or not _counts(bundle)]
        if not passed:
            raise _refusal(candidates)
        say("time candidates in turns")
        seconds = _time(bundle, passed, reference, slides.slides[0][1])
        best = min(passed, key=lambda one: (seconds[one.name], one.name))
        others = {one.name: list(one.proof.problems) for one in candidates}
        return _store(bundle, request, best, slides, seconds, others, say)


def _counts(bundle: Bundle) -> bool:
    """Tell whether the limits hold.

    Cells of an untrained bundle flip at a breath, and it only ever gives REVIEW.
    """
    return bundle.manifest.trained


def _wanted(bundle: Bundle, request: BuildRequest) -> list[tuple[str, Precision]]:
    """Give what shall be built: one, or all that can be run on this machine."""
    precisions: list[Precision] = [request.precision] if request.precision else ["fp32"]
    if request.precision is None and bundle.manifest.calibration is not None:
        precisions.append("int8")
    if request.target != "auto":
        runtime_version(request.target)
        return [(request.target, precision) for precision in precisions]
    targets = [one.target for one in available_targets() if not one.build and not one.run]
    wanted = [(target, precision) for target in targets for precision in precisions]
    if any(target in PLANS for target in targets) and request.precision is None:
        wanted += [(target, "fp16") for target in targets if target in PLANS]
    return wanted


def _candidate(
    bundle: Bundle,
    target: str,
    precision: Precision,
    reference: Mapping[str, Engine],
    slides: ProofSlides,
    request: BuildRequest,
    say: Say,
) -> _Candidate:
    say(f"{precision} for {target}: write networks")
    networks = {
        name: make_network(bundle, name, target, precision, frozenset())
        for name in bundle.manifest.networks
    }
    say(f"{precision} for {target}: prove")
    proof = _prove(bundle, networks, reference, slides, request)
    limit = request.max_flip_rate
    if limit is None or precision != "int8" or not proof.problems:
        return _Candidate(target, precision, networks, proof, ())
    say(f"{precision} for {target}: rank layers by their damage")
    networks, repaired = _repaired(bundle, target, networks, reference, slides, request, limit)
    proof = _prove(bundle, networks, reference, slides, request)
    return _Candidate(target, precision, networks, proof, repaired)


def _prove(
    bundle: Bundle,
    networks: Mapping[str, MadeNetwork],
    reference: Mapping[str, Engine],
    slides: ProofSlides,
    request: BuildRequest,
) -> EngineProof:
    limits = bundle.manifest.limits
    if request.max_flip_rate is not None:
        limits = limits.model_copy(update={"max_flip_rate": request.max_flip_rate})
    with ExitStack() as opened:
        made = {
            name: open_engine("onnxruntime", name, network.provable, threads=_cores())
            for name, network in networks.items()
        }
        for engine in made.values():
            opened.callback(engine.close)
        return prove_engine(
            bundle.manifest, reference, made, slides.slides, limits, frames=slides.frames
        )


def _repaired(
    bundle: Bundle,
    target: str,
    networks: Mapping[str, MadeNetwork],
    reference: Mapping[str, Engine],
    slides: ProofSlides,
    request: BuildRequest,
    limit: float,
) -> tuple[dict[str, MadeNetwork], tuple[dict[str, Any], ...]]:
    """Keep layers in a higher precision, network by network, until the flip rate holds."""
    made = dict(networks)
    lines: list[dict[str, Any]] = []
    ranges = ranges_of(bundle)
    inputs = {step.network: step for step in steps(bundle.manifest) if step.after is None}
    for name in ranges:
        if name not in inputs:
            continue
        spec = bundle.manifest.networks[name]
        batch: Arrays = {spec.input: slides.slides[0][1][:RANKED_CELLS]}
        ranked = rank_layers(
            name,
            bundle.read(spec.file),
            ranges[name],
            [batch],
            quantiser(target),
            classes=spec.classes,
            threads=_cores(),
        )

        measured: list[float] = []

        def flips(
            keep: frozenset[str], name: str = name, measured: list[float] = measured
        ) -> float:
            made[name] = make_network(bundle, name, target, "int8", keep)
            proof = _prove(bundle, made, reference, slides, request)
            measured.append(proof.flip_rate)
            # Lost recall or a changed verdict is as bad as too many flips.
            return proof.flip_rate if not proof.problems else float("inf")

        found = repair(ranked, flips, limit)
        chosen = found.chosen or found.steps[-1]
        made[name] = make_network(bundle, name, target, "int8", chosen.kept)
        lines += [
            {"network": name, "kept": list(step.layers), "flip_rate": rate}
            for step, rate in zip(found.steps, measured, strict=True)
        ]
        if found.chosen is not None:
            break
    return made, tuple(lines)


def _time(
    bundle: Bundle,
    candidates: Sequence[_Candidate],
    reference: Mapping[str, Engine],
    crops: UInt8,
) -> dict[str, float]:
    """Give seconds for 16 cells per candidate, and for the bundle's own networks.

    A plan that can not run here is timed as its own graph in onnxruntime, which tells nothing about
    the GPU: it is only ever built when it was asked for.
    """
    with ExitStack() as opened:
        runs = {"bundle": classify_cells(bundle.manifest, reference, crops, 4)}
        for one in candidates:
            target = one.target if one.target in BACKENDS else "onnxruntime"
            engines = {
                name: open_engine(target, name, network.onnx, threads=_cores())
                for name, network in one.networks.items()
            }
            for engine in engines.values():
                opened.callback(engine.close)
            runs[one.name] = classify_cells(bundle.manifest, engines, crops, 4)
        return time_in_turns(runs)


def _store(
    bundle: Bundle,
    request: BuildRequest,
    best: _Candidate,
    slides: ProofSlides,
    seconds: Mapping[str, float],
    others: Mapping[str, list[str]],
    say: Say,
) -> EngineFolder:
    """Write the engines and their record, and open the bundle with them once."""
    settings, grid = _settings(bundle, best, slides.slides[0][1], say)
    base = (request.out or cache_folder()).parent if request.out else cache_folder()
    base.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".build-", dir=base) as work:
        files: dict[str, Path] = {}
        built: dict[str, BuiltNetwork] = {}
        for name, network in best.networks.items():
            path = _write(Path(work), name, network, best.target, say)
            files[path.name] = path
            built[name] = BuiltNetwork(
                file=path.name,
                sha256=sha256_file(path),
                size=path.stat().st_size,
                precision=network.precision,
                kept=network.kept,
            )
        record = EngineRecord(
            schema=1,
            research_use_only=True,
            bundle=bundle.digest,
            bundle_name=bundle.manifest.name,
            precision=best.precision,
            target=best.target,
            built_for=_built_for(best.target),
            software=f"edgeapl {__version__}",
            built_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            networks=built,
            settings=settings,
            proof={
                "proven_on": slides.words,
                "limits_apply": _counts(bundle),
                "run_in": "onnxruntime",
                "candidates": dict(others),
                "kept_for_the_flip_rate": list(best.repaired),
                **engine_proof_document(best.proof),
            },
            timing={
                "seconds_for_16_cells": dict(seconds),
                # A plan was timed as its graph on the CPU, which tells nothing about a GPU.
                "speed_against_bundle": (
                    seconds["bundle"] / seconds[best.name] if best.target in BACKENDS else None
                ),
                "seconds_per_cell": grid,
            },
        )
        folder = write_engines(request.out or base / record.key, record, files)
    if best.target in BACKENDS:
        say("self-test with the engines")
        open_model(bundle.folder, engines=folder).close()
    return folder


def _settings(
    bundle: Bundle, best: _Candidate, crops: UInt8, say: Say
) -> tuple[Settings, dict[str, float]]:
    if best.target not in BACKENDS:
        return Settings(threads=1, batch_size=16), {}
    say("measure threads and batch")

    def opener(threads: int) -> dict[str, Engine]:
        return {
            name: open_engine(best.target, name, network.onnx, threads=threads)
            for name, network in best.networks.items()
        }

    return best_settings(bundle.manifest, opener, crops, _cores())


def _write(work: Path, name: str, network: MadeNetwork, target: str, say: Say) -> Path:
    if target not in PLANS:
        path = work / f"{name}.onnx"
        path.write_bytes(network.onnx)
        return path
    from edgeapl.engines.trt.build import build_plan  # noqa: PLC0415 - only where it is asked for
    from edgeapl.engines.trt.library import find_library  # noqa: PLC0415

    say(f"build plan of {name}")

    def progress(stage: str, done: int, total: int) -> None:
        say(f"build plan of {name}: {stage} {done} of {total}")

    path = work / f"{name}.plan"
    library = find_library(target)
    path.write_bytes(build_plan(network.onnx, name=name, library=library, on_progress=progress))
    return path


def _built_for(target: str) -> BuiltFor:
    device = device_here(target)
    return BuiltFor(
        library=target,
        version=runtime_version(target),
        device=device.name,
        capability=device.capability,
        machine=machine_id(),
    )


def _cores() -> int:
    return os.cpu_count() or 1


def _refusal(candidates: Sequence[_Candidate]) -> ProofError:
    worst = candidates[-1]
    hurt = "; give --max-flip-rate to keep the layers that hurt in a higher precision"
    return ProofError(
        "engines do not answer like the bundle",
        worst.name,
        "; ".join(worst.proof.problems[:3]) + (hurt if worst.precision == "int8" else ""),
    )
