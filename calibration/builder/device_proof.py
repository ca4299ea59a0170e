"""Proves existing engines on this machine's GPU, and updates their record."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from edgeapl.bundle.load import Bundle, open_bundle
from edgeapl.bundle.specs import LimitsSpec
from edgeapl.calibration.builder.on_device import (
    opened_on_device,
    prove_on_device,
    time_on_device,
)
from edgeapl.calibration.builder.proof_slides import ProofSlides, slides_for
from edgeapl.calibration.builder.request import BuildRequest, Say
from edgeapl.calibration.builder.sidecar import proof_of
from edgeapl.calibration.builder.storage import work_folder
from edgeapl.calibration.validation.engine_proof import EngineProof
from edgeapl.engines.registry import ON_GPU
from edgeapl.engines.store.clocks import clocks
from edgeapl.engines.store.folder import EngineFolder, check_fits, write_engines
from edgeapl.engines.store.local_target import device_here, runtime_version
from edgeapl.engines.store.record import EngineRecord
from edgeapl.errors import EngineError, ProofError


def prove_engines(engines: EngineFolder, request: BuildRequest, say: Say) -> EngineFolder:
    """Run engines on this machine's GPU against their bundle, and record the result.

    Parameters
    ----------
    engines : of a GPU target, built on this machine. Their files stay unchanged.
    request : the bundle, and what to prove on.

    The record is rewritten, so a signature of the old one becomes invalid. Raises EngineError when
    they do not fit or cannot be run, ProofError when they do not answer like the bundle; either way
    they stay as they were.
    """
    bundle, record = open_bundle(request.bundle), engines.record
    if record.target not in ON_GPU:
        text = "only those of a GPU can have been proven elsewhere"
        raise EngineError("engines were proven where they run", engines.folder, text)
    device = device_here(record.target, record.built_for.number)
    if not device.name:
        raise EngineError("engines need a GPU", engines.folder, "none can be used here")
    check_fits(engines, bundle.digest, runtime_version(record.target), device)
    with work_folder(replace(request, out=engines.folder)) as work:
        slides = slides_for(bundle, request, work, say)
        say("open, warm and self-test")
        with opened_on_device(bundle, engines) as model:
            say("prove")
            limits = _limits(bundle, record)
            proof = prove_on_device(bundle, model, slides, limits)
            if proof.problems and bundle.manifest.trained:
                text = "; ".join(proof.problems[:3])
                raise ProofError("engines do not answer like the bundle", engines.folder, text)
            say("measure batch")
            measured = time_on_device(bundle, model, slides.slides[0][1])
        files = {}
        for built in record.files.values():
            # Copied: if anything fails from here on, the existing ones stay.
            files[built.file] = work / built.file
            shutil.copyfile(engines.folder / built.file, files[built.file])
        place = record.built_for.model_copy(
            update={"device": device.name, "capability": device.capability}
        )
        timing = {
            **record.timing,
            "seconds_per_cell": dict(measured.seconds),
            "clocks": clocks(),
        }
        proven = record.model_copy(
            update={
                "built_for": place,
                "settings": measured.settings,
                "proof": _proof(bundle, record, proof, slides),
                "timing": timing,
            }
        )
        return write_engines(engines.folder, proven, files)


def _limits(bundle: Bundle, record: EngineRecord) -> LimitsSpec:
    """Return the limits that the engines were built to; --max-flip-rate may have changed one."""
    asked = record.proof.get("limits")
    return bundle.manifest.limits if asked is None else LimitsSpec.model_validate(asked)


def _proof(
    bundle: Bundle, record: EngineRecord, proof: EngineProof, slides: ProofSlides
) -> Mapping[str, Any]:
    name = f"{record.precision} {record.target}"
    problems = {**record.proof.get("candidates", {}), name: proof.problems}
    kept = record.proof.get("kept_for_the_flip_rate", [])
    found = proof_of(bundle, record.target, record.target, proof, slides, problems)
    return {"kept_for_the_flip_rate": kept, **found}
