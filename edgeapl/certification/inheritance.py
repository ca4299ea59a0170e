"""Engines in lower precision inherit a certificate if they judge its slides as the bundle does."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeapl.bundle.load import Bundle, open_bundle
from edgeapl.certification.document import EvidenceSlide, read_evidence
from edgeapl.certification.evidence import (
    Examined,
    HowToExamine,
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
from edgeapl.wording.numbers import plural
from edgeapl.wording.printable import printable

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Inherited:
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
    folder: Path, engines: EngineFolder, frames: Path, how: HowToExamine, step: Step
) -> Inherited:
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
    labelled = _found(evidence, frames, crops=how.crops)
    with open_model(ModelRequest(folder, engines=engines, pin_cores=True)) as model:
        examined = examine(model, labelled, how, step)
    otherwise = tuple(
        slide.slide
        for slide, one in zip(evidence, examined, strict=True)
        if _verdict(one, spec.clear_below) != slide.verdict
    )
    if otherwise:
        return Inherited(engines, otherwise)
    return Inherited(_noted(engines, bundle.manifest.files[spec.evidence]), ())


def _refuse_chosen(engines: EngineFolder, evidence: Sequence[EvidenceSlide]) -> None:
    chosen_on = set(engines.record.layers_chosen_on)
    found = [slide.slide for slide in evidence if slide.images & chosen_on]
    if found:
        raise UsageError(
            "the layers of these engines were chosen on "
            f"{plural(len(found), 'slide')} of the certificate",
            _some(found),
            "build them again with other slides in --frames",
        )


def _found(evidence: Sequence[EvidenceSlide], frames: Path, *, crops: bool) -> list[Labelled]:
    """Return the slides of the certificate in its order, recognised by their images."""
    there = {}
    for slide in find_slides(frames, crops=crops).slides:
        images = {digest: file for file in slide.files for digest in image_digests(file)}
        there[frozenset(images)] = Labelled(slide, "", "", images)
    missing = [slide.slide for slide in evidence if slide.images not in there]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(evidence)} slides of the certificate are not there",
            _some(missing),
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


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(printable(name) for name in names[:_SHOWN]) + more
