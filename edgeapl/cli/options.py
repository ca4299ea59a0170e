"""Options that several commands share, and the objects that they choose."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional, TypeVar

import typer

from edgeapl.cli.output import one_line

if TYPE_CHECKING:
    from rich.console import Console

    from edgeapl.bundle.trust import Trust
    from edgeapl.config import StationConfig
    from edgeapl.model import Model
    from edgeapl.model.resolution import ResolvedModel
    from edgeapl.station.flag_command import FlagCommand
    from edgeapl.station.hosted_model import HostedModel

Opened = TypeVar("Opened", bound="Model | HostedModel")

IMAGES = "Images"
MODEL = "Model and engines"
OUTPUT = "Output"
PROOF = "Proof"
RECORD = "Record"
SETTINGS = "Settings and log"
COMPARISONS = "Comparisons"
"""Headings of options in help texts."""

# Typer reads these at run time, and Python 3.10's typing wants Optional inside Annotated.
BundleOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--bundle",
        "-b",
        rich_help_panel=MODEL,
        help="Bundle to use; without it blood-cells, for real images.",
    ),
]
JournalOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        rich_help_panel=RECORD, help="Journal file; without it the one in your state folder."
    ),
]
ScaleOption = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(
        min=0.005,
        max=10,
        rich_help_panel=IMAGES,
        help="µm per pixel. Without it, it is measured from the red cells.",
    ),
]
CropsOption = Annotated[
    bool, typer.Option("--crops", rich_help_panel=IMAGES, help="Every image is one cell.")
]
ProofFramesOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--frames", rich_help_panel=PROOF, help="Slides to prove on; without it drawn ones."
    ),
]
OutOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        rich_help_panel=OUTPUT, help="Folder for results; without it edgeapl-results/NAME."
    ),
]
StationOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--station",
        rich_help_panel=SETTINGS,
        help="Station file; without it ./edgeapl.toml if there is one.",
    ),
]
EnginesOption = Annotated[
    str,
    typer.Option(
        "--engines",
        rich_help_panel=MODEL,
        help="Built engines: auto (the newest that fit, or the bundle's own networks), none, or "
        "a folder.",
    ),
]
SegmenterOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--segmenter",
        metavar="NAME",
        rich_help_panel=MODEL,
        help="Find cells in another way than the bundle's own: hsv-watershed, or sam, sam-boxes or "
        "sam-grid where it holds Segment Anything. Then no slide is cleared.",
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", rich_help_panel=OUTPUT, help="Print JSON on stdout.")
]
FailOnFlagOption = Annotated[
    bool,
    typer.Option(
        "--fail-on-flag",
        rich_help_panel=OUTPUT,
        help="Exit with code 10 when a slide is flagged.",
    ),
]

OnFlagOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--on-flag",
        metavar="COMMAND",
        rich_help_panel=RECORD,
        help="Program to run once for every flagged slide; it gets the verdict as JSON on its "
        "standard input. No shell is used.",
    ),
]

LogOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--log",
        rich_help_panel=SETTINGS,
        help="File for a log of what happens, or - for standard error.",
    ),
]
LogJsonOption = Annotated[
    bool,
    typer.Option(
        "--log-json", rich_help_panel=SETTINGS, help="Write the log as one JSON object a line."
    ),
]

FLAGGED = 10
"""Exit code for --fail-on-flag: apart from all error codes."""


def chosen_bundle(named: Path | None, station: StationConfig, *, drawn: bool = False) -> Path:
    """Return the bundle to use: from the command line, the station file, or embedded.

    drawn : the images are drawn, so the demonstration is meant where none is named.
    """
    from edgeapl.model import BLOOD_CELLS, EMBEDDED

    return named or station.bundle or (EMBEDDED if drawn else BLOOD_CELLS)


def station_trust(station: StationConfig) -> Trust:
    """Return what the station file demands of bundles and engines."""
    from edgeapl.bundle.trust import read_trust

    return read_trust(station.trusted_keys, station.oldest_versions)


def trust_here(named: Path | None) -> Trust:
    """Return what the station file demands: the named one, or the working folder's.

    For commands that open a bundle and need nothing else from the station file.
    """
    from edgeapl.config import load_station

    return station_trust(load_station(named))


@contextmanager
def opened_model(
    named: Path | None,
    station: StationConfig,
    engines: str,
    terminal: Console,
    segmenter: str | None = None,
) -> Iterator[Model]:
    """Open the chosen bundle and engines for folders, and print which they are."""
    from edgeapl.model.opener import open_resolved

    opened = _opened(
        open_resolved, named, station, engines, terminal, segmenter=segmenter, pin_cores=True
    )
    with opened as model:
        _announce(terminal, model, named, station)
        yield model


@contextmanager
def hosted_model(
    named: Path | None,
    station: StationConfig,
    engines: str,
    terminal: Console,
    segmenter: str | None = None,
) -> Iterator[HostedModel]:
    """Do the same with the networks in processes of their own."""
    from edgeapl.station.hosted_model import open_hosted

    with _opened(open_hosted, named, station, engines, terminal, segmenter=segmenter) as hosted:
        _announce(terminal, hosted.model, named, station)
        yield hosted


def _announce(terminal: Console, model: Model, named: Path | None, station: StationConfig) -> None:
    from edgeapl.cli.verdicts import announce_bundle
    from edgeapl.model import is_embedded

    announce_bundle(terminal, model, embedded=is_embedded(chosen_bundle(named, station)))


@contextmanager
def _opened(
    opener: Callable[[ResolvedModel], Opened],
    named: Path | None,
    station: StationConfig,
    engines: str,
    terminal: Console,
    *,
    segmenter: str | None = None,
    pin_cores: bool = False,
) -> Iterator[Opened]:
    from edgeapl.model import ModelRequest
    from edgeapl.model.fallback import open_with_fallback

    wanted: Any = engines if engines in ("auto", "none") else Path(engines)
    request = ModelRequest(
        chosen_bundle(named, station),
        engines=wanted,
        threads=station.threads,
        workers=station.workers,
        pin_cores=pin_cores,
        segmenter=segmenter,
        trust=station_trust(station),
    )
    opened, resolved = open_with_fallback(request, opener)
    with opened:
        for refused in resolved.chosen.refused:
            terminal.print(f"not used: {one_line(str(refused))}", style="yellow", markup=False)
        terminal.print(f"using {resolved.chosen.text}", markup=False, soft_wrap=True)
        yield opened


def flag_command(text: str | None) -> FlagCommand | None:
    """Return the program to run for flags. Raises ConfigError when there is none."""
    from edgeapl.station.flag_command import FlagCommand

    return None if text is None else FlagCommand.parse(text)


def chosen_journal(named: Path | None, station: StationConfig) -> Path:
    """Return the journal to use."""
    from edgeapl.journal import default_journal_path

    return named or station.journal or default_journal_path()


def chosen_results(named: Path | None, station: StationConfig, name: str) -> Path:
    """Return the result folder for an input with this name."""
    return named or (station.results or Path("edgeapl-results")) / name
