"""The evidence that a bundle may clear slides, as recorded in the bundle's manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, model_validator

from edgeapl.bundle.digest import sha256
from edgeapl.bundle.specs import Digest, FileName, Share, Spec

SAYS_NOTHING = (
    "schema_version",
    "version",
    "model_card",
    "intended_use",
    "golden",
    "limits",
    "explanation",
    "calibration",
    "training",
    "certificate",
    "parent",
)
"""Parts of a manifest that do not affect verdicts."""


class CertificateSpec(Spec):
    """Limits derived from labelled slides, and the evidence for them.

    subject : digest of everything in the bundle that affects verdicts; see `subject_of`.
    evidence : JSON file with the slides, their labels, their verdicts and the digests of their
        images.
    look : .npz file with the look of these slides, as `edgeapl.stages.domain.DomainModel` keeps it.
    positive : label of the slides that must not be cleared.
    clear_below : a slide is cleared only if the upper end of its interval lies below.
    alpha : largest share of positive slides that may be cleared. confidence : in that, 0 to 1.
    patients : positive ones; slides of one patient are not independent, so patients are counted.
    cleared : those with a slide below `clear_below`. bound : upper bound of their share.
    slides : of the positive patients. others, others_cleared : patients with another label.
    drawn : the slides were drawn, so the certificate says nothing about real ones.
    """

    subject: Digest
    evidence: FileName
    look: FileName
    positive: Annotated[str, Field(min_length=1, max_length=200)]
    clear_below: Annotated[float, Field(gt=0, le=0.5, allow_inf_nan=False)]
    alpha: Annotated[float, Field(gt=0, le=0.5, allow_inf_nan=False)]
    confidence: Annotated[float, Field(ge=0.5, lt=1, allow_inf_nan=False)]
    patients: Annotated[int, Field(ge=1)]
    cleared: Annotated[int, Field(ge=0)]
    bound: Share
    slides: Annotated[int, Field(ge=1)]
    others: Annotated[int, Field(ge=0)] = 0
    others_cleared: Annotated[int, Field(ge=0)] = 0
    drawn: bool = False

    @model_validator(mode="after")
    def _proves_something(self) -> CertificateSpec:
        if self.bound > self.alpha:
            raise ValueError(f"certificate: bound {self.bound:g} is above alpha {self.alpha:g}")
        if self.cleared > self.patients or self.others_cleared > self.others:
            raise ValueError("certificate: more patients cleared than there were")
        if self.slides < self.patients:
            raise ValueError("certificate: fewer slides than patients")
        return self


def subject_of(settings: Mapping[str, Any], files: Mapping[str, str]) -> str:
    """Return the digest of what verdicts depend on: networks, rule, roles, gate, look.

    Parameters
    ----------
    settings : a manifest's `model_dump(mode="json", exclude_defaults=True)`, so that fields which
        later versions add with defaults change nothing. files : its files with their digests.
    """
    decides = {name: value for name, value in settings.items() if name not in SAYS_NOTHING}
    decides.pop("files", None)
    used = [network["file"] for network in settings["networks"].values()]
    used += [settings["domain"]["file"]] if settings.get("domain") else []
    content = {**decides, "digests": {name: files[name] for name in used}}
    return sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode())
