"""The file `certificate.json` of a bundle: the slides that prove what it may clear."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgeapl import __version__
from edgeapl.certification.evidence import Examined
from edgeapl.certification.limits import STEPS, Limit, Risk
from edgeapl.errors import BundleError

SCHEMA = 1
FILE = "certificate.json"
LOOK = "certificate-look.npz"


@dataclass(frozen=True, slots=True, eq=False)
class CertificationResult:
    """Everything that was found.

    bundle_digest : of the bundle whose networks and rule were tested. examined : all slides.
    positives, others : patients to the lowest limit that clears one of their slides.
    not_counted : positive patients without a slide that has enough cells.
    left_out : slides that were seen before. unlabelled : slides without a label.
    training_known : whether the bundle says what it was trained on.
    """

    bundle_digest: str
    positive: str
    risk: Risk
    limit: Limit
    examined: Sequence[Examined]
    positives: Mapping[str, float]
    others: Mapping[str, float]
    not_counted: Sequence[str]
    left_out: Sequence[str]
    unlabelled: Sequence[str]
    training_known: bool
    drawn: bool

    @property
    def others_cleared(self) -> int:
        """Number of patients with another label of whom a slide is cleared."""
        return sum(value < self.limit.value for value in self.others.values())

    @property
    def positive_slides(self) -> int:
        """Number of slides of the positive patients that count."""
        label = self.positive
        return sum(one.labelled.label == label and one.describable for one in self.examined)


@dataclass(frozen=True, slots=True)
class EvidenceSlide:
    """A slide of the evidence. cleared : below the certificate's limit. images : digests."""

    slide: str
    verdict: str
    cleared: bool
    images: frozenset[str]


def evidence_document(earned: CertificationResult) -> dict[str, Any]:
    """Return the file as plain JSON values."""
    positives = len(earned.positives)
    verdicts: dict[str, Counter[str]] = {}
    for one in earned.examined:
        verdicts.setdefault(one.labelled.label, Counter())[_verdict(one, earned)] += 1
    return {
        "schema": SCHEMA,
        "research_use_only": True,
        "software": f"edgeapl {__version__}",
        "bundle_digest": earned.bundle_digest,
        "method": "learn then test, fixed sequence, exact binomial",
        "positive": earned.positive,
        "alpha": earned.risk.alpha,
        "confidence": earned.risk.confidence,
        "steps": STEPS,
        "clear_below": earned.limit.value,
        "patients": positives,
        "cleared": earned.limit.cleared,
        "bound": earned.risk.bound(earned.limit.cleared, positives),
        "others": len(earned.others),
        "others_cleared": earned.others_cleared,
        "verdicts": {label: dict(sorted(one.items())) for label, one in sorted(verdicts.items())},
        "not_counted": sorted(earned.not_counted),
        "seen_before": sorted(earned.left_out),
        "unlabelled": sorted(earned.unlabelled),
        "training_known": earned.training_known,
        "drawn": earned.drawn,
        "slides": [_slide(one, earned) for one in earned.examined],
    }


def evidence_json(earned: CertificationResult) -> bytes:
    """Return the file's bytes; the same facts give the same bytes."""
    text = json.dumps(evidence_document(earned), sort_keys=True, indent=1, allow_nan=False)
    return (text + "\n").encode()


def read_evidence(data: bytes) -> tuple[EvidenceSlide, ...]:
    """Read the slides of `certificate.json`. Raises BundleError when it is malformed."""
    try:
        document = json.loads(data)
        if document["schema"] != SCHEMA:
            raise ValueError(f"schema {document['schema']}")
        return tuple(
            EvidenceSlide(
                slide=str(one["slide"]),
                verdict=str(one["verdict"]),
                cleared=one["verdict"] == "CLEAR",
                images=frozenset(map(str, one["images"])),
            )
            for one in document["slides"]
        )
    except (ValueError, KeyError, TypeError) as error:
        mend = f"{error}; run edgeapl calibrate with --labels again"
        raise BundleError("evidence of the certificate not understood", FILE, mend) from error


def _verdict(one: Examined, earned: CertificationResult) -> str:
    """Return the verdict that the slide gets with the limit."""
    if one.decision.value != "CLEAR":
        return one.decision.value
    return "CLEAR" if one.clears_below < earned.limit.value else "REVIEW"


def _slide(one: Examined, earned: CertificationResult) -> dict[str, Any]:
    return {
        "slide": one.labelled.slide.name,
        "patient": one.labelled.patient,
        "label": one.labelled.label,
        "verdict": _verdict(one, earned),
        "clears_below": one.clears_below if math.isfinite(one.clears_below) else None,
        "cells": one.cells,
        "images": sorted(one.labelled.images),
    }
