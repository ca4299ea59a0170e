"""What a bundle is asked about a slide, in words: its figure, and what a flag of it means.

Most bundles are asked for APL. One that counts the kinds of cells is asked for immature
granulocytes: the reason `COUNTS_KINDS` stands in each of its verdicts, so records tell by it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

COUNTS_KINDS = "counts_kinds"
"""Code of the reason that stands in every verdict of a bundle that counts the kinds of cells."""


@dataclass(frozen=True, slots=True)
class Question:
    """Words for one question.

    flag : what a flag says. advice : what to do then. figure : name of the slide's number.
    suspect : what suspicious cells suggest. most : heading of the cells that weigh most.
    never_clears : why the question can never be answered with CLEAR; empty where it can.
    """

    flag: str
    advice: str
    figure: str
    suspect: str
    most: str
    never_clears: str = ""

    @property
    def clears(self) -> bool:
        """Whether CLEAR is an answer."""
        return not self.never_clears


APL = Question(
    flag="APL suspected",
    advice="Acute promyelocytic leukaemia is an emergency: have a haematologist look at this "
    "smear now.",
    figure="probability of APL",
    suspect="APL",
    most="Cells that weigh most for APL",
)
IMMATURE = Question(
    flag="immature granulocytes beyond the limit",
    advice="Promyelocytes, myelocytes or metamyelocytes circulate. Infection, pregnancy, growth "
    "factors and leukaemia can be the cause, acute promyelocytic leukaemia among them: have a "
    "haematologist look at this smear now.",
    figure="share of immature granulocytes",
    suspect="immature granulocytes",
    most="Cells most like immature granulocytes",
    never_clears="this model counts kinds of cells and has seen healthy donors' cells alone: it "
    "cannot tell APL from other acute leukaemia, and clears no slide",
)
QUESTIONS = {"apl": APL, "subtype": APL, "differential": IMMATURE}
"""By what a bundle answers; see `edgeapl.bundle.manifest.Manifest`."""


def question_of(codes: Collection[str]) -> Question:
    """Return what was asked, by the codes of a verdict's reasons."""
    return IMMATURE if COUNTS_KINDS in codes else APL
