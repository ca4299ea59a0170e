"""From a bundle and unlabelled slides to a student that is proven to answer like it."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeapl import __version__
from edgeapl.bundle.load import Bundle, open_bundle
from edgeapl.bundle.specs import LimitsSpec
from edgeapl.bundle.write import write_bundle
from edgeapl.calibration.replacement import replace_folder
from edgeapl.calibration.versions import target_of
from edgeapl.distillation.answered_cells import (
    AnsweredCells,
    answered_cells,
    check_slides,
    key_of,
)
from edgeapl.distillation.heads import check_parent, heads_of
from edgeapl.distillation.inherited import Inherited, check_evidence, inherit_certificate
from edgeapl.distillation.proof import StudentProof, prove_student
from edgeapl.distillation.request import DistillRequest, Say
from edgeapl.distillation.student_bundle import NETWORK, sealed, student_parts
from edgeapl.distillation.teaching import teach
from edgeapl.errors import ProofError
from edgeapl.export.student_file import student_bytes
from edgeapl.export.training.loop import Epoch, Listener
from edgeapl.sources.digests import image_digests
from edgeapl.sources.discover import find_slides
from edgeapl.types import Int64

PROOF = "distillation.json"


@dataclass(frozen=True, slots=True)
class Distilled:
    """A bundle that was written, its proof as plain values, and what it may clear."""

    bundle: Bundle
    document: dict[str, Any]
    inherited: Inherited


def distil(request: DistillRequest, say: Say, listener: Listener) -> Distilled:
    """Teach a student, prove it on slides that were held back, and write its bundle.

    Parameters
    ----------
    say : called with each stage. listener : hears of every step of the training.

    Nothing is written to `request.out` unless the proof passes; what was asked of the parent, and
    what was taught, stays in `request.work` until then. Raises ProofError when it does not,
    BundleError for a parent that cannot be distilled, InputError for unfit slides, UsageError for
    slides of the certificate among those that teach, EngineError when a network fails.
    """
    say = _once(say)
    parent = open_bundle(request.bundle)
    check_parent(parent)
    target = target_of(request.out, request.out)
    slides = find_slides(request.frames, crops=request.crops).slides
    check_slides(slides)
    images = {
        one: slide.name for slide in slides for file in slide.files for one in image_digests(file)
    }
    check_evidence(parent, images, request)
    key = key_of(parent, images, request)
    cells = answered_cells(parent, slides, key, request, say)
    heads = heads_of(parent.manifest)
    say(f"teach a student on {len(cells.learn)} cells, on {request.device.text}")
    student, history = teach(parent.manifest, heads, cells, key, request, listener)
    say("write the student's network")
    model = student_bytes(student, NETWORK, parent.manifest.crop.size_px)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as folder:
        settings, files = student_parts(parent, model, _seen(cells))
        made = sealed(parent, settings, files, request, Path(folder), say)
        say(f"prove it on {len(cells.prove)} cells that were held back")
        proof = prove_student(parent, made, cells, cells.prove, limits_of(parent, request))
        if proof.problems:
            raise _refusal(proof, request)
        inherited = inherit_certificate(parent, made, request, say)
        document = _document(parent, request, cells, proof, history, inherited)
        replace_folder(_finished(parent, made, inherited, document, Path(folder)), target)
    shutil.rmtree(request.work, ignore_errors=True)
    return Distilled(open_bundle(target), document, inherited)


def limits_of(parent: Bundle, request: DistillRequest) -> LimitsSpec:
    """Return the limits for a student: its parent's, with the requested flip rate."""
    limits = parent.manifest.limits
    if request.max_flip_rate is None:
        return limits
    return limits.model_copy(update={"max_flip_rate": request.max_flip_rate})


def _once(say: Say) -> Say:
    """Return what says a text that it has just said no second time."""
    said: list[str] = []

    def tell(text: str) -> None:
        if text not in said[-1:]:
            said.append(text)
            say(text)

    return tell


def _seen(cells: AnsweredCells) -> frozenset[str]:
    """Return the images that the student was taught on, or measured on."""
    return frozenset(cells.images[row] for rows in (cells.learn, cells.measure) for row in rows)


def _refusal(proof: StudentProof, request: DistillRequest) -> ProofError:
    mend = f"give more slides or cells, or --max-flip-rate; what was done is in {request.work}"
    text = "; ".join(proof.problems[:3])
    return ProofError("student does not answer like its parent", request.out, f"{text}; {mend}")


def _finished(
    parent: Bundle, made: Bundle, inherited: Inherited, document: dict[str, Any], folder: Path
) -> Path:
    """Write the bundle with its proof, and what it may clear."""
    manifest = made.manifest
    settings = manifest.model_dump(
        mode="json", exclude={"schema_version", "files"}, exclude_none=True
    )
    settings["version"] = parent.manifest.version
    settings["parent"] = {
        "digest": parent.digest,
        "name": parent.manifest.name,
        "version": parent.manifest.version,
        "proof": PROOF,
    }
    text = json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n"
    files: dict[str, bytes | Path] = {name: made.folder / name for name in manifest.files}
    files |= {PROOF: text.encode(), **inherited.files}
    return write_bundle(folder / "finished", {**settings, **inherited.settings}, files).folder


def _document(
    parent: Bundle,
    request: DistillRequest,
    cells: AnsweredCells,
    proof: StudentProof,
    history: tuple[Epoch, ...],
    inherited: Inherited,
) -> dict[str, Any]:
    def named(rows: Int64) -> list[str]:
        return sorted({cells.slides[row] for row in rows.tolist()})

    return {
        "schema": 1,
        "research_use_only": True,
        "software": f"edgeapl {__version__}",
        "parent": {"digest": parent.digest, "name": parent.manifest.name},
        "slides": {
            "learned_from": named(cells.learn),
            "doubts_measured_on": named(cells.measure),
            "proven_on": named(cells.prove),
        },
        "cells": {
            "learned_from": len(cells.learn),
            "doubts_measured_on": len(cells.measure),
            "proven_on": len(cells.prove),
        },
        "side": request.side,
        "settings": asdict(request.settings),
        "augmentation": asdict(request.augmentation),
        "epochs": [asdict(epoch) for epoch in history],
        "proof": proof.document(),
        "certificate": {
            "tried": inherited.tried,
            "inherited": bool(inherited.files),
            "judged_otherwise": list(inherited.otherwise),
        },
    }
