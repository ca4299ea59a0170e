"""`edgeapl bench`: how fast a bundle is on this machine, and against what."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from edgeapl.cli.choices import chosen_bundle, station_trust
from edgeapl.cli.options import (
    COMPARISONS,
    OUTPUT,
    EnginesOption,
    JsonOption,
    StationOption,
)
from edgeapl.cli.output import console, one_line, print_json

if TYPE_CHECKING:
    from edgeapl.bench.candidate import Setup

MISSED = 7
"""Exit code when p99 misses the budget, that of every deadline."""


class ScenarioName(str, Enum):
    """How frames come; the names of `edgeapl.bench.scenarios.Scenario`."""

    SINGLE_STREAM = "single-stream"
    MULTI_STREAM = "multi-stream"
    OFFLINE = "offline"
    GLASS_TO_FLAG = "glass-to-flag"


def bench(
    bundle: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Argument(help="Bundle A; without it the embedded demonstration."),
    ] = None,
    other: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Argument(metavar="[BUNDLE2]", help="Bundle B, alternating with A."),
    ] = None,
    scenario: Annotated[
        ScenarioName,
        typer.Option(
            rich_help_panel="Workload",
            help="One frame after another, several at once, a folder, or the station: from a "
            "camera's picture to the committed verdict.",
        ),
    ] = ScenarioName.SINGLE_STREAM,
    budget: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(
            min=3,
            max=3600,
            rich_help_panel="Workload",
            help="Seconds that p99 must not exceed; 45 without it.",
        ),
    ] = None,
    images: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            rich_help_panel="Workload",
            help="Folder of images, or demo://KIND?width=2560&height=1920&cells=169 and the like; "
            "without it a drawn slide.",
        ),
    ] = None,
    frames: Annotated[
        int, typer.Option(min=1, rich_help_panel="Workload", help="Stop after so many frames.")
    ] = 320,
    duration: Annotated[
        float,
        typer.Option(
            min=0.1,
            rich_help_panel="Workload",
            help="Stop after so many seconds (for each of A and B).",
        ),
    ] = 60.0,
    warmup: Annotated[
        int, typer.Option(min=1, rich_help_panel="Workload", help="Frames before, not counted.")
    ] = 4,
    seconds: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(
            min=1,
            rich_help_panel="Workload",
            help="End after about so many seconds in all, opening aside; a step is finished.",
        ),
    ] = None,
    streams: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            min=2, rich_help_panel="Workload", help="Frames at once in multi-stream; 8 without it."
        ),
    ] = None,
    exhaustive: Annotated[
        bool,
        typer.Option(
            "--exhaustive",
            rich_help_panel="Workload",
            help="glass-to-flag: examine every cell, as watch --exhaustive does.",
        ),
    ] = False,
    engines: EnginesOption = "auto",
    engines2: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            rich_help_panel="Bundle B",
            help="Engines of B, as --engines; makes B of the same bundle without one.",
        ),
    ] = None,
    threads: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            min=1,
            max=256,
            rich_help_panel="Resources",
            help="CPU threads inside one run of a network of A.",
        ),
    ] = None,
    threads2: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, max=256, rich_help_panel="Bundle B", help="The same for B."),
    ] = None,
    workers: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            min=1, max=256, rich_help_panel="Resources", help="Runs of A at the same time."
        ),
    ] = None,
    workers2: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, max=256, rich_help_panel="Bundle B", help="The same for B."),
    ] = None,
    batch_size: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            min=1, max=1024, rich_help_panel="Resources", help="Cells in one run of a network of A."
        ),
    ] = None,
    batch_size2: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, max=1024, rich_help_panel="Bundle B", help="The same for B."),
    ] = None,
    floor: Annotated[
        bool,
        typer.Option(
            "--floor",
            rich_help_panel=COMPARISONS,
            help="Measure A's bare networks and this machine's peak as well.",
        ),
    ] = False,
    busy: Annotated[
        int,
        typer.Option(
            min=0,
            max=256,
            rich_help_panel=COMPARISONS,
            help="Measure as well how much slower A is while so many other programs keep a core "
            "busy each.",
        ),
    ] = 0,
    station: StationOption = None,
    as_json: JsonOption = False,
    page: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(rich_help_panel=OUTPUT, help="Write an HTML page with plots."),
    ] = None,
) -> None:
    """Measure how fast a bundle is on this machine.

    Without arguments: the embedded bundle on a drawn slide. Ends with 7 when p99 misses the budget.
    Times are of this machine and of what else it does; compare ratios of one run. Settings without
    a 2 are A's alone. Research use only.
    """
    from edgeapl.bench.bench import BenchRequest, run_bench
    from edgeapl.bench.candidate import Setup
    from edgeapl.bench.scenarios import Plan, Scenario
    from edgeapl.config import load_station
    from edgeapl.model.engine_choice import choose_engines
    from edgeapl.model.trial import try_out

    _refuse_unused(scenario, streams=streams, exhaustive=exhaustive, budget=budget)
    config = load_station(station)
    one = Setup(
        chosen_bundle(bundle, config, drawn=True),
        _engines(engines),
        threads or config.threads,
        threads,
        workers or config.workers,
        batch_size or config.batch_size,
        station_trust(config),
    )
    setups: tuple[Setup, ...] = (one,)
    of_b = (other, engines2, threads2, workers2, batch_size2)
    if any(given is not None for given in of_b):
        second = Setup(
            other or one.bundle,
            _engines(engines2 or _engines_of_b(engines, other)),
            threads2 or config.threads,
            threads2,
            workers2 or config.workers,
            batch_size2 or config.batch_size,
            one.trust,
        )
        setups = (one, second)
    for setup in setups:
        bundle_there = try_out(setup.bundle, setup.trust)
        built = choose_engines(bundle_there, setup.engines, setup.trust).engines
        if built is not None:
            try_out(setup.bundle, setup.trust, built)
    stop_error = None if exhaustive or config.exhaustive else config.stop_error
    plan = Plan(
        Scenario(scenario.value), frames, duration, warmup, streams or 8, budget or 45.0, stop_error
    )
    terminal = console()
    if page is not None:
        from edgeapl.bench.page import refuse_place

        refuse_place(page)

    def say(text: str) -> None:
        terminal.print(one_line(text), markup=False, soft_wrap=True)

    result = run_bench(BenchRequest(plan, setups, images, floor, busy, seconds, say))
    if page is not None:
        from edgeapl.bench.page import write_page

        write_page(page, result)
        say(f"page: {page}")
    if as_json:
        print_json(result.document)
    else:
        from edgeapl.cli.bench_tables import print_tables

        print_tables(result.document)
    raise typer.Exit(MISSED if result.misses_budget else 0)


def _refuse_unused(
    scenario: ScenarioName, *, streams: int | None, exhaustive: bool, budget: float | None
) -> None:
    """Refuse options that the scenario has no use for. Raises UsageError."""
    from edgeapl.errors import UsageError

    for option, given, used in (
        ("--streams", streams is not None, scenario is ScenarioName.MULTI_STREAM),
        ("--exhaustive", exhaustive, scenario is ScenarioName.GLASS_TO_FLAG),
        ("--budget", budget is not None, scenario is not ScenarioName.OFFLINE),
    ):
        if given and not used:
            mend = "leave it out, or choose another --scenario"
            raise UsageError(f"option has no use in {scenario.value}", option, mend)


def _engines_of_b(engines: str, other: Path | None) -> str:
    """Return A's engines for B, but for a folder of engines where B is another bundle."""
    return engines if other is None or engines in ("auto", "none") else "auto"


def _engines(text: str) -> Any:
    return text if text in ("auto", "none") else Path(text)
