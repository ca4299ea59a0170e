"""Which patients are trained on, which decide when to stop, and which are only tested."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgeapl.errors import InputError, UsageError
from edgeapl.wording.printable import printable

Patients = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Split:
    """Patients, each on one side only.

    name : for messages, e.g. ``fold 2``. train : are learned from.
    stopping : decide when to stop, and are not learned from; empty where nothing is decided.
    tested : are neither; empty when the model is made for use.
    """

    name: str
    train: Patients
    stopping: Patients = ()
    tested: Patients = ()

    def __post_init__(self) -> None:
        for one, other in (("train", "stopping"), ("train", "tested"), ("stopping", "tested")):
            both = set(getattr(self, one)) & set(getattr(self, other))
            if both:
                which = ", ".join(printable(name) for name in sorted(both)[:3])
                raise UsageError("patient is on both sides", which, "keep a patient on one side")


def split_by_patient(
    labels: Mapping[str, str],
    *,
    folds: int,
    stopping: float,
    tested: Sequence[str] = (),
    seed: int = 0,
    held: Mapping[str, Collection[str]] | None = None,
    kinds: int = 2,
) -> tuple[Split, ...]:
    """Part patients into folds, and into the last round that makes the model.

    Parameters
    ----------
    labels : patient to label. folds : 0 or 1 for none.
    stopping : share of each training side that decides when to stop, 0 for none.
    tested : patients who are kept for a test of the model, and are in no fold.
    held : patient to all labels, where cells have labels of their own and a patient several.
    kinds : labels that there must be.

    Every label is spread evenly. Raises InputError when there is one label only, or too few
    patients of one.
    """
    used = {patient: label for patient, label in labels.items() if patient not in set(tested)}
    counts = Counter(used.values())
    if held is not None:
        counts = Counter(label for patient in used for label in held[patient])
    _check(counts, max(2, folds), stopping, kinds)
    random = np.random.default_rng([seed, 1])
    rounds = []
    if folds > 1:
        fold_of = _dealt(used, folds, random)
        for fold in range(folds):
            inside = [patient for patient in used if fold_of[patient] != fold]
            train, stop = _with_stopping(inside, used, stopping, random)
            own = tuple(patient for patient in used if fold_of[patient] == fold)
            rounds.append(Split(f"fold {fold + 1}", train, stop, own))
    train, stop = _with_stopping(list(used), used, stopping, random)
    return (*rounds, Split("model", train, stop, tuple(tested)))


def _with_stopping(
    patients: Sequence[str], labels: Mapping[str, str], share: float, random: np.random.Generator
) -> tuple[Patients, Patients]:
    if share <= 0:
        return tuple(patients), ()
    parts = max(2, round(1 / share))
    part_of = _dealt({patient: labels[patient] for patient in patients}, parts, random)
    train = tuple(patient for patient in patients if part_of[patient] != 0)
    return train, tuple(patient for patient in patients if part_of[patient] == 0)


def _dealt(labels: Mapping[str, str], parts: int, random: np.random.Generator) -> dict[str, int]:
    """Deal patients out like cards, label by label."""
    part_of: dict[str, int] = {}
    for label in sorted(set(labels.values())):
        own = sorted(patient for patient, its in labels.items() if its == label)
        for place, at in enumerate(random.permutation(len(own)).tolist()):
            part_of[own[at]] = place % parts
    return part_of


def _check(counts: Mapping[str, int], folds: int, stopping: float, kinds: int) -> None:
    if len(counts) < kinds:
        only = ", ".join(counts) or "none"
        mend = "training needs patients of two kinds at least: add some to --labels"
        raise InputError("one class only", printable(only), mend)
    needed = folds if stopping <= 0 else max(folds, 3)
    for label, count in sorted(counts.items()):
        if count < needed:
            what = f"too few patients ({count} of {needed} that are needed)"
            mend = f"add patients, or give fewer --folds than {folds}" if folds > 2 else "add some"
            raise InputError(what, printable(label), mend)
