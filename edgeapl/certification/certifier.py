"""From a bundle and labelled slides to the bundle's next version, with its certificate."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgeapl.bundle.load import Bundle, open_bundle
from edgeapl.bundle.write import write_bundle
from edgeapl.calibration.replacement import replace_folder
from edgeapl.calibration.versions import next_version, target_of
from edgeapl.certification.document import (
    FILE,
    LOOK,
    CertificationResult,
    evidence_document,
    evidence_json,
)
from edgeapl.certification.evidence import (
    ExaminationOptions,
    Examined,
    Labelled,
    by_patient,
    examine,
    labelled_slides,
)
from edgeapl.certification.limits import Limit, Risk, highest_limit
from edgeapl.certification.seen_images import SeenImages, refuse_seen, refuse_shared, seen_images
from edgeapl.cores import cpu_cores
from edgeapl.errors import BundleError, InputError
from edgeapl.evaluation.labels import read_slide_labels
from edgeapl.model import ModelRequest, open_model
from edgeapl.sources.discover import find_slides
from edgeapl.stages.domain import FEWEST_CELLS
from edgeapl.stages.domain_fit import fit_domain_model_to_few
from edgeapl.types import Signer
from edgeapl.wording.names import canonical_name
from edgeapl.wording.numbers import exact, exact_percent, plural

FEWEST_SLIDES = 5
"""With fewer, slides like these cannot be told from others."""

INSIDE = 0.999
"""Share of further slides like these that each group of the look accepts."""

Tell = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class CertifyRequest:
    """What to prove, and on which slides.

    bundle : replaced by its next version unless `out` names another place.
    frames : labelled slides. labels : CSV with slide,label or patient,label or all three.
    positive : label of the slides that must not be cleared.
    leave_out_seen : continue without slides that the bundle has seen before.
    drawn : the slides are drawn, and the certificate says so.
    """

    bundle: Path
    frames: Path
    labels: Path
    how: ExaminationOptions = field(default_factory=ExaminationOptions)
    risk: Risk = field(default_factory=Risk)
    positive: str = "APL"
    leave_out_seen: bool = False
    drawn: bool = False
    out: Path | None = None


@dataclass(frozen=True, slots=True)
class Certified:
    """The new bundle and its evidence. signer : of the previous version."""

    bundle: Bundle
    document: dict[str, Any]
    signer: Signer | None = None


def certify(request: CertifyRequest, tell: Tell) -> Certified:
    """Examine labelled slides, set the limit, and write the bundle's next version with its proof.

    Nothing is written unless something may be cleared. Raises InputError when the slides do not
    prove that, saying how many more are needed; UsageError for slides that were seen before;
    BundleError when the bundle can never clear a slide.
    """
    bundle = open_bundle(request.bundle)
    target = target_of(request.bundle, request.out)
    _can_clear(bundle)
    slides = find_slides(request.frames, crops=request.how.crops).slides
    positive = canonical_name(request.positive)
    labelled, unlabelled = labelled_slides(slides, read_slide_labels(request.labels), positive)
    seen = seen_images(bundle)
    labelled, left_out = _not_seen(labelled, seen, request)
    _check_enough(labelled, positive, request.risk)
    tell(f"examine {len(labelled)} labelled slides", 0.0)
    wanted = ModelRequest(request.bundle, threads=cpu_cores(), pin_cores=True)
    with open_model(wanted) as model:
        examined = examine(
            model, labelled, request.how, lambda done, of: tell(f"examine {of} slides", done / of)
        )
    counting = [one for one in examined if one.describable]
    positives = by_patient([one for one in counting if one.labelled.label == positive])
    all_positive = {one.patient for one in labelled if one.label == positive}
    others = by_patient([one for one in examined if one.labelled.patient not in all_positive])
    earned = CertificationResult(
        bundle_digest=bundle.digest,
        positive=positive,
        risk=request.risk,
        limit=_limit(list(positives.values()), bundle, request),
        examined=examined,
        positives=positives,
        others=others,
        not_counted=sorted(all_positive - set(positives)),
        left_out=left_out,
        unlabelled=unlabelled,
        training_known=seen.training_known,
        drawn=request.drawn,
    )
    tell("write the bundle", 0.0)
    return Certified(
        _written(bundle, earned, _look(counting), target), evidence_document(earned), bundle.signer
    )


def _can_clear(bundle: Bundle) -> None:
    """Raise BundleError for a bundle that can never clear, whatever the slides prove."""
    manifest = bundle.manifest
    why = ""
    if not manifest.trained:
        why = "its networks were never trained"
    elif manifest.answers != "apl":
        why = "it does not tell whether a slide is APL"
    elif manifest.domain is None:
        why = "it does not know which slides it was made for: run edgeapl calibrate --frames first"
    if why:
        raise BundleError("this bundle can clear no slide", bundle.folder, why)


def _not_seen(
    labelled: Sequence[Labelled], seen: SeenImages, request: CertifyRequest
) -> tuple[list[Labelled], list[str]]:
    """Return the slides that count as evidence, and the names of those seen before."""
    found: dict[str, str] = {}
    owners: dict[str, list[str]] = {}
    for one in labelled:
        for digest in one.images:
            owners.setdefault(digest, []).append(one.patient)
            if digest in seen.used_for:
                found[one.slide.name] = seen.used_for[digest]
    refuse_shared(owners, {d: file for one in labelled for d, file in one.images.items()})
    if not request.leave_out_seen:
        refuse_seen(found)
    return [one for one in labelled if one.slide.name not in found], sorted(found)


def _check_enough(labelled: Sequence[Labelled], positive: str, risk: Risk) -> None:
    """Raise InputError early, before hours of work, when there are too few patients in any case."""
    patients = len({one.patient for one in labelled if one.label == positive})
    if risk.most_cleared(patients) < 0:
        raise _too_few(patients, positive, risk)


def _limit(scores: Sequence[float], bundle: Bundle, request: CertifyRequest) -> Limit:
    risk = request.risk
    values = np.asarray(scores, dtype=np.float64)
    limit = highest_limit(values, risk, bundle.manifest.rule.clear_below)
    if limit is not None:
        return limit
    if risk.most_cleared(len(values)) < 0:
        raise _too_few(len(values), request.positive, risk)
    lowest = 1 / 1000
    cleared = int((values < lowest).sum())
    what = f"the rule clears {cleared} of {len(values)} {request.positive} patients even below "
    what += f"{exact(lowest)}"
    more = plural(risk.missing(cleared, len(values)), "more patient")
    raise InputError(
        what,
        request.labels,
        f"no limit keeps to {exact_percent(risk.alpha)}: look at these slides; if nothing is wrong "
        f"with them it takes {more} of whom none is cleared",
    )


def _too_few(patients: int, positive: str, risk: Risk) -> InputError:
    more = risk.missing(0, patients)
    return InputError(
        "too few patients to prove that anything may be cleared",
        f"{patients} with the label {positive}",
        f"add at least {more} more, each with slides of {FEWEST_CELLS} cells or more: "
        f"{exact_percent(risk.alpha)} with {exact_percent(risk.confidence)} confidence takes "
        f"{patients + more}, if none of them is cleared",
    )


def _look(examined: Sequence[Examined]) -> bytes:
    """Fit the look of the slides; the networks' features are described by the bundle already."""
    looks = [one.look.groups for one in examined if one.look is not None]
    if len(looks) < FEWEST_SLIDES:
        mend = f"{FEWEST_SLIDES} slides with {FEWEST_CELLS} cells or more are needed"
        raise InputError("too few slides to learn their look", str(len(looks)), mend)
    names = set.intersection(*(set(groups) for groups in looks))
    rows = [{name: np.array(groups[name]) for name in sorted(names)} for groups in looks]
    file = io.BytesIO()
    fit_domain_model_to_few(rows, inside=INSIDE).save(file)
    return file.getvalue()


