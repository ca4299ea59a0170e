"""`edgeapl calibrate`: measure a bundle on real images, for INT8 and for the domain check."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from edgeapl.cli.calibrate_tables import print_calibrated
from edgeapl.cli.choices import trust_here
from edgeapl.cli.options import (
    IMAGES,
    OUTPUT,
    CropsOption,
    JsonOption,
    ScaleOption,
    StationOption,
)
from edgeapl.cli.output import console, print_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from edgeapl.calibration.calibrator import Calibrated

EXTRA = "pip install 'edgeapl[build]'"


class Method(str, Enum):
    """How a range is taken from the values of a tensor."""

    MINMAX = "minmax"
    PERCENTILE = "percentile"


def calibrate(
    bundle: Annotated[Path, typer.Argument(help="Bundle to calibrate.")],
    frames: Annotated[
        Path,
        typer.Option(
            rich_help_panel=IMAGES, help="Images; sub-folders are slides. Give several slides."
        ),
    ],
    crops: CropsOption = False,
    exclude: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            rich_help_panel=IMAGES,
            help="CSV of test slides (column slide, patient or file; with a column split only its "
            "rows test): refused if they are among the images.",
        ),
    ] = None,
    leave_out_excluded: Annotated[
        bool,
        typer.Option(
            "--leave-out-excluded", rich_help_panel=IMAGES, help="Leave test slides out instead."
        ),
    ] = False,
    leave_out_unusable: Annotated[
        bool,
        typer.Option(
            "--leave-out-unusable",
            rich_help_panel=IMAGES,
            help="Leave black, blurred or damaged images out, and count.",
        ),
    ] = False,
    um_per_px: ScaleOption = None,
    size: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            min=8,
            rich_help_panel=IMAGES,
            help="Cells for the ranges. Without it, as many as make the ranges stable.",
        ),
    ] = None,
    method: Annotated[
        Method, typer.Option(rich_help_panel="Ranges", help="How ranges are taken.")
    ] = Method.PERCENTILE,
    percentile: Annotated[
        float,
        typer.Option(
            min=90,
            max=100,
            rich_help_panel="Ranges",
            help="Share of values that a range keeps, percent.",
        ),
    ] = 99.99,
    labels: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            rich_help_panel="Certificate",
            help="CSV with slide,label or patient,label or all three: instead of ranges, prove on "
            "these slides what the bundle may clear.",
        ),
    ] = None,
    alpha: Annotated[
        float,
        typer.Option(
            min=0.001,
            max=0.5,
            rich_help_panel="Certificate",
            help="With --labels: most of them that may be cleared.",
        ),
    ] = 0.05,
    positive: Annotated[
        str,
        typer.Option(
            rich_help_panel="Certificate",
            help="With --labels: label of the slides that must not be cleared.",
        ),
    ] = "APL",
    leave_out_seen: Annotated[
        bool,
        typer.Option(
            "--leave-out-seen",
            rich_help_panel="Certificate",
            help="With --labels: leave slides out that were seen before.",
        ),
    ] = False,
    drawn: Annotated[
        bool,
        typer.Option(
            "--drawn",
            rich_help_panel="Certificate",
            help="With --labels: the slides are drawn; it will be said.",
        ),
    ] = False,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            rich_help_panel=OUTPUT,
            help="New bundle. Without it, the bundle is replaced by its next version.",
        ),
    ] = None,
    station: StationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a bundle on real images; prove what it may clear.

    Writes the bundle's next version, with the range of every tensor (for INT8), the digests of all
    images used, and a description by which a station notices slides unlike them. With --labels it
    gets the proof of what it may clear instead. Research use only.
    """
    if labels is not None:
        _certify(
            bundle,
            frames,
            labels,
            crops=crops,
            um_per_px=um_per_px,
            alpha=alpha,
            positive=positive,
            leave_out_seen=leave_out_seen,
            drawn=drawn,
            out=out,
            station=station,
            as_json=as_json,
        )
        return
    from edgeapl.errors import EngineError
    from edgeapl.model.trial import try_out

    try:
        from edgeapl.calibration.calibrator import CalibrateRequest
        from edgeapl.calibration.calibrator import calibrate as calibrate_bundle
    except ModuleNotFoundError as error:
        raise EngineError("calibrate needs more packages", error.name or "", EXTRA) from error
    request = CalibrateRequest(
        bundle=bundle,
        frames=frames,
        crops=crops,
        exclude=exclude,
        leave_out_excluded=leave_out_excluded,
        leave_out_unusable=leave_out_unusable,
        um_per_px=um_per_px,
        size=size,
        method=method.value,
        percentile=percentile,
        out=out,
        threads=os.cpu_count() or 1,
    )
    terminal = console()
    try_out(bundle, trust_here(station))
    with _progress(terminal) as tell:
        done = calibrate_bundle(request, tell)
    if as_json:
        print_json({**done.report, "bundle": _bundle(done)})
    else:
        print_calibrated(done)


def _certify(
    bundle: Path,
    frames: Path,
    labels: Path,
    *,
    crops: bool,
    um_per_px: float | None,
    alpha: float,
    positive: str,
    leave_out_seen: bool,
    drawn: bool,
    out: Path | None,
    station: Path | None,
    as_json: bool,
) -> None:
    from edgeapl.certification.certifier import CertifyRequest
    from edgeapl.certification.evidence import ExaminationOptions
    from edgeapl.certification.limits import Risk
    from edgeapl.cli.certify import certify_and_show
    from edgeapl.model.trial import try_out

    request = CertifyRequest(
        bundle=bundle,
        frames=frames,
        labels=labels,
        how=ExaminationOptions(crops, um_per_px),
        risk=Risk(alpha),
        positive=positive,
        leave_out_seen=leave_out_seen,
        drawn=drawn,
        out=out,
    )
    terminal = console()
    try_out(bundle, trust_here(station))
    with _progress(terminal) as tell:
        certify_and_show(request, tell, as_json=as_json)


@contextmanager
def _progress(terminal: Console) -> Iterator[Callable[[str, float], None]]:
    """Show the progress: a bar on a terminal, one line per step elsewhere."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    if not terminal.is_terminal:
        yield _Lines(terminal)
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=terminal, transient=True) as progress:
        task = progress.add_task("", total=1.0)
        yield lambda text, share: progress.update(task, description=text, completed=share)


class _Lines:
    """Prints each step once."""

    def __init__(self, terminal: Console) -> None:
        self._terminal = terminal
        self._last = ""

    def __call__(self, text: str, share: float) -> None:
        if text != self._last:
            self._terminal.print(text, markup=False)
        self._last = text


def _bundle(done: Calibrated) -> dict[str, Any]:
    manifest = done.bundle.manifest
    return {
        "folder": str(done.bundle.folder),
        "name": manifest.name,
        "version": manifest.version,
        "digest": done.bundle.digest,
        "trained": manifest.trained,
    }
