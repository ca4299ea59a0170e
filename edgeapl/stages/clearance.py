"""Whether a slide that the rule would clear may be cleared: only what was proven may."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgeapl.stages.domain import FEWEST_CELLS, GROUP_WORDS, DomainModel
from edgeapl.stages.findings import Code, Effect, Finding
from edgeapl.stages.reduce import Reduced
from edgeapl.types import Certificate, Limits
from edgeapl.wording.certificate import NO_PROOF, describe_certificate
from edgeapl.wording.numbers import above, exact, number


@dataclass(frozen=True, slots=True, eq=False)
class Clearing:
    """What a model may clear.

    certificate : None where nothing was proven; then no slide is cleared.
    look : of the slides that it was earned on. without : why these engines do not inherit it.
    earning : the rule alone clears, as when a certificate is earned; nobody sees such verdicts.
    """

    certificate: Certificate | None = None
    look: DomainModel | None = None
    without: str = ""
    earning: bool = False

    def narrowed(self, limits: Limits) -> Limits:
        """Return the limits that a slide's figures are compared with in the end."""
        if self.certificate is None:
            return limits
        below = min(limits.clear_below, self.certificate.clear_below)
        return replace(limits, clear_below=below)

    def of_look(self, cells: int, slide: Mapping[str, NDArray[np.float64]]) -> list[Finding]:
        """Return in what a slide is unlike those that the certificate was earned on.

        Parameters
        ----------
        cells : number of cells that the slide was described by.
        slide : of `edgeapl.stages.slide_descriptor.describe_slide`.
        """
        if self.look is None or self.earning or cells < FEWEST_CELLS:
            return []  # too few cells bar CLEAR already
        findings = []
        for name, (distance, limit) in self.look.distances(dict(slide)).items():
            if not distance <= limit:
                far, most = above(distance, limit)
                text = (
                    f"{GROUP_WORDS[name]} is unlike the slides on which this model proved that it "
                    f"may clear (distance {far}, limit {most})"
                )
                findings.append(Finding(Code.CERTIFICATE_LOOK, text, Effect.BARS_CLEAR))
        return findings

    def judge(self, reduced: Reduced) -> list[Finding]:
        """Return what prevents the clearing of a slide that the rule would clear.

        A slide that may be cleared gets a note with the proof.
        """
        if self.earning:
            return []
        certificate = self.certificate
        if certificate is None or self.look is None:
            return [Finding(Code.NO_CERTIFICATE, NO_PROOF, Effect.BARS_CLEAR)]
        if self.without:
            text = f"nothing suspicious was found; {self.without}"
            return [Finding(Code.CERTIFICATE_ENGINES, text, Effect.BARS_CLEAR)]
        highest = highest_of(reduced)
        if not highest < certificate.clear_below:
            shown = number(highest, [certificate.clear_below])
            text = (
                f"nothing suspicious was found, but the probability of APL may be {shown}, and "
                f"this model has proof only for clearing below {exact(certificate.clear_below)}"
            )
            return [Finding(Code.ABOVE_CERTIFICATE, text, Effect.BARS_CLEAR)]
        return [Finding(Code.CERTIFICATE, describe_certificate(certificate), Effect.NOTE)]


def highest_of(reduced: Reduced) -> float:
    """Return the upper end of the probability's interval; without one, the probability."""
    if reduced.interval is not None:
        return reduced.interval.high
    assert reduced.probability is not None  # only slides that would be cleared are asked about
    return reduced.probability
