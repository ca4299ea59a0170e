"""Where a verdict comes from: which bundle, who signed it, what it may clear."""

from __future__ import annotations

from dataclasses import dataclass

UNSIGNED = "unsigned"
"""Text in place of a signer where there is none."""


@dataclass(frozen=True, slots=True)
class Signer:
    """The signer of a bundle or engines, made only of a verified signature.

    name : given at signing. key : fingerprint, SHA-256 (hex) of the public key.
    """

    name: str
    key: str

    @property
    def text(self) -> str:
        """Name and the start of the fingerprint, for people."""
        return f"{self.name} (key {self.key[:16]})"


def signer_text(signer: Signer | None) -> str:
    """Return who signed, or that nobody did."""
    return UNSIGNED if signer is None else signer.text


@dataclass(frozen=True, slots=True)
class Limits:
    """What a slide's figures are compared with; 0 to 1, as in the bundle's rule.

    flag_at, clear_below : of the probability. suspicious_share : of the share of suspicious cells;
    None where it does not count.
    """

    flag_at: float
    clear_below: float
    suspicious_share: float | None = None

    @property
    def of_probability(self) -> tuple[float, float]:
        """The two limits of the probability."""
        return self.flag_at, self.clear_below


@dataclass(frozen=True, slots=True)
class Origin:
    """What made a verdict, and where its results are; all empty in records of older versions.

    bundle, version : as in the bundle's manifest.
    demonstration : the bundle is the demonstration, or the slide is drawn: no patient's.
    sitting : stands for this one examination of the slide, also over a restart; two slides that
        share an identifier have two.
    results : the result folder.
    slide_key : digest of all that the results of a scored folder's slide depend on; empty for
        slides that were watched.
    """

    bundle: str = ""
    version: str = ""
    demonstration: bool = False
    sitting: str = ""
    results: str = ""
    slide_key: str = ""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What proves that a bundle may clear slides; see `edgeapl.bundle.certificate`.

    digest : SHA-256 (hex) of the evidence. positive : label of the slides that must not be cleared.
    clear_below, alpha, confidence, bound : 0 to 1. patients : positive ones. cleared : of them.
    drawn : the evidence was drawn, so nothing is proven about real slides.
    """

    digest: str
    positive: str
    clear_below: float
    alpha: float
    confidence: float
    patients: int
    cleared: int
    bound: float
    drawn: bool = False
