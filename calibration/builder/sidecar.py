"""The contents of `engine.json` beside engines, before their quality is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from edgeapl import __version__
from edgeapl.bundle.load import Bundle
from edgeapl.calibration.builder.plans import BuiltPlans
from edgeapl.calibration.builder.proof_slides import ProofSlides
from edgeapl.calibration.builder.request import BuildRequest
from edgeapl.calibration.validation.document import engine_proof_document
from edgeapl.calibration.validation.engine_proof import EngineProof
from edgeapl.engines.registry import ON_GPU
from edgeapl.engines.store.local_target import device_here, runtime_version
from edgeapl.engines.store.machine import machine_id
from edgeapl.engines.store.record import BuiltFor, EngineRecord, Precision, Settings


def blank_record(
    bundle: Bundle,
    target: str,
    precision: Precision,
    built: BuiltPlans,
    request: BuildRequest,
    settings: Settings,
) -> EngineRecord:
    """Describe engines that were neither proven nor timed."""
    return EngineRecord(
        schema=1,
        research_use_only=True,
        bundle=bundle.digest,
        bundle_name=bundle.manifest.name,
        precision=precision,
        target=target,
        built_for=built_for(target, request),
        software=f"edgeapl {__version__}",
        built_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        networks=dict(built.networks),
        cutter=built.cutter,
        settings=settings,
        proof={},
        timing={},
        plans=dict(built.notes),
    )


def built_for(target: str, request: BuildRequest) -> BuiltFor:
    """Describe this machine as the one that engines are built for."""
    device = device_here(target, request.device)
    return BuiltFor(
        library=target,
        version=runtime_version(target),
        device=device.name,
        capability=device.capability,
        machine=machine_id(),
        capabilities=request.capabilities,
        number=request.device,
    )


def proof_of(
    bundle: Bundle,
    target: str,
    ran_in: str,
    proof: EngineProof,
    slides: ProofSlides,
    problems: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    """Return the result of comparing engines with the bundle.

    ran_in : target on which they were run. problems : candidate to what its proof found.
    """
    return {
        "proven_on": slides.words,
        "limits_apply": bundle.manifest.trained,
        "run_in": ran_in,
        "words": proof_words(target, ran_in),
        "candidates": {name: list(found) for name, found in problems.items()},
        **engine_proof_document(proof),
    }


def proof_words(target: str, ran_in: str) -> str:
    """Return where engines were proven, for people; a stand-in cannot answer for a GPU."""
    if target not in ON_GPU:
        return f"proven in {ran_in} on this processor"
    if ran_in == target:
        return f"proven in {ran_in} on this GPU"
    return (
        "proven on the CPU only: a GPU may add halves in another order, and with fewer bits, than "
        "any processor does; run edgeapl engines prove where the GPU is"
    )
