"""`edgeapl engines`: the engines that were built."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from edgeapl.cli.choices import trust_here
from edgeapl.cli.options import (
    CropsOption,
    JsonOption,
    ProofFramesOption,
    ScaleOption,
    StationOption,
)
from edgeapl.cli.output import RESEARCH_USE_ONLY, print_json
from edgeapl.cli.watch_signals import sigterm_interrupts

app = typer.Typer(help="List, verify, inspect and remove built engines.", no_args_is_help=True)

EnginesArgument = Annotated[
    str, typer.Argument(metavar="ENGINES", help="Folder, or name as edgeapl engines list has it.")
]


@app.command("list")
def list_engines(as_json: JsonOption = False) -> None:
    """List the engines in the cache, and which are damaged."""
    from rich.console import Console

    from edgeapl.engines.store.cache import cache_folder, kept_engines
    from edgeapl.errors import EngineError

    rows: list[dict[str, Any]] = []
    for folder, found in kept_engines(cache_folder()):
        if isinstance(found, EngineError):
            rows.append({"key": folder.name, "error": str(found)})
            continue
        record = found.record
        rows.append(
            {
                "key": folder.name,
                "bundle": record.bundle_name,
                "precision": record.precision,
                "target": record.target,
                "device": record.built_for.device,
                "built_at": record.built_at,
                "proven_where_it_runs": record.proven_where_it_runs,
            }
        )
    if as_json:
        print_json({"schema": 1, "cache": str(cache_folder()), "engines": rows})
        return
    out = Console(highlight=False)
    for row in rows:
        shown = [str(value) for key, value in row.items() if key != "proven_where_it_runs"]
        if not row.get("proven_where_it_runs", True):
            shown.append("proven on the CPU only")
        out.print("  ".join(shown), soft_wrap=True, markup=False)
    if not rows:
        out.print(f"no engines in {cache_folder()}: edgeapl build-engine", markup=False)


@app.command("verify")
def verify(
    folder: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Argument(help="Folder of engines; without it all in the cache."),
    ] = None,
) -> None:
    """Check that no file was changed; exit code 4 when one was."""
    from rich.console import Console

    from edgeapl.engines.store.cache import cache_folder, kept_engines
    from edgeapl.engines.store.folder import open_engines
    from edgeapl.errors import EngineError

    out = Console(highlight=False)
    if folder is not None:
        open_engines(folder)
        out.print(f"{folder}: as built", soft_wrap=True, markup=False)
        return
    damaged = []
    for path, found in kept_engines(cache_folder()):
        if isinstance(found, EngineError):
            damaged.append(found)
        else:
            out.print(f"{path.name}: as built", soft_wrap=True, markup=False)
    for error in damaged:
        typer.echo(f"error: {error}", err=True)
    if damaged:
        raise typer.Exit(EngineError.exit_code)


@app.command("tune")
def tune(
    engines: EnginesArgument,
    bundle: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Bundle that they were built from; without it the demonstration."),
    ] = None,
    frames: ProofFramesOption = None,
    crops: CropsOption = False,
    um_per_px: ScaleOption = None,
    station: StationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure again how engines run fastest here.

    That is with how many workers and threads, and in which batches. Nothing is built. A signature
    ends with the record that it was made for. Take no slides meanwhile.
    """
    from edgeapl.calibration.builder.request import BuildRequest
    from edgeapl.cli.build_engine import EXTRA, build_progress
    from edgeapl.engines.store.folder import open_engines
    from edgeapl.errors import EngineError
    from edgeapl.model import EMBEDDED
    from edgeapl.model.trial import try_out

    try:
        from edgeapl.calibration.builder.tuning import tune_engines
    except ModuleNotFoundError as error:
        raise EngineError("engines tune needs more packages", error.name or "", EXTRA) from error
    there, trust = open_engines(_folder(engines)), trust_here(station)
    trust.check_engines(there.folder, there.signer)
    request = BuildRequest(
        bundle or EMBEDDED, frames=frames, cell_images=crops, um_per_px=um_per_px
    )
    try_out(request.bundle, trust)
    with sigterm_interrupts(), build_progress({}) as say:
        tuned = tune_engines(there, request, say)
    before, after = there.record.settings.text, tuned.record.settings.text
    race = tuned.record.timing["settings_race"]
    if as_json:
        document = {"before": before, "after": after, "race": race}
        print_json({"schema": 1, "engines": str(tuned.folder), **document})
        return
    typer.echo(
        f"{tuned.folder}: {after}" + (" as before" if after == before else f", was {before}")
    )
    for rival, found in race["rivals"].items():
        interval = found["interval"]
        sure = "left early" if interval is None else f"{interval[0]:.2f} to {interval[1]:.2f}"
        text = f"{rival}: {found['ratio']:.2f} ({sure}) of the time of {race['usual']}"
        typer.echo(f"  {text}, {found['pairs']} pairs")
    if there.signer is not None:
        typer.echo("the signature was of the record before: sign the engines again")


