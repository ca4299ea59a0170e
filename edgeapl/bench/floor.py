"""How close the pipeline is to its bare networks, and they to the machine's peak."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from edgeapl.bench.bare_networks import (
    BATCHES,
    Opener,
    Rate,
    best_setting,
    joined,
    row_count,
    run_rows,
    session,
    settings_to_try,
)
from edgeapl.bench.candidate import Candidate
from edgeapl.bench.peak import Peak, higher_peak, measure_peak
from edgeapl.bench.recorded_settings import note_of_networks
from edgeapl.bench.rounds import ROUND_S, ROUNDS, frames_of_round
from edgeapl.bench.runner import Deadline, PipelineRunner
from edgeapl.bench.statistics import paired_ratio
from edgeapl.bench.time_limit import NO_LIMIT, TimeLimit
from edgeapl.bench.usage import OtherLoad, cpu_seconds
from edgeapl.bench.workload import BenchSlide, Workload
from edgeapl.cores import cpu_cores
from edgeapl.engines.registry import PLANS
from edgeapl.errors import EngineError, UsageError
from edgeapl.journal import Journal
from edgeapl.protocols import Arrays

BARE_S = 0.4
"""Minimum run time of a single network per round."""

SEARCH_SHARE = 0.5
"""Of the time, for finding how to ask the networks."""

BUSY = 0.25
"""Cores that other programs may keep busy before a note is added."""

BYTES = {"fp32": 4, "fp16": 2, "int8": 1}
"""Bytes per number, if no layer is kept in a higher precision."""


@dataclass(frozen=True, slots=True, eq=False)
class _Network:
    """A network, its inputs, and its fastest setting.

    rows : some inputs. per_pass : rows in one pass of the pipeline. untried : settings for which
    there was no time.
    """

    name: str
    rows: Arrays
    per_pass: int
    best: Rate
    tried: tuple[Rate, ...]
    untried: int = 0


@dataclass(frozen=True, slots=True)
class _Round:
    """Seconds, and seconds of CPU time, of the bare networks and of the pipeline."""

    bare_s: float
    bare_cpu_s: float
    pipeline_s: float
    pipeline_cpu_s: float


def measure_floor(
    candidate: Candidate,
    workload: Workload,
    limit: TimeLimit = NO_LIMIT,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Measure bare networks, pipeline and peak alternately, and how close each is to the next.

    pipeline_over_bare : time of the bare networks on the cells of a pass, over the pipeline's time
    for the pass: 1 when all else is hidden behind the networks. networks_share_of_cpu : the same of
    processor times; with all cores in use the pipeline can be no nearer to the bare networks, and
    what other programs do moves it little. bare_over_peak : time that the
    networks' operations would take at the machine's peak, over their time.

    limit : half of it is for finding how to ask the networks, the rest for rounds; no step begins
    after it, and fewer rounds than `LEAST_PAIRS` give no interval. say : told of every step.
    """
    slide = workload.slides[0]
    graph = _graph()
    others, before_s = OtherLoad(), cpu_seconds()
    search = limit.part(SEARCH_SHARE)
    say("floor: the peak of this machine")
    peak = measure_peak(cpu_cores(), _maker(graph))
    with (
        tempfile.TemporaryDirectory(prefix="edgeapl-floor-") as folder,
        Journal.open(Path(folder) / "journal.sqlite3") as journal,
    ):
        runner = PipelineRunner(candidate, journal, None)
        most = frames_of_round(runner, slide, limit)
        networks = _networks(candidate, runner, slide, most, search, say)
        rounds, rates = _rounds(candidate, runner, slide, most, networks, limit, say)
    peak = higher_peak(peak, measure_peak(cpu_cores(), _maker(graph)))
    others_cores = others.cores(cpu_seconds() - before_s)
    ratio = paired_ratio([one.bare_s for one in rounds], [one.pipeline_s for one in rounds])
    # A process of a few milliseconds has used no tick of the clock.
    cpu = None
    if all(min(one.bare_cpu_s, one.pipeline_cpu_s) > 0 for one in rounds):
        cpu = paired_ratio(
            [one.bare_cpu_s for one in rounds], [one.pipeline_cpu_s for one in rounds]
        )
    rows = [_row(candidate, one, rates[one.name], peak, graph) for one in networks]
    return {
        "pipeline_over_bare": ratio.value,
        "pipeline_over_bare_interval": None if ratio.interval is None else list(ratio.interval),
        "networks_share_of_cpu": None if cpu is None else cpu.value,
        "networks_share_of_cpu_interval": (
            None if cpu is None or cpu.interval is None else list(cpu.interval)
        ),
        "bare_over_peak": _over_peak(networks, rows),
        "frames_per_round": most,
        "rounds": [[one.bare_s * 1e3, one.pipeline_s * 1e3] for one in rounds],
        "rounds_cpu": [[one.bare_cpu_s * 1e3, one.pipeline_cpu_s * 1e3] for one in rounds],
        "networks": rows,
        "peak": {
            "by": peak.by,
            "fp32": peak.fp32,
            "int8": peak.int8,
            "bytes_per_s": peak.bytes_per_s,
        },
        "others_cores": others_cores,
        "notes": [
            *peak.notes,
            *_notes(candidate, graph, others_cores),
            *_cut_short(networks, len(rounds)),
            *note_of_networks(candidate, [(one.per_pass, one.tried) for one in networks]),
        ],
    }


