"""A verdict as JSON: the payload of a journal row, and one entry of `score --json`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from edgeapl.errors import StorageError
from edgeapl.journal.attachments import (
    certificate_from_json,
    certificate_to_json,
    look_from_json,
    look_to_json,
)
from edgeapl.journal.chain import MERGED
from edgeapl.journal.origin import origin_from_json, origin_to_json, text_of
from edgeapl.types import (
    NOT_NOTED,
    UNSIGNED,
    Decision,
    Figures,
    Interval,
    Limits,
    RaisedFlag,
    Reason,
    RoleCount,
    Signer,
    Tally,
    Verdict,
)

SCHEMA = 1
"""Version of the fields below; raised when one is removed or changes its meaning."""


def canonical(content: Mapping[str, Any]) -> str:
    """Return the canonical JSON of a value: sorted keys, no spaces, ASCII.

    Raises StorageError for numbers that are not finite, which JSON cannot hold.
    """
    try:
        return json.dumps(
            content, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True
        )
    except (TypeError, ValueError) as error:
        which = content.get("slide", "")
        raise StorageError(
            "record cannot be written", which, f"only plain finite values can be kept ({error})"
        ) from error


def verdict_to_json(verdict: Verdict) -> dict[str, Any]:
    """Return the whole verdict as plain JSON values; an interval is [low, high] or None."""
    tally = verdict.tally
    return {
        "schema": SCHEMA,
        "research_use_only": verdict.research_use_only,
        "slide": verdict.slide,
        "verdict": verdict.decision.value,
        **_figures_to_json(verdict),
        "tally": {
            "seen": int(tally.seen),
            "scored": int(tally.scored),
            "not_examined": int(tally.not_examined),
            "failed": int(tally.failed),
            "not_needed": int(tally.not_needed),
        },
        "reasons": [{"code": reason.code, "text": reason.text} for reason in verdict.reasons],
        "examined_share": _optional(verdict.examined_share),
        "hidden_cells": int(verdict.hidden_cells),
        "frames": _frames_to_json(verdict),
        "timings": {stage: float(seconds) for stage, seconds in verdict.timings.items()},
        "bundle_digest": verdict.bundle_digest,
        "engine_digest": verdict.engine_digest,
        "runtime": verdict.runtime,
        "limits": _limits_to_json(verdict.limits),
        **_held_to_json(verdict),
        "signed_by": UNSIGNED if verdict.signer is None else verdict.signer.name,
        "signing_key": None if verdict.signer is None else verdict.signer.key,
        **origin_to_json(verdict.origin),
        "certificate": certificate_to_json(verdict.certificate),
        "look": look_to_json(verdict.look),
    }


def flag_to_json(flag: RaisedFlag) -> dict[str, Any]:
    """Return a flag as plain JSON values."""
    figures = None if flag.figures is None else _figures_to_json(flag.figures)
    return {
        "since": flag.since,
        "bundle_digest": flag.bundle_digest,
        "figures": figures,
        "limits": _limits_to_json(flag.limits),
    }


def flag_from_json(data: Any) -> RaisedFlag:
    """Restore a flag. Unreadable parts count as not recorded; the flag itself stays."""
    try:
        figures = None if data["figures"] is None else _figures(data["figures"])
        by, limits = text_of(data["bundle_digest"]), _limits(data.get("limits"))
        return RaisedFlag(text_of(data["since"]), figures, by, limits)
    except (KeyError, TypeError, ValueError, AttributeError):
        return NOT_NOTED


def flag_of_record(data: Mapping[str, Any]) -> RaisedFlag | None:
    """Return the flag of a verdict stored as JSON; None if the verdict is not a FLAG."""
    if data.get("verdict") != Decision.FLAG.value:
        return None
    known = data.get("probability") is not None
    return flag_from_json(
        {
            "since": data.get("flagged_since", ""),
            "bundle_digest": data.get("flagged_by") or (data["bundle_digest"] if known else ""),
            "figures": data if known else None,
            "limits": data.get("limits"),
        }
    )


_OF_ITS_RUN = frozenset({"timings", "sitting", "results", "journal_record", "slide_list", MERGED})
"""Fields that tell when, where and how fast a slide was examined."""


def same_verdict(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two records say the same of a slide, whenever and however fast it was examined.

    Fields that only one has are left out of account, as records of two versions differ in them.
    """
    told = (one.keys() & other.keys()) - _OF_ITS_RUN
    return bool(told) and all(one[name] == other[name] for name in told)


