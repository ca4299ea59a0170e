"""The document of `edgeapl bench` as tables for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from edgeapl.cli.output import RESEARCH_USE_ONLY, one_line

if TYPE_CHECKING:
    from rich.console import Console

BUSY = 0.25
"""Cores that other programs may keep busy before it is said."""

PERCENTS = ("p50_ms", "p90_ms", "p99_ms")


def print_tables(document: Mapping[str, Any]) -> None:
    """Print all of it on stdout."""
    from rich.console import Console

    out = Console(highlight=False)
    _print_head(out, document)
    _print_stages(out, document)
    for line in _lines(document):
        out.print(one_line(line), markup=False, soft_wrap=True)
    if "versus" in document:
        _print_versus(out, document["versus"])
    if "floor" in document:
        _print_floor(out, document["floor"])
    if "busy" in document:
        _print_busy(out, document["busy"])
    _print_status(out, document)
    out.print(RESEARCH_USE_ONLY, style="dim")


def _print_head(out: Console, document: Mapping[str, Any]) -> None:
    bundle, machine = document["bundle"], document["machine"]
    where = f"{machine['processor']}, {machine['cores']} cores"
    head = f"{bundle['name']} {bundle['version']}, {document['scenario']} on {where}"
    out.print(one_line(head), style="bold", markup=False, soft_wrap=True)
    out.print(one_line(_settings(document["engines"])), markup=False, soft_wrap=True)
    others = machine["others_cores"]
    if others is not None and others > BUSY:
        text = f"other programs kept {number(others)} cores busy: trust ratios, not times"
        out.print(text, style="yellow", markup=False)


def _settings(engines: Mapping[str, Any]) -> str:
    return (
        f"{engines['text']}, workers: {engines['workers']}, "
        f"threads in a run: {engines['threads']}, cells in a run: {engines['batch_size']}"
    )


def _print_stages(out: Console, document: Mapping[str, Any]) -> None:
    from rich.table import Table

    from edgeapl.bench.runner import INSIDE_NOTE

    table = Table(box=None, pad_edge=False)
    table.add_column("ms")
    for name in ("mean", "p50", "p90", "p99", "samples"):
        table.add_column(name, justify="right")
    for stage, summary in document["stages"].items():
        _add_row(table, stage, summary)
    if document["latency"] is not None:
        table.add_section()
        _add_row(table, "in all", document["latency"])
    for row in ("first_answer", "first_flag"):
        if document[row] is not None:
            _add_row(table, row.replace("_", " "), document[row])
    out.print(table)
    out.print(INSIDE_NOTE)


def _add_row(table: Any, name: str, summary: Mapping[str, Any]) -> None:
    values = [number(summary["mean_ms"])]
    for percent in PERCENTS:
        valid = summary[percent.replace("_ms", "_at_most_ms")] is not None
        values.append(number(summary[percent]) + ("" if valid else "?"))
    table.add_row(one_line(name), *values, str(summary["samples"]))


def number(value: float | None) -> str:
    """Return a number with three significant digits; a dash for None."""
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _lines(document: Mapping[str, Any]) -> list[str]:
    cold, rate, cpu = document["cold_start"], document["throughput"], document["cpu"]
    memory = document["memory"]["peak_bytes"] / 2**20
    open_ms, first_ms = number(cold["open_ms"]), number(cold["first_frame_ms"])
    frames, cells = number(rate["frames_per_s"]), number(rate["cells_per_s"])
    processes, busy = document["memory"]["processes"], number(cpu["cores_busy"])
    lines = [
        f"cold start: {open_ms} ms to open and prove the bundle, {first_ms} ms for the first frame",
        f"throughput: {frames} frames/s, {cells} cells/s",
        f"memory: {memory:.0f} MiB at most, processes: {processes}, cores busy: {busy}",
        "energy: " + _energy(document["energy"]),
    ]
    weights = [
        f"{value / 2**20:.2f} {name.replace('_', ' ')}"
        for name, value in document["bytes_per_frame"].items()
    ]
    lines.append(f"MiB a frame: {', '.join(weights)}")
    workers = document["workers"]
    if workers is not None:
        lines.append(
            f"workers: runs at once: {workers['runs_at_once']}; each waited "
            f"{number(workers['waited_ms_per_frame'])} ms a frame for cells, "
            f"{workers['waited_share']:.1%} of its time"
        )
    for name, work in document["work"].items():
        lines.append(
            f"network {name}: {number(work['runs_per_frame'])} runs a frame of "
            f"{number(work['rows_per_run'])} rows, "
            f"{work['bytes_in_per_frame'] / 2**20:.2f} MiB in, "
            f"{number(work['busy_ms_per_frame'])} ms"
        )
    return lines


def _energy(energy: Mapping[str, Any]) -> str:
    told = [
        f"{number(used)} J a frame ({name})" for name, used in energy["joules_per_frame"].items()
    ]
    absent = [f"{name}: {why}" for name, why in energy["absent"].items()]
    return "; ".join(told) if told else "not told here (" + "; ".join(absent) + ")"


def _print_versus(out: Console, versus: Mapping[str, Any]) -> None:
    ratio = versus["ratio"]
    name = f"{versus['b']['bundle']['name']}, {_settings(versus['b']['engines'])}"
    text = f"A takes {_ratio(ratio)} times as long as B, {one_line(name)}"
    out.print(text, markup=False, soft_wrap=True, style="bold")
    same = "the same" if versus["same_verdicts"] else "NOT the same"
    cells = "the same" if versus["same_cells"] else "NOT the same"
    apart = versus["largest_difference_of_probability"]
    text = f"verdicts {same}, cells {cells}, probabilities differ by {number(apart)} at most"
    out.print(text, markup=False, style="" if versus["same_verdicts"] else "bold yellow")
    for note in versus.get("notes", ()):
        out.print(one_line(note), markup=False, soft_wrap=True)
    for one in versus["differences"]:
        out.print(one_line(f"  {one['slide']}: {one['text']}"), markup=False)


def _ratio(ratio: Mapping[str, Any]) -> str:
    value = f"{ratio['value']:.3f}"
    if ratio["interval"] is None:
        return f"{value} ({ratio['pairs']} pairs, too few for an interval)"
    low, high = ratio["interval"]
    return f"{value} (95 % interval {low:.3f} to {high:.3f}, {ratio['pairs']} pairs)"


def _print_floor(out: Console, floor: Mapping[str, Any]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    columns = ("network", "precision", "best setting", "ms/row", "MFLOP", "FLOP/B", "GFLOP/s",
               "roof", "of roof")  # fmt: skip
    for column in columns:
        justify: Literal["left", "right"] = "left" if column in columns[:3] else "right"
        table.add_column(column, justify=justify, no_wrap=True)
    for one in floor["networks"]:
        table.add_row(
            one_line(one["network"]),
            one["precision"],
            one["setting"],
            number(one["ms_per_row"]),
            number(_scaled(one["flop_per_row"], 1e6)),
            number(one["flop_per_byte"]),
            number(_scaled(one["flop_per_s"], 1e9)),
            number(_scaled(one["roof_flop_per_s"], 1e9)),
            number(one["of_roof"]),
        )
    out.print(table)
    peak = floor["peak"]
    text = ", ".join(
        f"{name} {number(_scaled(peak[name], 1e9))} GFLOP/s" for name in ("fp32", "int8")
    )
    out.print(f"peak by {peak['by']}: {text}; memory {number(_scaled(peak['bytes_per_s'], 1e9))} "
              "GB/s", markup=False, soft_wrap=True)  # fmt: skip
    out.print(f"pipeline over bare networks: {number(floor['pipeline_over_bare'])} {_span(floor)}",
              markup=False)  # fmt: skip
    share = floor["networks_share_of_cpu"]
    out.print(f"processor time of the bare networks over the pipeline's: {number(share)}",
              markup=False)  # fmt: skip
    out.print(f"bare networks over peak: {number(floor['bare_over_peak'])}", markup=False)
    for note in floor["notes"]:
        out.print(one_line(note), markup=False, soft_wrap=True)


def _print_busy(out: Console, busy: Mapping[str, Any]) -> None:
    interval = busy["slow_down_interval"]
    span = "" if interval is None else f" (95 % interval {interval[0]:.3f} to {interval[1]:.3f})"
    text = (
        f"busy programs beside it: {busy['programs']}; it takes {busy['slow_down']:.3f} times as "
        f"long{span}; equal shares of the cores for all threads would be {busy['fair']:.2f}"
    )
    out.print(text, markup=False, soft_wrap=True)


def _span(floor: Mapping[str, Any]) -> str:
    interval = floor["pipeline_over_bare_interval"]
    return "" if interval is None else f"(95 % interval {interval[0]:.3f} to {interval[1]:.3f})"


def _scaled(value: float | None, unit: float) -> float | None:
    return None if value is None else value / unit


def _print_status(out: Console, document: Mapping[str, Any]) -> None:
    budget, latency = document["budget"], document["latency"]
    for reason in document["invalid"]:
        out.print(one_line(f"INVALID: {reason}"), style="bold yellow", markup=False)
    if latency is None:
        out.print("no latencies in this scenario, so none is held against the budget", style="dim")
        return
    word = "meets" if budget["met"] else "MISSES"
    text = f"p99 of {number(latency['p99_ms'])} ms {word} the budget of {budget['seconds']:g} s"
    if not budget["sure"]:
        text += ", on too few samples to be sure"
    out.print(text, style="green" if budget["met"] else "bold red")
