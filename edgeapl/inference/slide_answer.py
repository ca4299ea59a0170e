"""Judge all cells of one slide at once, without frames, threads or a deadline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgeapl.bundle.manifest import Manifest
from edgeapl.inference.result import InferenceResult
from edgeapl.protocols import Engine
from edgeapl.stages.findings import Finding
from edgeapl.stages.judge import decide
from edgeapl.stages.reduce import Reducer
from edgeapl.types import Tally


@dataclass(frozen=True, slots=True)
class SlideAnswer:
    """What one set of engines says about all cells as one slide.

    decision : FLAG, CLEAR or REVIEW. probability : of APL, None when there is none.
    cells : that were scored. positive : per role.
    """

    decision: str
    probability: float | None
    cells: int
    positive: Mapping[str, int]


def answer_slide(
    manifest: Manifest,
    engines: Mapping[str, Engine],
    result: InferenceResult,
    findings: Sequence[Finding] = (),
) -> SlideAnswer:
    """Reduce and judge classified cells as one slide.

    Parameters
    ----------
    result : of all cells of the slide. findings : what else is known about it.
    """
    scores = result.scores
    reducer = Reducer.of(manifest)
    state = reducer.add(reducer.empty(), scores)
    failed = len(result.failed)
    tally = Tally(len(scores) + failed, scored=len(scores), failed=failed)
    head = None if manifest.reducer.head is None else engines[manifest.reducer.head]
    reduced, trouble = reducer.reduce(state, head, tally, manifest.rule.confidence)
    decision, _ = decide(manifest.rule, reduced, tally, (*findings, *trouble))
    return SlideAnswer(
        decision=decision.value,
        probability=reduced.probability,
        cells=tally.scored,
        positive={count.role: count.positive for count in reduced.counts},
    )
