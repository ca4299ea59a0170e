"""Builds engines: files, proof, selection, record; leaves nothing behind when it fails."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgeapl.bundle.load import Bundle, open_bundle
from edgeapl.calibration.builder.candidates import Candidate, make_candidate
from edgeapl.calibration.builder.proof_slides import ProofSlides, slides_for
from edgeapl.calibration.builder.request import BuildRequest, Say
from edgeapl.calibration.builder.stopwatch import Stopwatch
from edgeapl.calibration.builder.storage import store, work_folder
from edgeapl.calibration.builder.tactic_selection import select_fastest
from edgeapl.engines.registry import BACKENDS, CUDA, ON_GPU, PLANS, available_targets
from edgeapl.engines.store.folder import EngineFolder
from edgeapl.engines.store.local_target import device_here, runs_here, runtime_version
from edgeapl.engines.store.record import Precision
from edgeapl.errors import EngineError, ProofError, UsageError

__all__ = ["BuildRequest", "build_engine"]

NO_GPU = "no such GPU on this machine"


def build_engine(request: BuildRequest, tell: Say) -> EngineFolder:
    """Build, prove and store engines; of several candidates the fastest one that passes.

    Parameters
    ----------
    request : what to build. tell : called with each stage.

    Raises ProofError when none passes, EngineError when one cannot be built.
    """
    bundle = open_bundle(request.bundle)
    wanted = _wanted(bundle, request)
    say = Stopwatch(tell)
    with work_folder(request) as work:
        slides = slides_for(bundle, request, work, say)
        candidates, not_made = _made(bundle, wanted, slides, request, work, say)
        passed = [one for one in candidates if not one.proof.problems or not _counts(bundle)]
        if not passed:
            raise _refusal(candidates)
        race = select_fastest(bundle, passed, slides.slides[0][1], say, request.device)
        problems = {**not_made, **{one.name: one.proof.problems for one in candidates}}
        absent = _absent() if request.target == "auto" else {}
        return store(bundle, request, race, slides, problems, absent, work, say)


def _made(
    bundle: Bundle,
    wanted: Sequence[tuple[str, Precision]],
    slides: ProofSlides,
    request: BuildRequest,
    work: Path,
    say: Stopwatch,
) -> tuple[list[Candidate], dict[str, tuple[str, ...]]]:
    """Build all candidates; return also why others could not be built, unless none could."""
    candidates: list[Candidate] = []
    not_made: dict[str, tuple[str, ...]] = {}
    for target, precision in wanted:
        try:
            one = make_candidate(bundle, target, precision, slides, request, work, say)
        except EngineError as error:
            if len(not_made) == len(wanted) - 1:
                raise
            not_made[f"{precision} {target}"] = (f"cannot be run: {error}",)
        else:
            candidates.append(one)
    return candidates, not_made


def _absent() -> dict[str, str]:
    """Return why CPU runtimes are not among the candidates."""
    there = {one.target: one.run for one in available_targets()}
    return {target: there[target] for target in BACKENDS if there[target]}


def _counts(bundle: Bundle) -> bool:
    """Return whether the limits apply.

    Cells of an untrained bundle flip at the slightest change, and it only ever gives REVIEW.
    """
    return bundle.manifest.trained


def _wanted(bundle: Bundle, request: BuildRequest) -> list[tuple[str, Precision]]:
    """Return what to build: one target, or all that run on this machine."""
    if request.target != "auto":
        runtime_version(request.target)
        targets = [request.target]
        if request.target == CUDA and not runs_here(CUDA, request.device):
            # Nothing is built ahead of time for it, so there would be nothing to store.
            why = {one.target: one.run for one in available_targets()}[CUDA]
            raise EngineError("target cannot be run here", CUDA, why or NO_GPU)
    else:
        targets = [
            one.target
            for one in available_targets()
            if not one.build and not one.run and runs_here(one.target, request.device)
        ]
    if bundle.manifest.cascade is not None:
        targets = _for_cascade(bundle, targets)
    _check(request, targets)
    if request.precision is not None:
        able = [one for one in targets if request.precision != "int8" or one != CUDA]
        return [(target, request.precision) for target in able]
    calibrated = bundle.manifest.calibration is not None
    return [(target, one) for target in targets for one in _precisions(target, calibrated)]


def _for_cascade(bundle: Bundle, targets: Sequence[str]) -> list[str]:
    """Return the targets that a bundle with a small network in front can run on.

    Raises UsageError when none is left.
    """
    left = [target for target in targets if target not in PLANS]
    if not left:
        mend = "give --target openvino or onnxruntime, or build its parent or its student"
        what = "a cascade does not run as a chain on a device"
        raise UsageError(what, f"{bundle.manifest.name}, {', '.join(targets)}", mend)
    return left


def _precisions(target: str, calibrated: bool) -> list[Precision]:
    """Return the precisions to try for a target. CPUs do not benefit from FP16.

    TF32 is tried only on request: it is less exact than the FP32 it replaces.
    """
    found: list[Precision] = ["fp32"]
    if target in ON_GPU:
        found.append("fp16")
    if calibrated and target != CUDA:  # which computes eight-bit files in floats
        found.append("int8")
    return found


def _check(request: BuildRequest, targets: Sequence[str]) -> None:
    """Refuse what the targets cannot do. Raises UsageError."""
    on_gpu = [target for target in targets if target in ON_GPU]
    if request.precision == "tf32":
        # onnxruntime's CUDA provider is opened with TF32 off, so its answers stay those of FP32.
        where = ", ".join(target for target in targets if target not in PLANS)
        if where:
            raise UsageError(
                "TF32 is a precision of TensorRT", where, f"give --target {ON_GPU[-1]}"
            )
    if request.precision == "int8" and request.target == CUDA:
        mend = "give --precision fp16, or a target of TensorRT"
        raise UsageError("INT8 is computed in floats by", CUDA, mend)
    asked = {
        "--max-batch": request.max_batch,
        "--workspace": request.workspace_mib,
        "--compute-capability": ", ".join(request.capabilities),
        "--optimization-level": request.optimization_level,
    }
    given = [name for name, value in asked.items() if value not in (None, "")]
    if given and not any(target in PLANS for target in targets):
        raise UsageError(
            "setting is for TensorRT only", ", ".join(given), f"give --target {ON_GPU[-1]}"
        )
    if request.device and not on_gpu:
        raise UsageError("setting is for GPUs only", "--device", f"give --target {ON_GPU[-1]}")
    for target in on_gpu:
        if request.device and not device_here(target, request.device).name:
            raise UsageError(
                "no such GPU", f"--device {request.device}", "edgeapl doctor lists them"
            )


def _refusal(candidates: Sequence[Candidate]) -> ProofError:
    worst = candidates[-1]
    hurt = "; give --max-flip-rate to keep the layers that hurt in a higher precision"
    return ProofError(
        "engines do not answer like the bundle",
        worst.name,
        "; ".join(worst.proof.problems[:3]) + (hurt if worst.precision == "int8" else ""),
    )