def _networks(
    candidate: Candidate,
    runner: PipelineRunner,
    slide: BenchSlide,
    most: int,
    limit: TimeLimit,
    say: Callable[[str], None],
) -> tuple[_Network, ...]:
    """Record the networks' inputs in one pass, and find the fastest way to run them."""
    ledger = candidate.ledger
    ledger.clear()
    ledger.kept.clear()
    ledger.keep = True
    runner.run(slide, most, Deadline())
    ledger.keep = False
    head = candidate.model.bundle.manifest.reducer.head
    networks: list[_Network] = []
    asked = len(ledger.kept.keys() - {head})
    for name, work in dict(ledger.work).items():
        if name == head or name not in ledger.kept:
            continue  # the head is one small layer, run per verdict and not per cell
        rows = _same_shaped(ledger.kept[name])
        batches = _batches(candidate, name, row_count(rows))
        count = 1 if candidate.engines and candidate.engines.record.target in PLANS else cpu_cores()
        settings = settings_to_try(count, batches)
        say(f"floor: how to ask {name} the fastest, {len(settings)} settings")
        share = limit.part(1 / max(1, asked - len(networks)))
        best, tried = best_setting(_opener(candidate, name), rows, settings, limit=share)
        untried = tuple(set(settings) - {rate.setting for rate in tried})
        networks.append(_Network(name, rows, work.rows, best, tried, len(untried)))
    if not networks:
        raise UsageError("no network was asked", slide.name, "choose images with cells in them")
    ledger.kept.clear()
    return tuple(networks)


def _same_shaped(runs: list[Arrays]) -> Arrays:
    """Join the runs with the shape of the first, apart from their number of rows."""
    first = {name: value.shape[1:] for name, value in runs[0].items()}
    alike = [run for run in runs if {k: v.shape[1:] for k, v in run.items()} == first]
    return joined(alike)


def _batches(candidate: Candidate, name: str, rows: int) -> tuple[int, ...]:
    """Return the batch sizes to try: a network may allow only one."""
    sizes = [shape[0] for _, shape in candidate.model.engines[name].inputs.values() if shape]
    fixed = [size for size in sizes if size is not None]
    if fixed:
        return (fixed[0],)
    wanted = {*BATCHES, candidate.model.batch_size}
    return tuple(sorted(size for size in wanted if size <= rows)) or (1,)


