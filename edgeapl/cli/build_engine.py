"""`edgeapl build-engine`: networks made fast for this machine, and proven."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from edgeapl.cli.choices import trust_here
from edgeapl.cli.options import (
    PROOF,
    CropsOption,
    JsonOption,
    ProofFramesOption,
    ScaleOption,
    StationOption,
)
from edgeapl.cli.output import RESEARCH_USE_ONLY, console, one_line, print_json

if TYPE_CHECKING:
    from edgeapl.engines.store.folder import EngineFolder

EXTRA = "pip install 'edgeapl[build]'"


class PrecisionChoice(str, Enum):
    """Numbers that networks compute in."""

    AUTO = "auto"
    FP32 = "fp32"
    TF32 = "tf32"
    FP16 = "fp16"
    INT8 = "int8"


class TargetChoice(str, Enum):
    """What engines are built for."""

    AUTO = "auto"
    ONNXRUNTIME = "onnxruntime"
    OPENVINO = "openvino"
    ONNXRUNTIME_CUDA = "onnxruntime-cuda"
    TENSORRT = "tensorrt"
    TENSORRT_RTX = "tensorrt-rtx"


def build_engine(
    bundle: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Argument(help="Bundle; without it the embedded demonstration."),
    ] = None,
    precision: Annotated[
        PrecisionChoice,
        typer.Option(
            rich_help_panel="Engines",
            help="auto: the fastest that passes the proof. tf32: FP32 of which a GPU multiplies 10 "
            "bits; never chosen by itself.",
        ),
    ] = PrecisionChoice.AUTO,
    target: Annotated[
        TargetChoice,
        typer.Option(
            rich_help_panel="Engines", help="auto: all that run on this machine are tried."
        ),
    ] = TargetChoice.AUTO,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            rich_help_panel="Engines",
            help="Folder for the engines; without it the cache, where they are found.",
        ),
    ] = None,
    frames: ProofFramesOption = None,
    crops: CropsOption = False,
    um_per_px: ScaleOption = None,
    evidence: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            rich_help_panel=PROOF,
            help="Slides of the bundle's certificate: engines in fewer bits may clear only if they "
            "judge all of them as the bundle does.",
        ),
    ] = None,
    max_flip_rate: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(
            min=0,
            max=1,
            rich_help_panel="Engines",
            help="Keep layers in a higher precision until this holds.",
        ),
    ] = None,
    device: Annotated[
        int,
        typer.Option(
            min=0, rich_help_panel="TensorRT", help="Number of the GPU, where there are several."
        ),
    ] = 0,
    max_batch: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            min=1,
            rich_help_panel="TensorRT",
            help="TensorRT: cells in the largest run; 32 unless said otherwise.",
        ),
    ] = None,
    workspace: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            min=1,
            rich_help_panel="TensorRT",
            help="TensorRT: MiB of scratch memory for a layer; 2048 unless said otherwise.",
        ),
    ] = None,
    compute_capability: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            rich_help_panel="TensorRT",
            help="TensorRT-RTX: GPUs to build for, e.g. 8.9; again for more. Without it the one "
            "here.",
        ),
    ] = None,
    optimization_level: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            min=0,
            max=5,
            rich_help_panel="TensorRT",
            help="TensorRT: how long it searches for fast kernels.",
        ),
    ] = None,
    timing_cache: Annotated[
        bool,
        typer.Option(
            rich_help_panel="TensorRT",
            help="TensorRT: use, and keep, what earlier builds measured.",
        ),
    ] = True,
    station: StationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Build engines for this machine, and prove them.

    Compares them with the bundle and measures their speed here. Exit code 1 when no engine answers
    like the bundle within its limits. Research use only.
    """
    from edgeapl.errors import EngineError
    from edgeapl.model import EMBEDDED
    from edgeapl.model.trial import try_out

    try:
        from edgeapl.calibration.builder.build import BuildRequest
        from edgeapl.calibration.builder.build import build_engine as build
    except ModuleNotFoundError as error:
        raise EngineError("build-engine needs more packages", error.name or "", EXTRA) from error
    request = BuildRequest(
        bundle=bundle or EMBEDDED,
        precision=None if precision is PrecisionChoice.AUTO else precision.value,
        target=target.value,
        out=out,
        frames=frames,
        cell_images=crops,
        um_per_px=um_per_px,
        max_flip_rate=max_flip_rate,
        device=device,
        max_batch=max_batch,
        workspace_mib=workspace,
        capabilities=tuple(compute_capability or ()),
        optimization_level=optimization_level,
        timing_cache=timing_cache,
    )
    try_out(request.bundle, trust_here(station))
    with build_progress(_earlier()) as say:
        engines = build(request, say)
    if evidence is not None:
        engines = _inherit(request.bundle, engines, evidence, crops=crops, um_per_px=um_per_px)
    _say_what_may_clear(request.bundle, engines)
    document = engines.record.model_dump(mode="json", by_alias=True)
    if as_json:
        print_json({**document, "folder": str(engines.folder)})
    else:
        show_engines(engines, document)


