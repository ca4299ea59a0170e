"""Annotated types of the options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

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
