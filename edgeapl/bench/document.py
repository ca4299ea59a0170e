"""The JSON document of `edgeapl bench`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from edgeapl import __version__
from edgeapl.bench.candidate import Candidate
from edgeapl.bench.comparison import Comparison
from edgeapl.bench.energy import Meters
from edgeapl.bench.scenarios import Measured, Scenario
from edgeapl.bench.statistics import CONFIDENCE, Ratio, Summary, summarise
from edgeapl.bench.usage import machine
from edgeapl.bench.worker_gaps import WorkerGaps, worker_gaps
from edgeapl.bench.workload import Workload

SCHEMA = 1
"""Version of the document; raised when a field is removed or changes its meaning."""

RULE = (
    f"A percentile is valid when a sample bounds it from above with {CONFIDENCE:.0%} confidence "
    "(the rule of MLPerf LoadGen's early stopping): 5 samples for p50, 29 for p90, 299 for p99."
)


def document(
    workload: Workload, candidate: Candidate, measured: Measured, meters: Meters
) -> dict[str, Any]:
    """Describe one candidate; times are in milliseconds where the name ends in ``_ms``."""
    plan, memory = measured.plan, measured.memory
    assert memory is not None  # measured to its end
    return {
        "schema": SCHEMA,
        "software": f"edgeapl {__version__}",
        "research_use_only": True,
        "machine": {**machine(), "others_cores": _rounded(measured.others_cores)},
        "scenario": plan.scenario.value,
        "images": {"source": workload.name, "frames": workload.frames},
        **_candidate(candidate),
        "settings": {
            "warmup": plan.warmup,
            "streams": plan.streams if plan.at_once and plan.at_once > 1 else 1,
            "frames_wanted": plan.frames,
            "duration_s": plan.duration_s,
            "stop_error": plan.stop_error if plan.scenario is Scenario.GLASS_TO_FLAG else None,
        },
        "status": "INVALID" if measured.invalid else "VALID",
        "invalid": list(measured.invalid),
        "rule": RULE,
        "cold_start": {
            "open_ms": _ms(candidate.open_s),
            "first_frame_ms": _ms(measured.first_s),
        },
        "latency": _summary(measured.latency),
        "budget": {
            "seconds": plan.budget_s,
            "met": measured.meets_budget,
            "sure": measured.latency is not None
            and not any(reason.startswith("p99") for reason in measured.invalid),
        },
        "stages": {stage: _summary(one) for stage, one in measured.stages.items()},
        "throughput": throughput(measured),
        "workers": _workers(worker_gaps(candidate.model, measured)),
        "flag_ms": [_ms(one.flag_s) for one in measured.passes if one.flag_s is not None],
        "first_answer": _summary(_known(one.answer_s for one in measured.passes)),
        "first_flag": _summary(_known(one.flag_s for one in measured.passes)),
        "memory": asdict(memory),
        "cpu": {
            "seconds": round(measured.cpu_s, 3),
            "cores_busy": round(measured.cpu_s / measured.seconds, 3) if measured.seconds else None,
        },
        "energy": {
            "joules": {name: round(used, 3) for name, used in measured.joules.items()},
            "joules_per_frame": {
                name: round(used / measured.frames, 4)
                for name, used in measured.joules.items()
                if measured.frames
            },
            "absent": dict(meters.absent),
        },
        "work": _work(measured),
        "bytes_per_frame": _bytes(measured),
        "answers": {
            one.slide: {
                "verdict": one.verdict.decision.value,
                "probability": one.verdict.probability,
                "cells": one.verdict.tally.seen,
            }
            for one in measured.passes
        },
    }


def throughput(measured: Measured) -> dict[str, float | None]:
    """Return frames and cells per second, including the journal."""
    seconds = measured.seconds
    return {
        "frames": measured.frames,
        "cells": measured.cells,
        "seconds": round(seconds, 4),
        "frames_per_s": measured.frames / seconds if seconds else None,
        "cells_per_s": measured.cells / seconds if seconds else None,
    }


def comparison_document(versus: Comparison, other: Candidate, measured: Measured) -> dict[str, Any]:
    """Describe the comparison of A with B."""
    return {
        "b": {
            **_candidate(other),
            "latency": _summary(measured.latency),
            "throughput": throughput(measured),
            "cold_start": {
                "open_ms": _ms(other.open_s),
                "first_frame_ms": _ms(measured.first_s),
            },
        },
        "status": "INVALID" if versus.ratio.interval is None else "VALID",
        "ratio": ratio_document(versus.ratio),
        "meaning": "seconds of A over seconds of B for the same slide; above 1, B is faster",
        "pairs_ms": [[_ms(a), _ms(b)] for a, b in versus.seconds],
        "same_verdicts": not versus.differences,
        "same_cells": versus.cells_alike,
        "largest_difference_of_probability": versus.probability,
        "differences": [asdict(one) for one in versus.differences],
    }


def ratio_document(ratio: Ratio) -> dict[str, Any]:
    """Return a ratio, its 95 % interval and the number of pairs."""
    return {
        "value": ratio.value,
        "interval": None if ratio.interval is None else list(ratio.interval),
        "pairs": ratio.pairs,
    }


def _candidate(candidate: Candidate) -> dict[str, Any]:
    manifest = candidate.model.bundle.manifest
    return {
        "bundle": {
            "name": manifest.name,
            "version": manifest.version,
            "digest": candidate.model.bundle.digest,
            "trained": manifest.trained,
        },
        "engines": {
            "text": candidate.said,
            "digest": candidate.model.engine_digest,
            "runtime": candidate.model.runtime,
            "threads": candidate.threads,
            "workers": candidate.model.workers,
            "batch_size": candidate.model.batch_size,
            "own_processes": candidate.hosted is not None,
        },
    }


def _workers(gaps: WorkerGaps | None) -> dict[str, Any] | None:
    """Describe how long workers had no cells; None where networks are chained on a device."""
    if gaps is None:
        return None
    return {
        "runs_at_once": gaps.runs_at_once,
        "waited_ms_per_frame": _ms(gaps.per_frame_s),
        "waited_share": round(gaps.share, 4),
    }


def _work(measured: Measured) -> Mapping[str, Any]:
    """Return the networks' work per answered frame, without warm-up."""
    frames = max(1, measured.frames)
    return {
        name: {
            "runs_per_frame": work.runs / frames,
            "rows_per_run": work.rows / work.runs if work.runs else None,
            "bytes_in_per_frame": work.bytes_in / frames,
            "bytes_out_per_frame": work.bytes_out / frames,
            "busy_ms_per_frame": work.seconds / frames * 1e3,
        }
        for name, work in sorted(measured.work.items())
    }


def _bytes(measured: Measured) -> dict[str, float]:
    """Return the bytes of a frame, and of the networks' inputs and outputs for it."""
    frames = [frame for one in measured.passes for frame in one.frames]
    count = max(1, len(frames))
    work = measured.work.values()
    return {
        "pixels": sum(frame.pixel_bytes for frame in frames) / count,
        "labels": sum(frame.label_bytes for frame in frames) / count,
        "to_networks": sum(one.bytes_in for one in work) / count,
        "from_networks": sum(one.bytes_out for one in work) / count,
    }


def _summary(summary: Summary | None) -> dict[str, Any] | None:
    if summary is None:
        return None
    ranks = {f"p{one.percent}_ms": _ms(one.value) for one in summary.percentiles}
    bounds = {f"p{one.percent}_at_most_ms": _ms(one.at_most) for one in summary.percentiles}
    return {
        "samples": summary.count,
        **ranks,
        **bounds,
        "mean_ms": _ms(summary.mean),
        "largest_ms": _ms(summary.largest),
    }


def _known(seconds: Iterable[float | None]) -> Summary | None:
    return summarise([one for one in seconds if one is not None])


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1e3, 4)
