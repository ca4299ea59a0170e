"""The answer for one slide, as programs and notebooks see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgeapl.api.cells import Cells
from edgeapl.api.html import verdict_html
from edgeapl.errors import EdgeAplError
from edgeapl.journal import verdict_to_json
from edgeapl.report.pictures import RESEARCH_USE_ONLY
from edgeapl.types import Decision, Interval, Reason, Tally
from edgeapl.types import Verdict as SlideAnswer
from edgeapl.wording.verdicts import by_weight, headline


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """The answer for one slide, its cells, and what could not be examined.

    answer : the whole answer, as a journal would store it. Nothing was committed.
    cells : every cell that was found.
    errors : of single images; a slide with errors is not CLEAR.
    """

    answer: SlideAnswer
    cells: Cells
    errors: tuple[EdgeAplError, ...] = ()

    @property
    def slide(self) -> str:
        """Name of the slide."""
        return self.answer.slide

    @property
    def decision(self) -> Decision:
        """FLAG (APL suspected), CLEAR, or REVIEW (a person must look)."""
        return self.answer.decision

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why, the weightiest first: a stable `code` for machines and a `text` for people."""
        return tuple(by_weight(self.answer.reasons, lambda reason: reason.code))

    @property
    def probability(self) -> float | None:
        """Of APL by the model's head, 0 to 1; None if it gives none."""
        return self.answer.probability

    @property
    def interval(self) -> Interval | None:
        """Confidence interval of the probability; None if there is none."""
        return self.answer.interval

    @property
    def tally(self) -> Tally:
        """Number of cells seen, and what became of them."""
        return self.answer.tally

    @property
    def evidence(self) -> tuple[int, ...]:
        """Numbers (`cells.ids`) of the cells that suggest APL most, strongest first."""
        return self.answer.evidence

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as plain JSON values, with the fields of `verdicts.jsonl`."""
        return verdict_to_json(self.answer)

    def __str__(self) -> str:
        codes = [reason.code for reason in self.reasons]
        said = f"{self.slide}: {self.decision.value}, {headline(self.decision.value, codes)}"
        why = "; ".join(reason.text for reason in self.reasons[:2])
        return ". ".join(part for part in (said, why, RESEARCH_USE_ONLY) if part)

    def _repr_html_(self) -> str:
        """Show a frame with the boxes of its cells, and the verdict, in a notebook."""
        return verdict_html(self.answer, self.cells)
