"""Stores engines and their record, and opens the bundle with them once."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeapl.bundle.load import Bundle
from edgeapl.calibration.builder.candidates import Candidate, prove_networks
from edgeapl.calibration.builder.on_device import USUAL, opened_on_device
from edgeapl.calibration.builder.plans import BuiltPlans, build_plans, built_network
from edgeapl.calibration.builder.proof_slides import ProofSlides
from edgeapl.calibration.builder.request import BuildRequest
from edgeapl.calibration.builder.sidecar import blank_record, proof_of
from edgeapl.calibration.builder.stopwatch import Stopwatch
from edgeapl.calibration.builder.tactic_selection import BUNDLE, Selection
from edgeapl.engines.exclusive import ExclusiveEngines, Opener
from edgeapl.engines.registry import BACKENDS, ON_GPU, PLANS, open_engine
from edgeapl.engines.store.cache import cache_folder
from edgeapl.engines.store.clocks import clocks
from edgeapl.engines.store.folder import EngineFolder, write_engines
from edgeapl.engines.store.record import BuiltNetwork, EngineRecord
from edgeapl.errors import ProofError
from edgeapl.model import ModelRequest
from edgeapl.model.opener import OpenNetworks, open_resolved
from edgeapl.model.resolution import resolve
from edgeapl.protocols import Engine


def store(
    bundle: Bundle,
    request: BuildRequest,
    race: Selection,
    slides: ProofSlides,
    problems: Mapping[str, Sequence[str]],
    absent: Mapping[str, str],
    work: Path,
    say: Stopwatch,
) -> EngineFolder:
    """Store the fastest engines and their record, and open the bundle with them once.

    Parameters
    ----------
    problems : candidate to what its proof found. absent : target to why it was not a candidate.
    work : from `work_folder`, for temporary files.
    """
    best = race.best
    record, files, best = _made(bundle, best, slides, request, work, say)
    record = record.model_copy(
        update={
            "settings": race.measured[best.name].settings,
            "proof": _proof(bundle, best, slides, problems),
            "layers_chosen_on": slides.images if best.repaired else (),
            "timing": {
                **_timing(race),
                "not_picked": {
                    **race.not_picked(problems),
                    **absent,
                },
                "stages": say.seconds(),
                "clocks": clocks() if best.target in ON_GPU else {},
            },
        }
    )

    def check(engines: EngineFolder) -> None:
        if best.plans is not None:
            # What was proven is what is stored: the same bytes, opened once more from there.
            say("self-test with the engines")
            with opened_on_device(bundle, engines):
                return
        if best.target in BACKENDS:
            say("self-test with the engines")
            with ExclusiveEngines(tuple(bundle.manifest.networks), _opener(engines)) as turns:
                resolved = resolve(ModelRequest(bundle.folder, engines=engines))
                open_resolved(resolved, lambda _: OpenNetworks(turns))

    return write_engines(request.out or cache_folder() / record.key, record, files, check)


def _made(
    bundle: Bundle,
    best: Candidate,
    slides: ProofSlides,
    request: BuildRequest,
    work: Path,
    say: Stopwatch,
) -> tuple[EngineRecord, Mapping[str, Path], Candidate]:
    """Return the record and files of the best; plans that were proven are already built.

    The candidate is returned as it was built: with layers in more bits where the library has no
    kernel for them, and then proven anew.
    """
    if best.plans is not None:
        record = best.plans.record
        folder = best.plans.folder
        return record, {one.file: folder / one.file for one in record.files.values()}, best
    if best.target in PLANS:
        folder = work / "plans"
        built = build_plans(
            bundle, best.networks, best.target, best.precision, request, folder, say
        )
        best = _as_built(bundle, best, built, slides, request, say)
    else:
        built = _copied(best, work)
    settings = USUAL
    record = blank_record(bundle, best.target, best.precision, built, request, settings)
    return record, built.files, best


def _as_built(
    bundle: Bundle,
    best: Candidate,
    built: BuiltPlans,
    slides: ProofSlides,
    request: BuildRequest,
    say: Stopwatch,
) -> Candidate:
    """Prove the files that plans were built from, unless it is those that were proven."""
    if dict(built.sources) == dict(best.networks):
        return best
    say(f"{best.precision} for {best.target}: prove with the layers that were kept higher")
    proof = prove_networks(bundle, best.target, built.sources, slides, request)
    if proof.problems and bundle.manifest.trained:
        raise ProofError(
            "engines do not answer like the bundle", best.name, "; ".join(proof.problems[:3])
        )
    return replace(best, networks=built.sources, proof=proof)


def _copied(best: Candidate, work: Path) -> BuiltPlans:
    """Return the ONNX files of the best under their final names."""
    files: dict[str, Path] = {}
    networks: dict[str, BuiltNetwork] = {}
    for name, network in best.networks.items():
        path = work / f"{name}.onnx"
        path.write_bytes(network.read())
        files[path.name] = path
        networks[name] = built_network(path, network.precision, network.kept)
    return BuiltPlans(files, networks, None, {}, best.networks)


def _proof(
    bundle: Bundle, best: Candidate, slides: ProofSlides, problems: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Return the result of comparing the engines with the bundle."""
    return {
        "kept_for_the_flip_rate": list(best.repaired),
        **proof_of(bundle, best.target, best.ran_in, best.proof, slides, problems),
    }


def _timing(race: Selection) -> dict[str, Any]:
    """Return the measurements of all timed candidates."""
    best, seconds = race.best, race.seconds
    # Plans are timed on the GPU only: their graph on the CPU would say nothing about it.
    speed = seconds[BUNDLE] / seconds[best.name] if best.name in seconds else None
    return {
        "seconds_for_16_cells": dict(seconds),
        "speed_against_bundle": speed,
        "settings": {name: one.settings.text for name, one in race.measured.items()},
        "seconds_per_cell": dict(race.measured[best.name].seconds),
        "settings_race": dict(race.measured[best.name].evidence),
    }


@contextmanager
def work_folder(request: BuildRequest) -> Iterator[Path]:
    """Yield an empty folder beside the engines' place, which is removed at the end."""
    base = request.out.parent if request.out else cache_folder()
    base.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".build-", dir=base) as work:
        yield Path(work)


def _opener(engines: EngineFolder) -> Opener:
    """Return an opener of built engines like `open_model`'s, for one at a time."""
    record = engines.record

    def open_one(name: str) -> Engine:
        return open_engine(
            record.target,
            name,
            engines.read(name),
            threads=record.settings.threads,
            workers=record.settings.workers or 1,
            origin=engines.origin(name),
            device=record.built_for.number,
        )

    return open_one
