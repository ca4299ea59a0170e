"""What the cell networks answered about some cells: one column for each role."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeapl.bundle.manifest import Manifest
from edgeapl.bundle.specs import RoleSpec
from edgeapl.errors import EngineError
from edgeapl.inference.routing import Answer, answered
from edgeapl.stages.cascade import Cascade, student_output
from edgeapl.types import CellScores, Float32, Int64


@dataclass(frozen=True, slots=True, eq=False)
class InferenceResult:
    """Answers for some cells.

    scores : rows of the cells with a usable answer.
    failed : int64 (F,), numbers of the cells without: an answer was no number from 0 to 1, or a
        network failed on their batch.
    errors : one for every run that failed.
    affected : for each error, int64, numbers of the cells that were in its run.
    cut_s : seconds in which cells were cut, of all threads together.
    """

    scores: CellScores
    failed: Int64
    errors: tuple[EngineError, ...] = ()
    affected: tuple[Int64, ...] = ()
    cut_s: float = 0.0

    @property
    def is_empty(self) -> bool:
        """Whether it is about no cell and has no error."""
        return not (len(self.scores) or len(self.failed) or self.errors)

    def checked(self) -> InferenceResult:
        """Return it if no run failed; raises the first EngineError otherwise."""
        if self.errors:
            raise self.errors[0]
        return self

    def part(self, first: int, count: int) -> InferenceResult:
        """Return what is about `count` cells from number `first` on, numbered from 0.

        An error is part of it when one of these cells was in its run.
        """
        rows = _within(self.scores.ids, first, count)
        theirs = [
            (error, ids[_within(ids, first, count)] - first)
            for error, ids in zip(self.errors, self.affected, strict=True)
        ]
        theirs = [(error, ids) for error, ids in theirs if len(ids)]
        return InferenceResult(
            CellScores(
                ids=self.scores.ids[rows] - first,
                roles={name: values[rows] for name, values in self.scores.roles.items()},
                features=self.scores.features[rows],
            ),
            self.failed[_within(self.failed, first, count)] - first,
            tuple(error for error, _ in theirs),
            tuple(ids for _, ids in theirs),
        )


def result_of(
    manifest: Manifest, ids: Int64, answers: Sequence[Mapping[str, Answer | None]]
) -> InferenceResult:
    """Put the answers about some cells into columns.

    Parameters
    ----------
    ids : int64 (N,).
    answers : N entries, network to its answer, None where it did not see the cell.

    A cell with anything that is no probability, or no finite feature, is failed. Where the answer
    of a cascade's student stands, it is the one that counts.
    """
    cascade = Cascade.of(manifest)
    final = [_final(cascade, answer) for answer in answers]
    roles = {
        role.name: _column(
            [_role(role, answer, first) for answer, first in zip(answers, final, strict=True)]
        )
        for role in manifest.roles
    }
    features = _features(manifest, answers)
    usable = np.isfinite(features).all(axis=1)
    for values in roles.values():
        usable &= (values >= 0) & (values <= 1)  # NaN fails both
    scores = CellScores(
        ids=ids[usable],
        roles={name: values[usable] for name, values in roles.items()},
        features=features[usable],
    )
    return InferenceResult(scores=scores, failed=ids[~usable])


def _features(manifest: Manifest, answers: Sequence[Mapping[str, Answer | None]]) -> Float32:
    if manifest.features is None or not answers:
        return np.empty((len(answers), 0), dtype=np.float32)
    network, _, output = manifest.features.partition(".")
    rows = [np.ravel(answered(answer[network])[output]) for answer in answers]
    return np.asarray(np.stack(rows), dtype=np.float32)


def _within(ids: Int64, first: int, count: int) -> NDArray[np.bool_]:
    return np.asarray((ids >= first) & (ids < first + count), dtype=np.bool_)


def _final(cascade: Cascade | None, answer: Mapping[str, Answer | None]) -> Answer | None:
    """Return the student's answer about a cell where it stands."""
    first = None if cascade is None else answer[cascade.network]
    return first if cascade and first is not None and cascade.stands(first) else None


def _role(role: RoleSpec, answer: Mapping[str, Answer | None], final: Answer | None) -> float:
    if final is not None:
        return float(final[student_output(role.network, role.output)])
    return _probability(answer[role.network], role.output)


def _probability(answer: Answer | None, output: str) -> float:
    return 0.0 if answer is None else float(answer[output])


def _column(values: Sequence[float]) -> Float32:
    return np.array(values, dtype=np.float32)
