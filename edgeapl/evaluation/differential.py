"""Compares the machine's differential counts with people's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from edgeapl.errors import InputError
from edgeapl.evaluation.confusion import CONFIDENCE
from edgeapl.evaluation.ranking import Float64, midranks
from edgeapl.evaluation.results import SlideResult
from edgeapl.sources.table_file import SLIDE_NAMES, TableReader
from edgeapl.stages.intervals import exact
from edgeapl.wording.names import canonical_name
from edgeapl.wording.printable import printable

HOW = "columns: slide, then one per class with the cells that a person counted"
_READER = TableReader(
    what="differential counts",
    mend=HOW,
    fits=lambda columns: len(columns) > 2 and not set(SLIDE_NAMES).isdisjoint(columns),
    own=SLIDE_NAMES,
    error=InputError,
)


@dataclass(frozen=True, slots=True)
class PersonsCount:
    """A person's count on one slide: class to number of cells."""

    counts: Mapping[str, int]

    @property
    def total(self) -> int:
        """Number of cells counted."""
        return sum(self.counts.values())


def read_counts(path: Path) -> dict[str, PersonsCount]:
    """Read the counts: slide, in Unicode NFC, to what a person counted. Raises InputError."""
    table = _READER.read(path)
    places = [place for place, name in enumerate(table.columns) if name in SLIDE_NAMES]
    if len(places) != 1:
        raise InputError("differential counts have no column slide", printable(path), HOW)
    counts: dict[str, PersonsCount] = {}
    for row in table.rows:
        where = f"{printable(path)}, line {row.line}"
        name = canonical_name(row.cells[places[0]].strip())
        if not name or name in counts:
            raise InputError("slide is missing or listed twice", where, "one line per slide")
        counted = {}
        for place, heading in enumerate(table.headings):
            if place == places[0]:
                continue
            text = row.cells[place].strip() or "0"
            if not text.isdecimal():
                mend = "write whole numbers of cells, not percentages"
                raise InputError("count is not a number", f"{where}: {printable(text)}", mend)
            counted[canonical_name(heading.strip())] = int(text)
        counts[name] = PersonsCount(counted)
        if not counts[name].total:
            raise InputError("nothing was counted", where, "remove the line")
    return counts


def differential_document(
    results: Sequence[SlideResult],
    counts: Mapping[str, PersonsCount],
    classes: Mapping[str, tuple[str, ...]] | None,
) -> dict[str, Any]:
    """Compare each role's share of cells with people's, as plain JSON values.

    Parameters
    ----------
    classes : role to the person's classes that it covers; None to match equal names.

    Raises InputError when no slide was counted, or no role has the name of a class.
    """
    pairs = [
        (result, counts[name])
        for result in results
        if (name := canonical_name(result.slide)) in counts and result.counts
    ]
    if not pairs:
        mend = f"counts are about: {', '.join(sorted(counts)[:3])}"
        raise InputError("no slide of the results was counted by a person", "", mend)
    known = dict.fromkeys(name for _, person in pairs for name in person.counts)
    asked = _asked(pairs[0][0].counts, list(known), classes)
    roles = {}
    for role, names in asked.items():
        rows = [
            (result.counts[role], sum(person.counts.get(name, 0) for name in names), person.total)
            for result, person in pairs
            if role in result.counts and result.counts[role][1]
        ]
        if rows:
            roles[role] = {"classes": list(names), **_compared(rows)}
    return {
        "slides": len(pairs),
        "not_counted": sorted(
            result.slide for result in results if canonical_name(result.slide) not in counts
        ),
        "roles": roles,
    }


def _compared(rows: Sequence[tuple[tuple[int, int], int, int]]) -> dict[str, Any]:
    machine = np.array([positive / scored for (positive, scored), _, _ in rows])
    person = np.array([count / total for _, count, total in rows])
    inside = sum(
        _within(float(share), count, total)
        for share, (_, count, total) in zip(machine, rows, strict=True)
    )
    return {
        "n": len(rows),
        "pearson": _correlation(machine, person),
        "spearman": _correlation(midranks(machine), midranks(person)),
        "bland_altman": bland_altman(machine, person),
        "within_rumke_limits": {"k": inside, "n": len(rows), "value": inside / len(rows)},
    }


def bland_altman(machine: Float64, person: Float64) -> dict[str, Any]:
    """Return the mean difference machine minus person, and the limits of agreement with intervals.

    Of shares, 0 to 1. Bland and Altman 1986 (Lancet 1:307), deviations of the limits from 1999.
    """
    apart = machine - person
    mean = float(apart.mean())
    if len(apart) < 3:
        return {"bias": mean, "deviation": None, "low": None, "high": None, "reason": "too few"}
    deviation = float(apart.std(ddof=1))
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    of_bias = z * deviation / np.sqrt(len(apart))
    of_limits = z * deviation * np.sqrt(1 / len(apart) + z**2 / (2 * (len(apart) - 1)))
    low, high = mean - z * deviation, mean + z * deviation
    return {
        "bias": mean,
        "bias_interval": [mean - float(of_bias), mean + float(of_bias)],
        "deviation": deviation,
        "low": low,
        "low_interval": [low - float(of_limits), low + float(of_limits)],
        "high": high,
        "high_interval": [high - float(of_limits), high + float(of_limits)],
        "reason": None,
    }


def _within(share: float, count: int, total: int) -> bool:
    """Return whether a share is within the exact binomial limits of a count (Rümke 1985)."""
    limits = exact(count, total, CONFIDENCE)
    return limits.low <= share <= limits.high


def _correlation(one: Float64, other: Float64) -> float | None:
    """Return Pearson's correlation; None if one does not vary, or for fewer than 3 values."""
    if len(one) < 3 or not one.std() or not other.std():
        return None
    return float(np.corrcoef(one, other)[0, 1])


def _asked(
    roles: Mapping[str, Any], known: Sequence[str], given: Mapping[str, tuple[str, ...]] | None
) -> dict[str, tuple[str, ...]]:
    plain = {name.casefold().replace(" ", "_"): name for name in known}
    if given:
        for role, names in given.items():
            unknown = [name for name in map(canonical_name, names) if name not in known]
            if role not in roles or unknown:
                which = role if role not in roles else unknown[0]
                mend = f"roles: {', '.join(roles)}; classes: {', '.join(known)}"
                raise InputError("no such role or class", which, mend)
        return {role: tuple(map(canonical_name, names)) for role, names in given.items()}
    found: dict[str, tuple[str, ...]] = {
        r: (plain[r.casefold()],) for r in roles if r.casefold() in plain
    }
    if not found:
        mend = f"say which with --map ROLE=CLASS; classes: {', '.join(known)}"
        raise InputError("no role is named like a class", ", ".join(roles), mend)
    return found
