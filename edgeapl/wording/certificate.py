"""Sentences about a model's certificate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeapl.types import Certificate
from edgeapl.wording.numbers import exact_percent, percent, plural

NO_PROOF = "nothing suspicious was found; this model has no proof that it may clear"
CLEARS_NOTHING = "none: this model has no proof that it may clear, so it clears no slide"


def describe_certificate(certificate: Certificate) -> str:
    """Describe what was proven, on how many patients, and with what confidence."""
    drawn = "drawn " if certificate.drawn else ""
    text = (
        f"of {drawn}{certificate.positive} slides like these at most "
        f"{exact_percent(certificate.alpha)} would be cleared "
        f"({exact_percent(certificate.confidence)} confidence; "
        f"{plural(certificate.patients, drawn + 'patient')}, {certificate.cleared} of them cleared)"
    )
    return f"{text}; this proves nothing about real slides" if certificate.drawn else text


def summarise_certificate(certificate: Certificate | None) -> str:
    """Describe a certificate with its limit and bound, for a table; also if there is none."""
    if certificate is None:
        return CLEARS_NOTHING
    bound = percent(certificate.bound, [certificate.alpha])
    return (
        f"{describe_certificate(certificate)}; upper bound {bound}; "
        f"CLEAR below {certificate.clear_below:g}; evidence {certificate.digest[:16]}"
    )


def certificate_of_record(record: Mapping[str, Any]) -> str:
    """Describe the certificate of a record; older records do not say."""
    if "certificate" not in record:
        return "not recorded"
    given = record["certificate"]
    return summarise_certificate(None if given is None else Certificate(**given))
