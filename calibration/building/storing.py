"""Write engines and their record into their place, and open the bundle with them once."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edgeapl import __version__
from edgeapl.bundle.digest import sha256_file
from edgeapl.bundle.load import Bundle
from edgeapl.bundle.manifest import Manifest
from edgeapl.calibration.building.candidates import Candidate, Say, proof_runtime
from edgeapl.calibration.building.files import MadeNetwork
from edgeapl.calibration.building.proof_slides import ProofSlides
from edgeapl.calibration.building.race import BUNDLE, Race
from edgeapl.calibration.building.request import BuildRequest
from edgeapl.calibration.building.stopwatch import Stopwatch
from edgeapl.calibration.judging.document import engine_proof_document
from edgeapl.engines.in_turn import InTurn, Opener
from edgeapl.engines.registry import BACKENDS, PLANS, open_engine
from edgeapl.engines.store.cache import cache_folder
from edgeapl.engines.store.folder import EngineFolder, write_engines
from edgeapl.engines.store.here import device_here, runtime_version
from edgeapl.engines.store.machine import machine_id
from edgeapl.engines.store.record import (
    CUTTER,
    BuiltFor,
    BuiltNetwork,
    EngineRecord,
    Precision,
)
from edgeapl.model.opening import Opened, open_model
from edgeapl.protocols import Engine


def store(
    bundle: Bundle,
    request: BuildRequest,
    race: Race,
    slides: ProofSlides,
    problems: Mapping[str, Sequence[str]],
    absent: Mapping[str, str],
    work: Path,
    say: Stopwatch,
) -> EngineFolder:
    """Write the fastest engines and their record, and open the bundle with them once.

    Parameters
    ----------
    problems : candidate to what its proof found. absent : target to why it was no candidate.
    work : of `work_folder`, for files on their way.
    """
    best = race.best
    files: dict[str, Path] = {}
    built: dict[str, BuiltNetwork] = {}
    for name, network in best.networks.items():
        path = _write(work, name, network, best.target, say)
        files[path.name] = path
        built[name] = _built(path, network.precision, network.kept)
    cutter = None
    if cuts_on_device(bundle.manifest, best.target):
        path = _write_cutter(work, bundle, best.target, say)
        files[path.name] = path
        cutter = _built(path, "fp32", ())
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
        cutter=cutter,
        settings=race.measured[best.name].settings,
        proof=_proof(bundle, best, slides, problems),
        timing={
            **_timing(race),
            "not_picked": {
                **race.not_picked(problems),
                **absent,
            },
            "stages": say.seconds(),
        },
    )

    def check(engines: EngineFolder) -> None:
        if best.target in BACKENDS:
            say("self-test with the engines")
            with InTurn(tuple(bundle.manifest.networks), _opener(engines)) as turns:
                open_model(bundle.folder, engines=engines, opener=lambda _: Opened(turns))

    return write_engines(request.out or cache_folder() / record.key, record, files, check)


def _proof(
    bundle: Bundle, best: Candidate, slides: ProofSlides, problems: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Give what was found when the engines were compared with the bundle."""
    return {
        "proven_on": slides.words,
        "limits_apply": bundle.manifest.trained,
        "run_in": proof_runtime(best.target),
        "candidates": {name: list(found) for name, found in problems.items()},
        "kept_for_the_flip_rate": list(best.repaired),
        **engine_proof_document(best.proof),
    }


def _timing(race: Race) -> dict[str, Any]:
    """Give what was measured of all that took turns."""
    best, seconds = race.best, race.seconds
    # A plan was timed as its graph on the CPU, which tells nothing about a GPU.
    speed = seconds[BUNDLE] / seconds[best.name] if best.target in BACKENDS else None
    return {
        "seconds_for_16_cells": dict(seconds),
        "speed_against_bundle": speed,
        "settings": {name: one.settings.text for name, one in race.measured.items()},
        "seconds_per_cell": dict(race.measured[best.name].seconds),
    }


@contextmanager
def work_folder(request: BuildRequest) -> Iterator[Path]:
    """Give an empty folder beside the place of the engines; in the end nothing of it is left."""
    base = request.out.parent if request.out else cache_folder()
    base.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".build-", dir=base) as work:
        yield Path(work)


def _opener(engines: EngineFolder) -> Opener:
    """Give what opens built engines as `open_model` does, for one at a time."""
    record = engines.record

    def open_one(name: str) -> Engine:
        return open_engine(
            record.target,
            name,
            engines.read(name),
            threads=record.settings.threads,
            workers=record.settings.workers or 1,
            origin=engines.origin(name),
        )

    return open_one


def _write(work: Path, name: str, network: MadeNetwork, target: str, say: Say) -> Path:
    if target not in PLANS:
        path = work / f"{name}.onnx"
        path.write_bytes(network.read())
        return path
    # Imported only when a plan is asked for.
    build = importlib.import_module("edgeapl.engines.trt.build")
    libraries = importlib.import_module("edgeapl.engines.trt.library")
    say(f"build plan of {name}")

    def progress(stage: str, done: int, total: int) -> None:
        say(f"build plan of {name}: {stage} {done} of {total}")

    path = work / f"{name}.plan"
    library = libraries.find_library(target)
    plan = build.build_plan(network.read(), name=name, library=library, on_progress=progress)
    path.write_bytes(plan)
    return path


def cuts_on_device(manifest: Manifest, target: str) -> bool:
    """Whether plans get one that cuts cells beside them.

    Those of a bundle that judges whole fields do not: the one small image of a field is less to
    copy than the field.
    """
    return target in PLANS and manifest.segmenter.kind != "field"


def _write_cutter(work: Path, bundle: Bundle, target: str, say: Say) -> Path:
    """Build the plan that cuts cells on the GPU."""
    build = importlib.import_module("edgeapl.engines.trt.build")
    crop = importlib.import_module("edgeapl.engines.trt.crop_network")
    libraries = importlib.import_module("edgeapl.engines.trt.library")
    say("build plan that cuts cells")
    spec, um_per_px = bundle.manifest.crop, bundle.manifest.um_per_px
    plan = build.build_plan(
        crop.crop_network(spec),
        name=crop.NAME,
        library=libraries.find_library(target),
        ranges=crop.crop_ranges(spec, um_per_px),
    )
    path = work / f"{CUTTER}.plan"
    path.write_bytes(plan)
    return path


def _built(path: Path, precision: Precision, kept: tuple[str, ...]) -> BuiltNetwork:
    return BuiltNetwork(
        file=path.name,
        sha256=sha256_file(path),
        size=path.stat().st_size,
        precision=precision,
        kept=kept,
    )


def _built_for(target: str) -> BuiltFor:
    device = device_here(target)
    return BuiltFor(
        library=target,
        version=runtime_version(target),
        device=device.name,
        capability=device.capability,
        machine=machine_id(),
    )
