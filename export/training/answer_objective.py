"""Learning from another network's answers: soft targets (Hinton et al. 2015, arXiv:1503.02531)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from edgeapl.export.architectures.student import Head, Student
from edgeapl.export.training.objective import Part, Predictions
from edgeapl.export.training.training_data import TrainingData
from edgeapl.types import Float32, Int64

CLASSES = ("other", "suspicious")
"""What the figures of a training tell of: cells that the parent finds suspicious, and others."""


@dataclass(frozen=True, slots=True, eq=False)
class AnswerObjective:
    """Cross-entropy between a student's answers and its parent's.

    A cell is changed at random, its target is the parent's answer to the cell as it was: so the
    student is taught not to mind stain and light either. Cells that the parent did not show to a
    network teach its head nothing. Nothing is weighed, as an answer that flips counts alike
    whatever it is about.

    data : `truth` holds whether the parent finds a cell suspicious.
    answers : (network, output) to the parent's probability, float32 (N,).
    suspicious : outputs that speak for APL.
    """

    data: TrainingData
    heads: tuple[Head, ...]
    answers: Mapping[tuple[str, str], Float32]
    suspicious: frozenset[tuple[str, str]]
    _targets: tuple[Float32, ...] = field(init=False)

    def __post_init__(self) -> None:
        targets = tuple(
            np.stack([self.answers[head.network, output] for output in head.outputs], axis=1)
            for head in self.heads
        )
        object.__setattr__(self, "_targets", targets)

    def batches(self, random: np.random.Generator) -> Sequence[Int64]:
        """Return the rows of each step, every cell once; the last step may have fewer."""
        rows = self.data.train[random.permutation(len(self.data.train))]
        size = self.data.settings.batch
        return [rows[start : start + size] for start in range(0, len(rows), size)]

    def parts(self, module: nn.Module, batch: Any, random: torch.Generator) -> Iterator[Part]:
        """Yield one part: the sum of the heads' losses."""
        student: Student = module
        with self.data.device.autocast():
            logits, _ = student.logits(self.data.augmented(batch, random))
        logits = tuple(each.float() for each in logits)
        loss = torch.zeros((), device=logits[0].device)
        for head, values, targets in zip(self.heads, logits, self._targets, strict=True):
            wanted = torch.from_numpy(targets[batch]).to(values.device)
            loss = loss + _loss(head, values, wanted)
        with torch.no_grad():
            said = self._suspicion(student, logits)
        yield Part(loss, self.data.truth[batch].tolist(), said)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def predict(self, module: nn.Module, rows: Int64) -> Predictions:
        """Judge these cells, each for itself."""
        student: Student = module
        parts: list[Float32] = []
        features: list[Float32] = []
        for cells in self.data.passes(rows):
            for chunk in cells:
                with self.data.device.autocast():
                    logits, found = student.logits(chunk)
                parts.append(self._suspicion(student, [each.float() for each in logits]))
                features.append(found.float().cpu().numpy())
        said = np.concatenate(parts)
        names = tuple(map(str, rows.tolist()))
        return Predictions(
            classes=CLASSES,
            names=names,
            patients=names,
            truth=self.data.truth[rows],
            probabilities=said,
            cells=rows,
            features=np.concatenate(features),
            cell_scores=said,
        )

    def _suspicion(self, student: Student, logits: Sequence[torch.Tensor]) -> Float32:
        """Return float32 (N, 2): the highest probability of a suspicious output is the last."""
        columns = [
            table[:, place]
            for head, table in zip(self.heads, student.probabilities(logits), strict=True)
            for place, output in enumerate(head.outputs)
            if (head.network, output) in self.suspicious
        ]
        highest = torch.stack(columns, 1).amax(1) if columns else torch.zeros(len(logits[0]))
        both = torch.stack([1 - highest, highest], 1)
        return np.asarray(both.cpu().numpy(), dtype=np.float32)


def _loss(head: Head, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean over the cells that the parent's network was shown."""
    split = len(head.classes)
    shown = (targets.sum(1) > 0).float()
    each = torch.zeros(len(targets), device=logits.device)
    if split:
        shares = targets[:, :split] / targets[:, :split].sum(1, keepdim=True).clamp(min=1e-6)
        each = each - (shares * logits[:, :split].log_softmax(1)).sum(1)
    if head.others:
        alone = functional.binary_cross_entropy_with_logits(
            logits[:, split:], targets[:, split:].clamp(0, 1), reduction="none"
        )
        each = each + alone.sum(1)
    return (each * shown).sum() / shown.sum().clamp(min=1)