def _written(bundle: Bundle, earned: CertificationResult, look: bytes, target: Path) -> Bundle:
    manifest = bundle.manifest
    settings = manifest.model_dump(
        mode="json", exclude={"schema_version", "files", "certificate"}, exclude_none=True
    )
    old = manifest.certificate
    replaced = () if old is None else (old.evidence, old.look)
    files: dict[str, bytes | Path] = {
        name: bundle.folder / name for name in manifest.files if name not in replaced
    }
    files |= {FILE: evidence_json(earned), LOOK: look}
    settings["version"] = next_version(manifest.version)
    settings["certificate"] = {
        "subject": manifest.subject,
        "evidence": FILE,
        "look": LOOK,
        "positive": earned.positive,
        "clear_below": earned.limit.value,
        "alpha": earned.risk.alpha,
        "confidence": earned.risk.confidence,
        "patients": len(earned.positives),
        "cleared": earned.limit.cleared,
        "bound": earned.risk.bound(earned.limit.cleared, len(earned.positives)),
        "slides": earned.positive_slides,
        "others": len(earned.others),
        "others_cleared": earned.others_cleared,
        "drawn": earned.drawn,
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as folder:
        made = write_bundle(Path(folder) / "bundle", settings, files)
        replace_folder(made.folder, target)
    return open_bundle(target)
