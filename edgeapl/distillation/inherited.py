"""A student inherits a certificate to clear if it judges the certificate's own slides alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgeapl.bundle.load import Bundle
from edgeapl.certification.document import EvidenceSlide, read_evidence
from edgeapl.certification.evidence import ExaminationOptions
from edgeapl.certification.inheritance import evidence_slides, judged_otherwise
from edgeapl.cores import cpu_cores
from edgeapl.distillation.request import DistillRequest, Say
from edgeapl.distillation.student_bundle import without_features
from edgeapl.errors import UsageError
from edgeapl.model import ModelRequest
from edgeapl.wording.names import listed
from edgeapl.wording.numbers import plural


@dataclass(frozen=True, slots=True)
class Inherited:
    """What a student got of its parent's certificate.

    settings, files : for its bundle; empty when it inherits nothing.
    otherwise : slides of the certificate that it judges otherwise. tried : whether any were shown.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    otherwise: tuple[str, ...] = ()
    tried: bool = False


def check_evidence(parent: Bundle, images: Mapping[str, str], request: DistillRequest) -> None:
    """Raise before any work when a certificate could not be inherited.

    images : SHA-256 (hex) of those to learn from and to prove on, to the slide's name.

    Raises UsageError when there is no certificate, or a slide of it is among these; InputError when
    a slide of it is missing.
    """
    if request.evidence is None:
        return
    evidence = _evidence(parent)
    if not evidence:
        mend = "leave --evidence out, or run edgeapl calibrate with --labels first"
        raise UsageError("bundle has no certificate to inherit", parent.folder, mend)
    evidence_slides(evidence, request.evidence, crops=request.crops)
    shared = {images[one] for slide in evidence for one in slide.images if one in images}
    if shared:
        raise UsageError(
            f"{plural(len(shared), 'slide')} of the certificate would teach the student that is to "
            "be tried on them",
            listed(sorted(shared)),
            "take them out of --frames",
        )


def inherit_certificate(
    parent: Bundle, made: Bundle, request: DistillRequest, say: Say
) -> Inherited:
    """Let a student judge all slides of its parent's certificate.

    Raises EngineError when a network fails, InputError when a slide is missing.
    """
    spec = parent.manifest.certificate
    if spec is None or request.evidence is None:
        return Inherited()
    otherwise = judged_otherwise(
        ModelRequest(made.folder, threads=cpu_cores(), pin_cores=True),
        spec,
        _evidence(parent),
        request.evidence,
        ExaminationOptions(request.crops, request.um_per_px),
        lambda done, of: say(f"judge the {of} slides of the certificate"),
    )
    if otherwise:
        return Inherited(otherwise=otherwise, tried=True)
    certificate = spec.model_dump(mode="json") | {"subject": made.manifest.subject}
    files = {
        spec.evidence: parent.read(spec.evidence),
        spec.look: without_features(parent.read(spec.look)),
    }
    return Inherited({"certificate": certificate}, files, tried=True)


def _evidence(parent: Bundle) -> tuple[EvidenceSlide, ...]:
    spec = parent.manifest.certificate
    return () if spec is None else read_evidence(parent.read(spec.evidence))
