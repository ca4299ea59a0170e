"""`edgeapl cluster`: what starts clusters for `edgeapl score --cluster`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Scripts that start clusters for score --cluster.")


@app.callback()
def _group() -> None:
    """Scripts that start clusters for score --cluster."""


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def slurm(
    context: typer.Context,
    workers: Annotated[int, typer.Option(min=1, max=4096, help="Workers.")] = 4,
    cpus: Annotated[int, typer.Option(min=1, max=1024, help="Cores of each.")] = 4,
    memory: Annotated[
        int, typer.Option(min=256, metavar="MIB", help="Memory for each core, MiB.")
    ] = 1024,
    time: Annotated[str, typer.Option(help="Limit, such as 8:00:00.")] = "8:00:00",
) -> None:
    """Print a job for Slurm that scores a folder.

    What follows are arguments of `edgeapl score`.
    """
    from edgeapl.cluster.slurm import slurm_job
    from edgeapl.errors import UsageError

    if re.fullmatch(r"(\d+-)?\d+(:\d\d){0,2}", time, re.ASCII) is None:
        raise UsageError("time limit is not understood", time, "write it as Slurm does: 8:00:00")
    if not context.args:
        raise UsageError("nothing to score", "", "name the folder: edgeapl cluster slurm SLIDES")
    if any(word.split("=")[0] == "--cluster" for word in context.args):
        raise UsageError("the job names its own cluster", "--cluster", "leave it out")
    path = str(Path(sys.executable).parent)
    typer.echo(slurm_job(workers, cpus, memory, time, path, context.args), nl=False)
