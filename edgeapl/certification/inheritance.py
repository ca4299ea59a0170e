"""What inherits a certificate: engines in fewer bits, or a student, that judge its slides alike."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeapl.bundle.certificate import CertificateSpec
from edgeapl.bundle.load import Bundle, open_bundle
from edgeapl.certification.document import EvidenceSlide, read_evidence
from edgeapl.certification.evidence import (
    ExaminationOptions,
    Examined,
    Labelled,
    Step,
    examine,
)
from edgeapl.engines.store.folder import EngineFolder, write_engines
from edgeapl.errors import InputError, UsageError
from edgeapl.model import ModelRequest, open_model
from edgeapl.sources.digests import image_digests
from edgeapl.sources.discover import find_slides
from edgeapl.types import Decision
from edgeapl.wording.names import listed
from edgeapl.wording.numbers import plural


@dataclass(frozen=True, slots=True)
class InheritanceTrial:
    """Engines tested on a certificate's slides. otherwise : slides that they judge differently."""

    engines: EngineFolder
    otherwise: tuple[str, ...]


def needs_trial(bundle: Bundle, engines: EngineFolder) -> bool:
    """Return whether the bundle has a certificate that these engines do not inherit as they are."""
    certificate = bundle.manifest.certificate
    if certificate is None:
        return False
    return not engines.record.inherits(bundle.manifest.files[certificate.evidence])


def inherit(
    folder: Path, engines: EngineFolder, frames: Path, how: ExaminationOptions, step: Step
) -> InheritanceTrial:
    """Judge all slides of a bundle's certificate with engines, and record it if nothing changes.

    Parameters
    ----------
    folder : the bundle. engines : built for it. frames : the slides of its certificate; others
        there are ignored. step : called with the number done and the total.

    Raises UsageError when the bundle has no certificate, or the layers of the engines were chosen
    on its slides; InputError when slides are missing; EngineError when a network fails.
    """
    bundle = open_bundle(folder)
    spec = bundle.manifest.certificate
    if spec is None:
        mend = "run edgeapl calibrate with --labels first"
        raise UsageError("bundle has no certificate to inherit", folder, mend)
    evidence = read_evidence(bundle.read(spec.evidence))
    _refuse_chosen(engines, evidence)
    request = ModelRequest(folder, engines=engines, pin_cores=True)
    otherwise = judged_otherwise(request, spec, evidence, frames, how, step)
    if otherwise:
        return InheritanceTrial(engines, otherwise)
    return InheritanceTrial(_noted(engines, bundle.manifest.files[spec.evidence]), ())


def judged_otherwise(
    request: ModelRequest,
    certificate: CertificateSpec,
    evidence: Sequence[EvidenceSlide],
    frames: Path,
    how: ExaminationOptions,
    step: Step,
) -> tuple[str, ...]:
    """Return the slides of a certificate that a model judges otherwise than they were judged.

    Parameters
    ----------
    request : the model. evidence : of the certificate. frames : its slides; others there are
        ignored.

    Raises InputError when slides are missing, EngineError when a network fails.
    """
    labelled = evidence_slides(evidence, frames, crops=how.crops)
    with open_model(request) as model:
        examined = examine(model, labelled, how, step)
    return tuple(
        slide.slide
        for slide, one in zip(evidence, examined, strict=True)
        if _verdict(one, certificate.clear_below) != slide.verdict
    )


def _refuse_chosen(engines: EngineFolder, evidence: Sequence[EvidenceSlide]) -> None:
    chosen_on = set(engines.record.layers_chosen_on)
    found = [slide.slide for slide in evidence if slide.images & chosen_on]
    if found:
        raise UsageError(
            "the layers of these engines were chosen on "
            f"{plural(len(found), 'slide')} of the certificate",
            listed(found),
            "build them again with other slides in --frames",
        )


def evidence_slides(
    evidence: Sequence[EvidenceSlide], frames: Path, *, crops: bool
) -> list[Labelled]:
    """Return the slides of the certificate in its order, recognised by their images.

    Raises InputError when slides are missing.
    """
    there = {}
    for slide in find_slides(frames, crops=crops).slides:
        images = {digest: file for file in slide.files for digest in image_digests(file)}
        there[frozenset(images)] = Labelled(slide, "", "", images)
    missing = [slide.slide for slide in evidence if slide.images not in there]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(evidence)} slides of the certificate are not there",
            listed(missing),
            "name the folder that it was earned on",
        )
    return [there[slide.images] for slide in evidence]


def _verdict(one: Examined, clear_below: float) -> str:
    if one.decision is Decision.CLEAR and not one.clears_below < clear_below:
        return Decision.REVIEW.value
    return one.decision.value


def _noted(engines: EngineFolder, certificate: str) -> EngineFolder:
    """Rewrite the record of engines with the certificate that they inherit."""
    record = engines.record.model_copy(update={"certificate": certificate})
    with tempfile.TemporaryDirectory(dir=engines.folder.parent, prefix=".build-") as folder:
        files = {}
        for built in record.files.values():
            files[built.file] = Path(folder) / built.file
            shutil.copyfile(engines.folder / built.file, files[built.file])
        return write_engines(engines.folder, record, files)
