"""From a bundle and unlabelled slides to a student that is proven to answer like it."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
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
from edgeapl.distillation.cascade_bundle import (
    MeasuredDoubt,
    cascade_parts,
    check_cascade,
    measure_doubt,
)
from edgeapl.distillation.heads import check_parent, heads_of
from edgeapl.distillation.inherited import Inherited, check_evidence, inherit_certificate
from edgeapl.distillation.proof import StudentProof, prove_student
from edgeapl.distillation.request import DistillRequest, Say
from edgeapl.distillation.student_bundle import NETWORK, sealed, student_parts
from edgeapl.distillation.teaching import teach
from edgeapl.errors import ProofError, UsageError
from edgeapl.export.student_file import student_bytes
from edgeapl.export.training.loop import Epoch, Listener
from edgeapl.sources.digests import image_digests
from edgeapl.sources.discover import find_slides
from edgeapl.stages.cascade import error_bound

PROOF = "distillation.json"


STUDENT, CASCADE = "student", "cascade"


@dataclass(frozen=True, slots=True)
class Distilled:
    """A bundle that was written, its proof as plain values, and what it may clear.

    kind : ``student`` or ``cascade``.
    """

    kind: str
    bundle: Bundle
    document: dict[str, Any]
    inherited: Inherited


def distil(request: DistillRequest, say: Say, listener: Listener) -> tuple[Distilled, ...]:
    """Teach a student, prove it on slides that were held back, and write its bundles.

    Parameters
    ----------
    say : called with each stage. listener : hears of every step of the training.

    A bundle is written only if its own proof passes; what was asked of the parent, and what was
    taught, stays in `request.work` until all are. Raises ProofError when one does not pass,
    BundleError for a parent that cannot be distilled, InputError for unfit slides, UsageError for
    slides of the certificate among those that teach, or when no bundle is asked for; EngineError
    when a network fails.
    """
    say = _once(say)
    parent = open_bundle(request.bundle)
    targets = _targets(parent, request)
    slides = find_slides(request.frames, crops=request.crops).slides
    check_slides(slides)
    images = {
        digest: slide.name
        for slide in slides
        for file in slide.files
        for digest in image_digests(file)
    }
    check_evidence(parent, images, request)
    key = key_of(parent, images, request)
    cells = answered_cells(parent, slides, key, request, say)
    heads = heads_of(parent.manifest)
    say(f"teach a student on {len(cells.learn)} cells, on {request.device.text}")
    student, history = teach(parent.manifest, heads, cells, key, request, listener)
    say("write the student's network")
    model = student_bytes(student, NETWORK, parent.manifest.crop.size_px)
    making = _Making(parent, request, cells, model, history, say)
    refused: list[ProofError] = []
    written: list[Distilled] = []
    for kind, target in targets.items():
        try:
            written.append(making.write(kind, target))
        except ProofError as error:
            refused.append(error)
    if refused:
        there = "".join(f"; {one.kind} {one.bundle.folder} is written" for one in written)
        raise ProofError(refused[0].what, refused[0].which, f"{refused[0].mend}{there}")
    shutil.rmtree(request.work, ignore_errors=True)
    return tuple(written)


def _targets(parent: Bundle, request: DistillRequest) -> dict[str, Path]:
    """Return where to write what, or raise before anything is done."""
    check_parent(parent)
    wanted = {STUDENT: request.out, CASCADE: request.cascade}
    targets = {kind: target_of(out, out) for kind, out in wanted.items() if out is not None}
    if not targets:
        raise UsageError("no bundle is asked for", "", "give --out, --cascade or both")
    if request.cascade is not None:
        check_cascade(parent)
        if request.cascade == request.out:
            raise UsageError("one folder for two bundles", request.out, "give two folders")
    return targets


@dataclass(frozen=True, slots=True, eq=False)
class _Making:
    """Makes bundles of a student that was taught. model : its ONNX file."""

    parent: Bundle
    request: DistillRequest
    cells: AnsweredCells
    model: bytes
    history: tuple[Epoch, ...]
    say: Say

    def write(self, kind: str, target: Path) -> Distilled:
        """Make a bundle, prove it and write it. Raises ProofError when it is beyond a limit."""
        parent, request, cells = self.parent, self.request, self.cells
        doubt = None
        if kind == CASCADE:
            doubt = measure_doubt(parent, self.model, cells, request.error)
            settings, files = cascade_parts(parent, self.model, doubt.spec, _seen(cells))
        else:
            settings, files = student_parts(parent, self.model, _seen(cells))
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as folder:
            made = sealed(parent, settings, files, request, Path(folder), self.say)
            self.say(f"prove the {kind} on {len(cells.prove)} cells that were held back")
            proof = prove_student(parent, made, cells, cells.prove, limits_of(parent, request))
            problems = [*proof.problems]
            if doubt is not None:
                problems += _beyond_measured(proof, doubt)
            if problems:
                raise _refusal(kind, problems, target, request)
            inherited = inherit_certificate(parent, made, request, self.say)
            document = self._document(kind, proof, inherited, doubt)
            replace_folder(_finished(parent, made, inherited, document, Path(folder)), target)
        return Distilled(kind, open_bundle(target), document, inherited)

    def _document(
        self, kind: str, proof: StudentProof, inherited: Inherited, doubt: MeasuredDoubt | None
    ) -> dict[str, Any]:
        request, cells = self.request, self.cells
        rows = {
            "learned_from": cells.learn,
            "doubts_measured_on": cells.measure,
            "proven_on": cells.prove,
        }
        names = {use: {cells.slides[row] for row in own.tolist()} for use, own in rows.items()}
        return {
            "schema": 1,
            "research_use_only": True,
            "software": f"edgeapl {__version__}",
            "kind": kind,
            "parent": {"digest": self.parent.digest, "name": self.parent.manifest.name},
            "slides": {use: sorted(found) for use, found in names.items()},
            "cells": {use: len(own) for use, own in rows.items()},
            "side": request.side,
            "settings": asdict(request.settings),
            "augmentation": asdict(request.augmentation),
            "epochs": [asdict(epoch) for epoch in self.history],
            "proof": proof.document(),
            "cascade": None if doubt is None else _doubt(doubt),
            "certificate": {
                "tried": inherited.tried,
                "inherited": bool(inherited.files),
                "judged_otherwise": list(inherited.otherwise),
            },
        }


def _doubt(doubt: MeasuredDoubt) -> dict[str, Any]:
    spec = doubt.spec
    bound = error_bound(spec.otherwise, spec.cells, spec.confidence)
    return {**spec.model_dump(mode="json"), "bound": bound, "passed_on": doubt.passed_on}


def _beyond_measured(proof: StudentProof, doubt: MeasuredDoubt) -> list[str]:
    """Return that the cascade, as it runs, is wrong more often than verdicts would allow for."""
    if proof.cells.flipped <= doubt.spec.otherwise:
        return []
    return [f"{proof.cells.flipped} cells flip where {doubt.spec.otherwise} were measured"]


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


def _refusal(
    kind: str, problems: Sequence[str], target: Path, request: DistillRequest
) -> ProofError:
    mend = f"give more slides or cells, or --max-flip-rate; what was done is in {request.work}"
    text = "; ".join(problems[:3])
    return ProofError(f"{kind} does not answer like its parent", target, f"{text}; {mend}")


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