@app.command("prove")
def prove(
    engines: EnginesArgument,
    bundle: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Bundle that they were built from; without it the demonstration."),
    ] = None,
    frames: ProofFramesOption = None,
    crops: CropsOption = False,
    um_per_px: ScaleOption = None,
    station: StationOption = None,
) -> None:
    """Compare engines with their bundle on this machine's GPU.

    Those that were built where no GPU could be used clear no slide before. A signature ends with
    the record that it was made for. Exit code 1 when they do not answer like the bundle.
    """
    from edgeapl.calibration.builder.request import BuildRequest
    from edgeapl.cli.build_engine import EXTRA, build_progress, show_engines
    from edgeapl.engines.store.folder import open_engines
    from edgeapl.errors import EngineError
    from edgeapl.model import EMBEDDED
    from edgeapl.model.trial import try_out

    try:
        from edgeapl.calibration.builder.device_proof import prove_engines
    except ModuleNotFoundError as error:
        raise EngineError("engines prove needs more packages", error.name or "", EXTRA) from error
    found, trust = open_engines(_folder(engines)), trust_here(station)
    trust.check_engines(found.folder, found.signer)
    request = BuildRequest(
        bundle or EMBEDDED, frames=frames, cell_images=crops, um_per_px=um_per_px
    )
    try_out(request.bundle, trust)
    with build_progress({}) as say:
        proven = prove_engines(found, request, say)
    show_engines(proven, proven.record.model_dump(mode="json", by_alias=True))
    if found.signer is not None:
        typer.echo("the signature was of the record before: sign the engines again")


@app.command("inspect")
def inspect(
    engines: EnginesArgument,
    layers: Annotated[
        bool,
        typer.Option("--layers", help="List every layer with its inputs, outputs and bytes moved."),
    ] = False,
    profile: Annotated[
        bool, typer.Option("--profile", help="Time every layer of plans on this machine's GPU.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the precision of every layer, and its time.

    Research use only.
    """
    from edgeapl.cli.engine_layers import layers_document, print_layers
    from edgeapl.engines.store.folder import open_engines

    document = layers_document(open_engines(_folder(engines)), profile=profile)
    if as_json:
        print_json(document)
    else:
        print_layers(document, every=layers or profile)


def _folder(engines: str) -> Path:
    """Return a folder by its path, or by its name in the cache."""
    from edgeapl.engines.store.cache import cache_folder

    named = Path(engines)
    return named if named.is_dir() or named.name != engines else cache_folder() / engines


@app.command("remove")
def remove(key: Annotated[str, typer.Argument(help="As edgeapl engines list names it.")]) -> None:
    """Remove engines from the cache."""
    from rich.console import Console

    from edgeapl.engines.store.cache import cache_folder, remove_engines

    removed = remove_engines(cache_folder(), key)
    Console(highlight=False).print(f"removed {removed}. {RESEARCH_USE_ONLY}", soft_wrap=True)
