"""`edgeapl engines`: the engines that were built."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from edgeapl.cli.options import JsonOption
from edgeapl.cli.output import RESEARCH_USE_ONLY, print_json

app = typer.Typer(help="The engines that were built.", no_args_is_help=True)


@app.command("list")
def list_engines(as_json: JsonOption = False) -> None:
    """List the engines in the cache, newest first, and say which are damaged."""
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
            }
        )
    if as_json:
        print_json({"schema": 1, "cache": str(cache_folder()), "engines": rows})
        return
    out = Console(highlight=False)
    for row in rows:
        out.print("  ".join(str(value) for value in row.values()), soft_wrap=True, markup=False)
    if not rows:
        out.print(f"no engines in {cache_folder()}: edgeapl build-engine", markup=False)


@app.command("verify")
def verify(
    folder: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Argument(help="Folder of engines; without it all in the cache."),
    ] = None,
) -> None:
    """Check that every file is what was built; exit code 4 when one is not."""
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


@app.command("remove")
def remove(key: Annotated[str, typer.Argument(help="As edgeapl engines list names it.")]) -> None:
    """Remove engines from the cache."""
    from rich.console import Console

    from edgeapl.engines.store.cache import cache_folder, remove_engines

    removed = remove_engines(cache_folder(), key)
    Console(highlight=False).print(f"removed {removed}. {RESEARCH_USE_ONLY}", soft_wrap=True)