def _inherit(
    bundle: Path, engines: EngineFolder, evidence: Path, *, crops: bool, um_per_px: float | None
) -> EngineFolder:
    """Try engines on the slides of the bundle's certificate."""
    from edgeapl.certification.evidence import ExaminationOptions
    from edgeapl.certification.inheritance import inherit

    with build_progress({}) as say:
        done = inherit(
            bundle,
            engines,
            evidence,
            ExaminationOptions(crops, um_per_px),
            lambda number, of: say(f"judge the slides of the certificate: {number} of {of}"),
        )
    if done.otherwise:
        names = ", ".join(one_line(name) for name in done.otherwise[:5])
        text = f"{len(done.otherwise)} slides of the certificate are judged otherwise: {names}"
        console().print(text, style="yellow", markup=False, soft_wrap=True)
    return done.engines


def _say_what_may_clear(bundle: Path, engines: EngineFolder) -> None:
    from edgeapl.bundle.load import open_bundle
    from edgeapl.certification.inheritance import needs_trial

    if needs_trial(open_bundle(bundle), engines):
        text = "these engines clear no slide: the bundle's certificate is not theirs; give its "
        text += "slides with --evidence"
        console().print(text, style="yellow", soft_wrap=True)


def _earlier() -> dict[str, float]:
    """Return how long the stages of earlier builds took, from the newest engines that know."""
    from edgeapl.engines.store.cache import cache_folder, kept_engines
    from edgeapl.engines.store.folder import EngineFolder

    seconds: dict[str, float] = {}
    for _, found in reversed(kept_engines(cache_folder())):
        if isinstance(found, EngineFolder):
            seconds.update(found.record.timing.get("stages", {}))
    return seconds


@contextmanager
def build_progress(earlier: dict[str, float]) -> Iterator[Callable[[str], None]]:
    """Show the stage, how long it has taken and how long it took in an earlier build."""
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from edgeapl.calibration.builder.stopwatch import stage_of

    def worded(text: str) -> str:
        before = earlier.get(stage_of(text))
        return text if before is None else f"{text} (about {before:.0f} s last time)"

    terminal = console()
    if not terminal.is_terminal:
        said: list[str] = []

        def line(text: str) -> None:
            stage = stage_of(text)
            if stage not in said[-1:]:
                said.append(stage)
                terminal.print(worded(stage), markup=False)

        yield line
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=terminal, transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda text: progress.update(task, description=worded(text))


def show_engines(engines: EngineFolder, document: dict[str, Any]) -> None:
    """Print what engines are, how they were proven and how fast they were."""
    from rich.console import Console
    from rich.table import Table

    out = Console(highlight=False)
    table = Table(box=None, pad_edge=False)
    for name in ("network", "file", "MB", "precision", "kept higher"):
        table.add_column(name, justify="right" if name == "MB" else "left")
    for name, built in document["networks"].items():
        kept = ", ".join(built["kept"][:3]) + (" ..." if len(built["kept"]) > 3 else "")
        table.add_row(name, built["file"], f"{built['size'] / 1e6:.2f}", built["precision"], kept)
    out.print(table)
    if document["cutter"] is not None:
        out.print(f"cells are cut on the GPU by {document['cutter']['file']}", markup=False)
    proof, timing = document["proof"], document["timing"]
    out.print(f"proven on {proof['proven_on']}", markup=False)
    if not engines.record.proven_where_it_runs:
        text = "proven on the CPU only: clears no slide until edgeapl engines prove ran on its GPU"
        out.print(text, style="yellow", soft_wrap=True)
    if not proof["limits_apply"]:
        out.print("random weights: the limits do not apply", style="yellow")
    for name, problems in proof["candidates"].items():
        out.print(f"{name}: {'; '.join(problems) or 'passed'}", markup=False)
    speed = timing["speed_against_bundle"]
    if speed is None:
        out.print("not timed: plans run on a GPU, and none can be used here", style="yellow")
    else:
        # Records of earlier versions hold neither settings nor reasons.
        settings = timing.get("settings", {})
        for name, seconds in timing["seconds_for_16_cells"].items():
            how = f" ({settings[name]})" if name in settings else ""
            out.print(f"{name}: {1000 * seconds:.1f} ms for 16 cells{how}", markup=False)
        out.print(f"{speed:.2f} times as fast as the bundle's own networks")
    for name, why in timing.get("not_picked", {}).items():
        out.print(f"not picked: {name}: {why}", markup=False, soft_wrap=True)
    out.print(f"runs with {engines.record.settings.text}")
    out.print(f"engines {engines.folder}", soft_wrap=True, markup=False)
    out.print(RESEARCH_USE_ONLY)
