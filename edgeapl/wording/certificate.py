"""What proves that a model may clear, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeapl.types import Certificate
from edgeapl.wording.numbers import exact_percent, percent, plural

NO_PROOF = "nothing suspicious was found; this model has no proof that it may clear"
CLEARS_NOTHING = "none: this model has no proof that it may clear, so it clears no slide"


def certificate_in_words(certificate: Certificate) -> str:
    """Say what was proven, on how many patients, and how surely."""
    drawn = "drawn " if certificate.drawn else ""
    text = (
        f"of {drawn}{certificate.positive} slides like these at most "
        f"{exact_percent(certificate.alpha)} would be cleared "
        f"({exact_percent(certificate.confidence)} confidence; "
        f"{plural(certificate.patients, drawn + 'patient')}, {certificate.cleared} of them cleared)"
    )
    return f"{text}; this proves nothing about real slides" if certificate.drawn else text


def certificate_in_short(certificate: Certificate | None) -> str:
    """Give the same with the limit and the bound, for a table; also where there is none."""
    if certificate is None:
        return CLEARS_NOTHING
    bound = percent(certificate.bound, [certificate.alpha])
    return (
        f"{certificate_in_words(certificate)}; upper bound {bound}; "
        f"CLEAR below {certificate.clear_below:g}; evidence {certificate.digest[:16]}"
    )


def certificate_of_record(record: Mapping[str, Any]) -> str:
    """Give the same of a verdict as plain JSON values; those of older versions do not tell."""
    if "certificate" not in record:
        return "not recorded"
    given = record["certificate"]
    return certificate_in_short(None if given is None else Certificate(**given))
