"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

if TYPE_CHECKING:
    from edgeapl.config import StationConfig

# Typer reads these at run time, and Python 3.10's typing wants Optional inside Annotated.
BundleOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--bundle", "-b", help="Bundle to use; without it the embedded demonstration."),
]
JournalOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(help="Journal file; without it the one in your state folder."),
]
ScaleOption = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(
        min=0.005, max=10, help="µm per pixel. Without it, it is measured from the red cells."
    ),
]
OutOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(help="Folder for results; without it edgeapl-results/NAME."),
]
StationOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--station", help="Station file; without it ./edgeapl.toml if there is one."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
FailOnFlagOption = Annotated[
    bool, typer.Option("--fail-on-flag", help="Leave with exit code 10 when a slide is flagged.")
]

FLAGGED = 10
"""Exit code for --fail-on-flag: apart from all error codes."""


def chosen_bundle(named: Path | None, station: StationConfig) -> Path:
    """Give the bundle to use: named on the command line, in the station file, or embedded."""
    from edgeapl.model import EMBEDDED

    return named or station.bundle or EMBEDDED


def chosen_journal(named: Path | None, station: StationConfig) -> Path:
    """Give the journal to use."""
    from edgeapl.journal import default_journal_path

    return named or station.journal or default_journal_path()


def chosen_results(named: Path | None, station: StationConfig, name: str) -> Path:
    """Give the folder for the results of an input with this name."""
    return named or (station.results or Path("edgeapl-results")) / name
