"""Compares what two sets of engines answer about single cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeapl.bundle.manifest import Manifest
from edgeapl.bundle.specs import RoleSpec
from edgeapl.calibration.validation.comparison import percentile_99
from edgeapl.inference import InferenceResult
from edgeapl.inference.routing import steps

Float64 = NDArray[np.float64]
Bools = NDArray[np.bool_]

NOT_SHOWN = -1
"""Class of a cell that a network was not shown."""


@dataclass(frozen=True, slots=True)
class RoleDifference:
    """One role over all cells.

    cells : that either set of engines showed to the role's network. mean, p99, largest : absolute
    differences of their probability. crossed : cells on different sides of the threshold.
    """

    role: str
    cells: int
    mean: float
    p99: float
    largest: float
    crossed: int


@dataclass(frozen=True, slots=True)
class Recall:
    """Cells of one class, or at or above one role's threshold.

    cells : by the FP32 networks. kept : of these, by the candidate as well.
    """

    name: str
    cells: int
    kept: int

    @property
    def drop(self) -> float:
        """Share that was lost."""
        return 1 - self.kept / self.cells if self.cells else 0.0


@dataclass(frozen=True, slots=True)
class CellComparison:
    """The comparison over all cells of all slides.

    cells : compared. flipped : that crossed a threshold, changed class, or got no usable answer
        from
    the candidate. failed : the last of these.
    """

    cells: int
    flipped: int
    failed: int
    roles: tuple[RoleDifference, ...]
    recalls: tuple[Recall, ...]

    @property
    def flip_rate(self) -> float:
        """Share of the cells that flipped."""
        return self.flipped / self.cells


@dataclass(frozen=True, slots=True)
class ClassColumn:
    """A role of `with_classes`: output of a network, and its name here."""

    network: str
    output: str
    name: str


def with_classes(manifest: Manifest) -> Manifest:
    """Return the manifest with every class of every network as a role, so that all are answered."""
    used = [
        RoleSpec(name=column.name, network=column.network, output=column.output, threshold=1.0)
        for column in class_columns(manifest)
    ]
    return manifest.model_copy(update={"roles": (*manifest.roles, *used)})


def class_columns(manifest: Manifest) -> list[ClassColumn]:
    """Return a column for every class of every network that judges cells."""
    taken = {role.name for role in manifest.roles}
    columns: list[ClassColumn] = []
    asked = {step.network for step in steps(manifest)}
    for network, spec in manifest.networks.items():
        for place, output in enumerate(spec.classes if network in asked else ()):
            name = f"class-{len(columns)}-{place}"
            while name in taken:
                name += "-"
            columns.append(ClassColumn(network, output, name))
    return columns


def compare_cells(
    manifest: Manifest, slides: Sequence[tuple[InferenceResult, InferenceResult]]
) -> CellComparison:
    """Compare cells.

    Parameters
    ----------
    manifest : of the bundle. slides : per slide the reference's and the candidate's answers to
        `with_classes(manifest)`; cells that the reference could not score are skipped.
    """
    want, have, failed = _aligned(slides)
    flipped: Bools = failed.copy()
    roles, recalls = [], []
    usable = ~failed
    for role in manifest.roles:
        before, after = want(role.name), have(role.name)
        positive, still = before >= role.threshold, (after >= role.threshold) & usable
        crossed = (positive != still) & usable
        flipped |= crossed
        shown = usable & ((before > 0) | (after > 0))
        apart = np.abs(after - before)[shown]
        roles.append(
            RoleDifference(
                role=role.name,
                cells=int(shown.sum()),
                mean=float(apart.mean()) if len(apart) else 0.0,
                p99=percentile_99(apart),
                largest=float(apart.max(initial=0.0)),
                crossed=int(crossed.sum()),
            )
        )
        recalls.append(Recall(role.name, int(positive.sum()), int((positive & still).sum())))
    for network, spec in manifest.networks.items():
        mine = [column.name for column in class_columns(manifest) if column.network == network]
        if not mine:
            continue
        one, other = _classes([want(name) for name in mine]), _classes([have(n) for n in mine])
        flipped |= (one != other) & usable
        for place, output in enumerate(spec.classes):
            here = one == place
            kept = here & (other == place) & usable
            recalls.append(Recall(f"{network}.{output}", int(here.sum()), int(kept.sum())))
    return CellComparison(
        len(flipped), int(flipped.sum()), int(failed.sum()), tuple(roles), tuple(recalls)
    )


class _Values:
    """Maps a role to its values over all slides, 0 for cells without one."""

    def __init__(self, slides: Sequence[InferenceResult], ids: Sequence[NDArray[np.int64]]) -> None:
        self._slides = slides
        self._ids = ids

    def __call__(self, role: str) -> Float64:
        parts = [np.empty(0)]
        for slide, wanted in zip(self._slides, self._ids, strict=True):
            known = np.isin(wanted, slide.scores.ids)
            values = np.zeros(len(wanted))
            rows = np.searchsorted(slide.scores.ids, wanted[known])
            values[known] = slide.scores.roles[role][rows]
            parts.append(values)
        return np.concatenate(parts)


def _aligned(
    slides: Sequence[tuple[InferenceResult, InferenceResult]],
) -> tuple[_Values, _Values, Bools]:
    """Return both sides on the cells that the reference scored; and which the candidate did not."""
    ids = [reference.scores.ids for reference, _ in slides]
    lost = [
        ~np.isin(wanted, candidate.scores.ids)
        for wanted, (_, candidate) in zip(ids, slides, strict=True)
    ]
    failed = np.concatenate([np.empty(0, dtype=bool), *lost])
    return (
        _Values([one for one, _ in slides], ids),
        _Values([two for _, two in slides], ids),
        failed,
    )


def _classes(probabilities: Sequence[Float64]) -> NDArray[np.int64]:
    table = np.stack(probabilities, axis=1)
    classes = np.asarray(table.argmax(axis=1), dtype=np.int64)
    classes[table.sum(axis=1) == 0] = NOT_SHOWN
    return classes
