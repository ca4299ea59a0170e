"""One way to build engines: its files, its proof, and the layers kept in higher precision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeapl.bundle.load import Bundle
from edgeapl.bundle.specs import LimitsSpec
from edgeapl.calibration.builder.files import (
    NetworkFile,
    quantiser,
    ranges_of,
    reference_opener,
    write_network,
)
from edgeapl.calibration.builder.on_device import USUAL, opened_on_device, prove_on_device
from edgeapl.calibration.builder.plans import build_plans
from edgeapl.calibration.builder.proof_slides import ProofSlides
from edgeapl.calibration.builder.request import BuildRequest, Say
from edgeapl.calibration.builder.sidecar import blank_record
from edgeapl.calibration.validation.damage import rank_layers, repair
from edgeapl.calibration.validation.engine_proof import EngineProof, prove_engine
from edgeapl.cores import cpu_cores
from edgeapl.engines.exclusive import ExclusiveEngines
from edgeapl.engines.registry import BACKENDS, PLANS, open_engine
from edgeapl.engines.store.folder import EngineFolder, write_engines
from edgeapl.engines.store.local_target import runs_here
from edgeapl.engines.store.record import Precision
from edgeapl.inference.routing import steps
from edgeapl.protocols import Arrays, Engine

RANKED_CELLS = 16
"""Cells for ranking the layers: each group of layers costs one session and one run over them."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """Engines that could be built.

    networks : as files. proof : of them, run in `ran_in`. repaired : what was tried to keep the
    flip rate.
    plans : of a target that runs plans, built and proven on this machine's GPU; None for others,
        and without a GPU.
    """

    target: str
    precision: Precision
    networks: Mapping[str, NetworkFile]
    proof: EngineProof
    repaired: tuple[dict[str, Any], ...]
    plans: EngineFolder | None = None

    @property
    def name(self) -> str:
        """Name for people: precision and target."""
        return f"{self.precision} {self.target}"

    @property
    def ran_in(self) -> str:
        """Where the proof was run: on the target itself, or on its stand-in."""
        return self.target if self.plans is not None else proof_runtime(self.target)


def proof_runtime(target: str) -> str:
    """Return the runtime that proves a target's files: its own; onnxruntime's CPU for a plan.

    If there is a GPU, the plan itself is proven there as well: see `Candidate.plans`.

    The same eight bits do not give the same answers in every runtime: OpenVINO computes an LSTM, or
    a convolution of a constant, differently from onnxruntime.
    """
    return target if target in BACKENDS else "onnxruntime"


def make_candidate(
    bundle: Bundle,
    target: str,
    precision: Precision,
    slides: ProofSlides,
    request: BuildRequest,
    work: Path,
    say: Say,
) -> Candidate:
    """Write all networks in a precision and prove them; keep layers higher if that was requested.

    Parameters
    ----------
    work : folder for the networks; they are needed as long as the candidate.
    """
    say(f"{precision} for {target}: write networks")
    networks = {
        name: write_network(bundle, name, target, precision, frozenset(), work)
        for name in bundle.manifest.networks
    }
    on_device = target in PLANS and runs_here(target, request.device)
    limit = request.max_flip_rate
    repairs = limit is not None and precision == "int8"
    repaired: tuple[dict[str, Any], ...] = ()
    proof = None
    if repairs or not on_device:
        # Layers to keep higher are searched on the CPU: every try would rebuild all plans.
        where = "prove on the CPU" if on_device else "prove"
        say(f"{precision} for {target}: {where}")
        proof = prove_networks(bundle, target, networks, slides, request)
        if repairs and limit is not None and proof.problems:
            say(f"{precision} for {target}: rank layers by their damage")
            networks, repaired = _repaired(bundle, target, networks, slides, request, limit, work)
            proof = prove_networks(bundle, target, networks, slides, request)
    if on_device:
        plans, networks, proof = _on_device(
            bundle, target, precision, networks, slides, request, work, say
        )
        return Candidate(target, precision, networks, proof, repaired, plans)
    assert proof is not None
    return Candidate(target, precision, networks, proof, repaired)


def _on_device(
    bundle: Bundle,
    target: str,
    precision: Precision,
    networks: Mapping[str, NetworkFile],
    slides: ProofSlides,
    request: BuildRequest,
    work: Path,
    say: Say,
) -> tuple[EngineFolder, dict[str, NetworkFile], EngineProof]:
    """Build plans, open them as the station does, and prove them where they run.

    Returns also the ONNX files that they were built from.
    """
    folder = work / f"{precision}-{target}"
    built = build_plans(bundle, networks, target, precision, request, folder / "files", say)
    record = blank_record(bundle, target, precision, built, request, USUAL)
    plans = write_engines(folder / "engines", record, built.files)
    say(f"{precision} for {target}: open, warm and self-test")
    with opened_on_device(bundle, plans) as model:
        say(f"{precision} for {target}: prove")
        proof = prove_on_device(bundle, model, slides, limits_of(bundle, request))
    return plans, dict(built.sources), proof


def limits_of(bundle: Bundle, request: BuildRequest) -> LimitsSpec:
    """Return the limits for engines: the bundle's, with the requested flip rate."""
    limits = bundle.manifest.limits
    if request.max_flip_rate is None:
        return limits
    return limits.model_copy(update={"max_flip_rate": request.max_flip_rate})


def prove_networks(
    bundle: Bundle,
    target: str,
    networks: Mapping[str, NetworkFile],
    slides: ProofSlides,
    request: BuildRequest,
) -> EngineProof:
    """Compare ONNX files for a target with the bundle, on this processor or the target itself."""
    limits = limits_of(bundle, request)
    names = tuple(bundle.manifest.networks)

    def open_made(name: str) -> Engine:
        model = networks[name].provable()
        return open_engine(
            proof_runtime(target),
            name,
            model,
            threads=cpu_cores(),
            arena=False,
            device=request.device,
        )

    # Of each network these two alone are in memory.
    with (
        ExclusiveEngines(names, reference_opener(bundle)) as reference,
        ExclusiveEngines(names, open_made) as made,
    ):
        return prove_engine(
            bundle.manifest, reference, made, slides.slides, limits, frames=slides.frames
        )


def _repaired(
    bundle: Bundle,
    target: str,
    networks: Mapping[str, NetworkFile],
    slides: ProofSlides,
    request: BuildRequest,
    limit: float,
    work: Path,
) -> tuple[dict[str, NetworkFile], tuple[dict[str, Any], ...]]:
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
            threads=cpu_cores(),
            runtime=proof_runtime(target),
        )

        measured: list[float] = []

        def flips(
            keep: frozenset[str], name: str = name, measured: list[float] = measured
        ) -> float:
            made[name] = write_network(bundle, name, target, "int8", keep, work)
            proof = prove_networks(bundle, target, made, slides, request)
            measured.append(proof.flip_rate)
            # Lost recall or a changed verdict is as bad as too many flips.
            return proof.flip_rate if not proof.problems else float("inf")

        found = repair(ranked, flips, limit)
        chosen = found.chosen or found.steps[-1]
        made[name] = write_network(bundle, name, target, "int8", chosen.kept, work)
        lines += [
            {"network": name, "kept": list(step.layers), "flip_rate": rate}
            for step, rate in zip(found.steps, measured, strict=True)
        ]
        if found.chosen is not None:
            break
    return made, tuple(lines)
