"""How far people agree with the machine: signatures on verdicts, and corrected cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from edgeapl.errors import UsageError
from edgeapl.journal import Opinion, sign_off_of
from edgeapl.monitoring.slides import MonitoredSlide
from edgeapl.stages.intervals import wilson

CONFIDENCE = 0.95


def concordance(slides: Sequence[MonitoredSlide]) -> dict[str, Any]:
    """Return per verdict how many were confirmed or overruled, and to what; and corrected cells.

    The last signature on a record counts. People only record cells whose class they correct, so
    there is no share of agreement for cells.
    """
    verdicts = {name: _of_verdict(slides, name) for name in ("FLAG", "CLEAR", "REVIEW")}
    signed = sum(one["signed"] for one in verdicts.values())
    confirmed = sum(one["confirmed"] for one in verdicts.values())
    calls: Counter[tuple[str, str]] = Counter()
    for slide in slides:
        for row in slide.record.cells:
            machine = _called(row.content.get("scores") or {})
            calls[machine, str(row.content.get("label", ""))] += 1
    return {
        "slides": len(slides),
        "signed": signed,
        "agreement": _share(confirmed, signed),
        "verdicts": verdicts,
        "cells": [
            {"machine": machine, "person": person, "cells": count}
            for (machine, person), count in sorted(calls.items(), key=lambda one: (-one[1], one[0]))
        ],
    }


def _of_verdict(slides: Sequence[MonitoredSlide], verdict: str) -> dict[str, Any]:
    mine = [slide for slide in slides if slide.decision == verdict]
    said: Counter[Opinion] = Counter()
    instead: Counter[str] = Counter()
    for slide in mine:
        if not slide.record.sign_offs:
            continue
        try:
            last = sign_off_of(slide.record.sign_offs[-1])
        except UsageError:
            continue  # by a newer version: its meaning is unknown
        said[last.opinion] += 1
        if last.opinion is Opinion.OVERRULE:
            instead[last.label] += 1
    signed = said.total()
    return {
        "slides": len(mine),
        "signed": signed,
        "confirmed": said[Opinion.CONFIRM],
        "overruled": said[Opinion.OVERRULE],
        "repeat": said[Opinion.REPEAT],
        "instead": dict(sorted(instead.items())),
        "agreement": _share(said[Opinion.CONFIRM], signed),
    }


def _share(part: int, of: int) -> dict[str, Any] | None:
    if not of:
        return None
    interval = wilson(part, of, CONFIDENCE)
    return {"value": part / of, "low": interval.low, "high": interval.high, "k": part, "n": of}


def _called(scores: Mapping[str, Any]) -> str:
    """Return the role to which the machine gave the highest probability."""
    return max(scores, key=lambda name: float(scores[name])) if scores else "not recorded"
