"""Build engines: files, proof, choice, record; nothing is left behind when it fails."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from edgeapl.bundle.load import Bundle, open_bundle
from edgeapl.calibration.building.candidates import (
    Candidate,
    Say,
    make_candidate,
    reference_opener,
)
from edgeapl.calibration.building.proof_slides import ProofSlides, proof_slides
from edgeapl.calibration.building.race import run_race
from edgeapl.calibration.building.request import BuildRequest
from edgeapl.calibration.building.stopwatch import Stopwatch
from edgeapl.calibration.building.storing import store, work_folder
from edgeapl.engines.registry import BACKENDS, PLANS, available_targets
from edgeapl.engines.store.folder import EngineFolder
from edgeapl.engines.store.here import runtime_version
from edgeapl.engines.store.record import Precision
from edgeapl.errors import EngineError, ProofError
from edgeapl.model.assembled import segmenter_of
from edgeapl.protocols import Engine

__all__ = ["BuildRequest", "build_engine"]


def build_engine(request: BuildRequest, tell: Say) -> EngineFolder:
    """Build, prove and store engines; of several candidates the fastest that passes.

    Parameters
    ----------
    request : what to build. tell : told each stage.

    Raises ProofError when none passes, EngineError when one can not be built.
    """
    bundle = open_bundle(request.bundle)
    say = Stopwatch(tell)
    with work_folder(request) as work:
        slides = _slides(bundle, request, work, say)
        candidates, not_made = _made(bundle, slides, request, work, say)
        passed = [one for one in candidates if not one.proof.problems or not _counts(bundle)]
        if not passed:
            raise _refusal(candidates)
        race = run_race(bundle, passed, slides.slides[0][1], say)
        problems = {**not_made, **{one.name: one.proof.problems for one in candidates}}
        absent = _absent() if request.target == "auto" else {}
        return store(bundle, request, race, slides, problems, absent, work, say)


def _made(
    bundle: Bundle, slides: ProofSlides, request: BuildRequest, work: Path, say: Stopwatch
) -> tuple[list[Candidate], dict[str, tuple[str, ...]]]:
    """Make all candidates; give those that could not be made with why, unless none could."""
    candidates: list[Candidate] = []
    not_made: dict[str, tuple[str, ...]] = {}
    wanted = _wanted(bundle, request)
    for target, precision in wanted:
        try:
            one = make_candidate(bundle, target, precision, slides, request, work, say)
        except EngineError as error:
            if len(not_made) == len(wanted) - 1:
                raise
            not_made[f"{precision} {target}"] = (f"can not be run: {error}",)
        else:
            candidates.append(one)
    return candidates, not_made


def _slides(bundle: Bundle, request: BuildRequest, work: Path, say: Stopwatch) -> ProofSlides:
    """Cut the cells to prove on; a detector's networks are open together, each frame needs both."""
    say("slides to prove on")
    opener = reference_opener(bundle)
    with ExitStack() as opened:
        engines: dict[str, Engine] = {}
        for name in bundle.manifest.detector_networks:
            engines[name] = opener(name)
            opened.callback(engines[name].close)
        return proof_slides(
            bundle,
            segmenter_of(bundle.manifest, engines),
            request.frames,
            work,
            cell_images=request.cell_images,
            um_per_px=request.um_per_px,
        )


def _absent() -> dict[str, str]:
    """Say why runtimes for processors are not among the candidates."""
    there = {one.target: one.run for one in available_targets()}
    return {target: there[target] for target in BACKENDS if there[target]}


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


def _refusal(candidates: Sequence[Candidate]) -> ProofError:
    worst = candidates[-1]
    hurt = "; give --max-flip-rate to keep the layers that hurt in a higher precision"
    return ProofError(
        "engines do not answer like the bundle",
        worst.name,
        "; ".join(worst.proof.problems[:3]) + (hurt if worst.precision == "int8" else ""),
    )