def steady_fields(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what every run over the same images with the same settings says."""
    return {name: value for name, value in content.items() if name not in _OF_ITS_RUN}


def verdict_from_json(data: Mapping[str, Any]) -> Verdict:
    """Restore a verdict; keys that do not belong to it are ignored.

    Raises StorageError when a field is missing, has another type or breaks the rules of Verdict.
    """
    try:
        if data["schema"] != SCHEMA or data["research_use_only"] is not True:
            raise ValueError(f"expected schema {SCHEMA}, research use only")
        figures = _figures(data)
        current = data.get("current")
        return Verdict(
            slide=text_of(data["slide"]),
            decision=Decision(data["verdict"]),
            probability=figures.probability,
            interval=figures.interval,
            tally=Tally(**data["tally"]),
            reasons=tuple(Reason(text_of(r["code"]), text_of(r["text"])) for r in data["reasons"]),
            counts=figures.counts,
            evidence=figures.evidence,
            frames=tuple((text_of(f["source"]), text_of(f["sha256"])) for f in data["frames"]),
            timings={text_of(stage): float(s) for stage, s in data["timings"].items()},
            bundle_digest=text_of(data["bundle_digest"]),
            engine_digest=text_of(data["engine_digest"]),
            runtime=text_of(data["runtime"]),
            frame_shares=_frame_shares(data["frames"]),
            examined_share=_optional(data.get("examined_share")),
            hidden_cells=int(data.get("hidden_cells", 0)),
            limits=_limits(data.get("limits")),
            # Only the flag of an open slide has these fields.
            flagged_since=text_of(data.get("flagged_since", "")),
            flagged_by=text_of(data.get("flagged_by", "")),
            current=None if current is None else _figures(current),
            signer=signer_of(data),
            origin=origin_from_json(data),
            certificate=certificate_from_json(data.get("certificate")),
            look=look_from_json(data.get("look")),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        detail = f"{type(error).__name__}: {error}"
        raise StorageError(
            "record is not a verdict", detail, "it was written by another"
        ) from error


def _frames_to_json(verdict: Verdict) -> list[dict[str, Any]]:
    frames: list[dict[str, Any]] = [{"source": s, "sha256": d} for s, d in verdict.frames]
    for frame, share in zip(frames, verdict.frame_shares, strict=False):  # older verdicts have none
        frame["examined_share"] = float(share)
    return frames


def _frame_shares(frames: Sequence[Mapping[str, Any]]) -> tuple[float, ...]:
    """Return the shares of all frames; none if one lacks it, as in older records."""
    if not all("examined_share" in frame for frame in frames):
        return ()
    return tuple(float(frame["examined_share"]) for frame in frames)


def _optional(value: Any) -> float | None:
    return None if value is None else float(value)


def _held_to_json(verdict: Verdict) -> dict[str, Any]:
    """Return the fields that only the flag of an open slide has; other records omit them."""
    if not (verdict.flagged_since or verdict.current):
        return {}
    current = None if verdict.current is None else _figures_to_json(verdict.current)
    return {
        "flagged_since": verdict.flagged_since,
        "flagged_by": verdict.flagged_by,
        "current": current,
    }


def _limits_to_json(limits: Limits | None) -> dict[str, Any] | None:
    if limits is None:
        return None
    return {
        "flag_at": float(limits.flag_at),
        "clear_below": float(limits.clear_below),
        "suspicious_share": _optional(limits.suspicious_share),
    }


def _limits(data: Any) -> Limits | None:
    if data is None:
        return None
    at, below = float(data["flag_at"]), float(data["clear_below"])
    return Limits(at, below, _optional(data["suspicious_share"]))


def _figures_to_json(figures: Figures | Verdict) -> dict[str, Any]:
    return {
        "probability": None if figures.probability is None else float(figures.probability),
        "interval": None if figures.interval is None else _interval_to_json(figures.interval),
        "counts": [
            {
                "role": count.role,
                "positive": int(count.positive),
                "scored": int(count.scored),
                "share": float(count.share),
                "interval": _interval_to_json(count.interval),
            }
            for count in figures.counts
        ],
        "evidence": [int(cell) for cell in figures.evidence],
    }


def _figures(data: Mapping[str, Any]) -> Figures:
    return Figures(
        probability=None if data["probability"] is None else float(data["probability"]),
        interval=None if data["interval"] is None else _interval(data["interval"]),
        counts=tuple(_count(count) for count in data["counts"]),
        evidence=tuple(int(cell) for cell in data["evidence"]),
    )


def signer_of(data: Mapping[str, Any]) -> Signer | None:
    """Return who signed the bundle of a record; None if nobody did or the record does not say."""
    key = data.get("signing_key")
    return None if key is None else Signer(text_of(data["signed_by"]), text_of(key))


def _interval_to_json(interval: Interval) -> list[float]:
    return [float(interval.low), float(interval.high)]


def _interval(value: Any) -> Interval:
    low, high = value
    return Interval(float(low), float(high))


def _count(value: Mapping[str, Any]) -> RoleCount:
    return RoleCount(
        role=text_of(value["role"]),
        positive=int(value["positive"]),
        scored=int(value["scored"]),
        share=float(value["share"]),
        interval=_interval(value["interval"]),
    )
