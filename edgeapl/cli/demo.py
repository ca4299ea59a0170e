"""`edgeapl demo`: a drawn slide through the real pipeline."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeapl.cli.options import (
    FLAGGED,
    FailOnFlagOption,
    JournalOption,
    JsonOption,
    OutOption,
    chosen_journal,
    chosen_results,
)
from edgeapl.cli.output import console
from edgeapl.cli.watch import run_watch


def demo(
    kind: Annotated[str, typer.Argument(help="apl, aml or healthy.")] = "apl",
    seed: Annotated[int, typer.Option(min=0, help="Another seed draws another slide.")] = 1,
    out: OutOption = None,
    journal: JournalOption = None,
    as_json: JsonOption = False,
    fail_on_flag: FailOnFlagOption = False,
) -> None:
    """Play a drawn slide through the real pipeline with the embedded bundle.

    Everything is on this machine: nothing is fetched or sent. Research use only.
    """
    from edgeapl.config import StationConfig
    from edgeapl.station.station import StationOptions

    address = f"demo://{kind}?seed={seed}"
    config = StationConfig()
    console().print(f"watching {address}: a drawn smear, not a patient's", markup=False)
    options = StationOptions(camera=address, out=chosen_results(out, config, "demo"))
    closed = run_watch(
        address,
        f"demo-{kind}-{seed}",
        options,
        config=config,
        bundle=None,
        journal=chosen_journal(journal, config),
        as_json=as_json,
        many=False,
    )
    flagged = any(one.record["verdict"] == "FLAG" for one in closed)
    raise typer.Exit(FLAGGED if fail_on_flag and flagged else max(one.exit_code for one in closed))
