"""Build engines: files, proof, choice, record; nothing is left behind when it fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from edgeapl.bundle.load import Bundle, open_bundle
from edgeapl.calibration.building.candidates import Candidate, Say, cores, make_candidate
from edgeapl.calibration.building.proof_slides import proof_slides
from edgeapl.calibration.building.request import BuildRequest
from edgeapl.calibration.building.stopwatch import Stopwatch
from edgeapl.calibration.building.storing import store
from edgeapl.calibration.building.timing import classify_cells, time_in_turns
from edgeapl.engines.registry import BACKENDS, PLANS, available_targets, open_engine
from edgeapl.engines.store.folder import EngineFolder
from edgeapl.engines.store.here import runtime_version
from edgeapl.engines.store.record import Precision
from edgeapl.errors import ProofError
from edgeapl.model.assembled import segmenter_of
from edgeapl.protocols import Engine
from edgeapl.types import UInt8

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
    reference = {
        name: open_engine("onnxruntime", name, bundle.read(network.file), threads=cores())
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
            make_candidate(bundle, target, precision, reference, slides, request, say)
            for target, precision in _wanted(bundle, request)
        ]
        passed = [one for one in candidates if not one.proof.problems or not _counts(bundle)]
        if not passed:
            raise _refusal(candidates)
        say("time candidates in turns")
        seconds = _time(bundle, passed, reference, slides.slides[0][1])
        best = min(passed, key=lambda one: (seconds[one.name], one.name))
        others = {one.name: list(one.proof.problems) for one in candidates}
        return store(bundle, request, best, slides, seconds, others, say)


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


def _time(
    bundle: Bundle,
    candidates: Sequence[Candidate],
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
                name: open_engine(target, name, network.onnx, threads=cores())
                for name, network in one.networks.items()
            }
            for engine in engines.values():
                opened.callback(engine.close)
            runs[one.name] = classify_cells(bundle.manifest, engines, crops, 4)
        return time_in_turns(runs)


def _refusal(candidates: Sequence[Candidate]) -> ProofError:
    worst = candidates[-1]
    hurt = "; give --max-flip-rate to keep the layers that hurt in a higher precision"
    return ProofError(
        "engines do not answer like the bundle",
        worst.name,
        "; ".join(worst.proof.problems[:3]) + (hurt if worst.precision == "int8" else ""),
    )