def _rounds(
    candidate: Candidate,
    runner: PipelineRunner,
    slide: BenchSlide,
    most: int,
    networks: tuple[_Network, ...],
    limit: TimeLimit,
    say: Callable[[str], None],
) -> tuple[tuple[_Round, ...], dict[str, float]]:
    """Alternate bare networks and pipeline; return the rounds, and each network's rows/s."""
    rounds: list[_Round] = []
    rates: dict[str, list[float]] = {one.name: [] for one in networks}
    while len(rounds) < ROUNDS and not (rounds and limit.over):
        say(f"floor: round {len(rounds) + 1} of {ROUNDS}")
        window_s = min(ROUND_S, limit.left_s / (2 * (ROUNDS - len(rounds))))
        bare_s = bare_cpu_s = 0.0
        for one in networks:
            setting = one.best.setting
            with session(_opener(candidate, one.name), setting) as engine:
                done = run_rows(engine, one.rows, setting, _window_s(one, window_s / len(networks)))
            rates[one.name].append(done.rows_per_s)
            bare_s += one.per_pass / done.rows_per_s
            bare_cpu_s += one.per_pass / done.rows * done.cpu_s
        before_s = cpu_seconds()
        pipeline_s = runner.run(slide, most, Deadline()).seconds
        rounds.append(_Round(bare_s, bare_cpu_s, pipeline_s, cpu_seconds() - before_s))
    return tuple(rounds), {name: sorted(all_)[len(all_) // 2] for name, all_ in rates.items()}


def _window_s(one: _Network, most_s: float) -> float:
    """Return the time for a single network: that of its share of the pass, within limits."""
    return min(most_s, max(BARE_S, one.per_pass / one.best.rows_per_s))


def _cut_short(networks: tuple[_Network, ...], rounds: int) -> list[str]:
    """Return what there was no time for."""
    untried = sum(one.untried for one in networks)
    notes = [f"no time for {untried} settings of bare networks"] if untried else []
    if rounds < ROUNDS:
        notes.append(f"time for {rounds} of {ROUNDS} rounds only: give more with --seconds")
    return notes


def _opener(candidate: Candidate, name: str) -> Opener:
    return lambda threads, workers: candidate.open_again(name, threads, workers)


def _row(
    candidate: Candidate, one: _Network, rate: float, peak: Peak, graph: ModuleType | None
) -> dict[str, Any]:
    """Return a row of the roofline table."""
    precision = candidate.precision(one.name)
    flop, elements, why = _cost(candidate, one, graph)
    top = _top(candidate, precision, peak)
    per_byte = flop / (elements * BYTES[precision]) if flop and elements else None
    roof = None if top is None or per_byte is None else min(top, per_byte * peak.bytes_per_s)
    speed = None if flop is None else flop * rate
    return {
        "network": one.name,
        "precision": precision,
        "setting": str(one.best.setting),
        "tried": {str(rate.setting): 1e3 / rate.rows_per_s for rate in one.tried},
        "rows_per_round": one.per_pass,
        "ms_per_row": 1e3 / rate,
        "flop_per_row": flop,
        "flop_per_byte": per_byte,
        "flop_per_s": speed,
        "peak_flop_per_s": top,
        "roof_flop_per_s": roof,
        "of_roof": None if roof is None or speed is None else speed / roof,
        "why_not": why,
    }


def _cost(
    candidate: Candidate, one: _Network, graph: ModuleType | None
) -> tuple[int | None, int | None, str]:
    """Count the operations of the bundle's own network: engines compute the same differently."""
    if graph is None:
        return None, None, "onnx is not installed: pip install 'edgeapl[build]'"
    bundle = candidate.model.bundle
    model = bundle.read(bundle.manifest.networks[one.name].file)
    shapes = {name: (1, *value.shape[1:]) for name, value in one.rows.items()}
    try:
        cost = graph.network_cost(one.name, model, shapes)
    except EngineError as error:
        return None, None, str(error)
    return cost.flop, cost.elements, ""


def _top(candidate: Candidate, precision: str, peak: Peak) -> float | None:
    if candidate.engines is not None and candidate.engines.record.target in PLANS:
        return None  # the peak is the CPU's, and these run on a GPU
    return peak.of(precision)


def _over_peak(networks: tuple[_Network, ...], rows: list[dict[str, Any]]) -> float | None:
    """Return ideal time over time taken, for all networks together; None if one is unknown."""
    ideal = taken = 0.0
    for one, row in zip(networks, rows, strict=True):
        if not row["flop_per_row"] or not row["peak_flop_per_s"]:
            return None
        ideal += one.per_pass * row["flop_per_row"] / row["peak_flop_per_s"]
        taken += one.per_pass * row["ms_per_row"] / 1e3
    return ideal / taken


def _notes(candidate: Candidate, graph: ModuleType | None, others_cores: float | None) -> list[str]:
    notes = ["bare networks are called through the same thin wrapper as in the pipeline"]
    if others_cores is not None and others_cores > BUSY:
        notes.append(
            f"other programs kept {others_cores:.2g} cores busy: what was measured at different "
            "times, such as networks and peak, compares badly; a share of the roof may be above 1"
        )
    if graph is None:
        notes.append("operations were not counted: pip install 'edgeapl[build]' brings onnx")
    if candidate.engines is not None and candidate.engines.record.target in PLANS:
        notes.append("the peak of a GPU is not measured")
    if any(candidate.precision(name) == "fp16" for name in candidate.model.engines):
        notes.append("no peak was measured for fp16")
    return notes


def _graph() -> ModuleType | None:
    """Import what needs onnx; None if it is not installed."""
    try:
        return importlib.import_module("edgeapl.bench.graph")
    except ModuleNotFoundError:
        return None


def _maker(graph: ModuleType | None) -> Any:
    if graph is None:
        return None
    return lambda size, int8, repeat: graph.product_model(size, int8=int8, repeat=repeat)
