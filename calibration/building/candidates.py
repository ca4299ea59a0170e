"""One way to build engines: its files, its proof, and the layers that had to be spared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeapl.bundle.load import Bundle
from edgeapl.calibration.building.files import MadeNetwork, make_network, quantiser, ranges_of
from edgeapl.calibration.building.proof_slides import ProofSlides
from edgeapl.calibration.building.request import BuildRequest
from edgeapl.calibration.judging.damage import rank_layers, repair
from edgeapl.calibration.judging.engine_proof import EngineProof, prove_engine
from edgeapl.cores import cpu_cores
from edgeapl.engines.in_turn import InTurn, Opener
from edgeapl.engines.registry import BACKENDS, open_engine
from edgeapl.engines.store.record import Precision
from edgeapl.protocols import Arrays, Engine
from edgeapl.stages.routing import steps

RANKED_CELLS = 16
"""Cells that rank the layers: each group of layers costs one session and one run over them."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """Engines that could be built.

    networks : as files. proof : of them, run in `proof_runtime`. repaired : what was tried to keep
    the flip rate.
    """

    target: str
    precision: Precision
    networks: Mapping[str, MadeNetwork]
    proof: EngineProof
    repaired: tuple[dict[str, Any], ...]

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.precision} {self.target}"


def proof_runtime(target: str) -> str:
    """Give what a target's files are proven in: what serves them; onnxruntime's CPU for a plan.

    The same eight bits are not the same answers in each runtime: OpenVINO computes an LSTM, or a
    convolution of a constant, otherwise than onnxruntime.
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
    """Write all networks in a precision and prove them; spare layers if that was asked for.

    Parameters
    ----------
    work : folder for the networks; they are needed as long as the candidate is.
    """
    say(f"{precision} for {target}: write networks")
    networks = {
        name: make_network(bundle, name, target, precision, frozenset(), work)
        for name in bundle.manifest.networks
    }
    say(f"{precision} for {target}: prove")
    proof = _prove(bundle, target, networks, slides, request)
    limit = request.max_flip_rate
    if limit is None or precision != "int8" or not proof.problems:
        return Candidate(target, precision, networks, proof, ())
    say(f"{precision} for {target}: rank layers by their damage")
    networks, repaired = _repaired(bundle, target, networks, slides, request, limit, work)
    proof = _prove(bundle, target, networks, slides, request)
    return Candidate(target, precision, networks, proof, repaired)


def _prove(
    bundle: Bundle,
    target: str,
    networks: Mapping[str, MadeNetwork],
    slides: ProofSlides,
    request: BuildRequest,
) -> EngineProof:
    limits = bundle.manifest.limits
    if request.max_flip_rate is not None:
        limits = limits.model_copy(update={"max_flip_rate": request.max_flip_rate})
    names = tuple(bundle.manifest.networks)

    def open_made(name: str) -> Engine:
        model = networks[name].provable()
        return open_engine(proof_runtime(target), name, model, threads=cpu_cores(), arena=False)

    # Of each network these two alone are in memory.
    with InTurn(names, reference_opener(bundle)) as reference, InTurn(names, open_made) as made:
        return prove_engine(
            bundle.manifest, reference, made, slides.slides, limits, frames=slides.frames
        )


def reference_opener(bundle: Bundle) -> Opener:
    """Give what opens the bundle's networks to prove against; runs leave no memory behind."""

    def open_one(name: str) -> Engine:
        model = bundle.read(bundle.manifest.networks[name].file)
        return open_engine("onnxruntime", name, model, threads=cpu_cores(), arena=False)

    return open_one


def _repaired(
    bundle: Bundle,
    target: str,
    networks: Mapping[str, MadeNetwork],
    slides: ProofSlides,
    request: BuildRequest,
    limit: float,
    work: Path,
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
            threads=cpu_cores(),
            runtime=proof_runtime(target),
        )

        measured: list[float] = []

        def flips(
            keep: frozenset[str], name: str = name, measured: list[float] = measured
        ) -> float:
            made[name] = make_network(bundle, name, target, "int8", keep, work)
            proof = _prove(bundle, target, made, slides, request)
            measured.append(proof.flip_rate)
            # Lost recall or a changed verdict is as bad as too many flips.
            return proof.flip_rate if not proof.problems else float("inf")

        found = repair(ranked, flips, limit)
        chosen = found.chosen or found.steps[-1]
        made[name] = make_network(bundle, name, target, "int8", chosen.kept, work)
        lines += [
            {"network": name, "kept": list(step.layers), "flip_rate": rate}
            for step, rate in zip(found.steps, measured, strict=True)
        ]
        if found.chosen is not None:
            break
    return made, tuple(lines)
