"""`edgeapl demo`: a drawn slide in the real pipeline."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeapl.cli.choices import chosen_journal, chosen_results, flag_command
from edgeapl.cli.options import (
    FailOnFlagOption,
    JournalOption,
    JsonOption,
    OnFlagOption,
    OutOption,
)
from edgeapl.cli.output import console


def demo(
    kind: Annotated[str, typer.Argument(help="apl, aml or healthy.")] = "apl",
    seed: Annotated[int, typer.Option(min=0, help="Another seed draws another slide.")] = 1,
    out: OutOption = None,
    journal: JournalOption = None,
    as_json: JsonOption = False,
    fail_on_flag: FailOnFlagOption = False,
    on_flag: OnFlagOption = None,
) -> None:
    """Examine a drawn slide with the demonstration bundle.

    Everything runs on this machine: nothing is downloaded or sent. Research use only.
    """
    from edgeapl.cli.station_run import run_station
    from edgeapl.config import StationConfig
    from edgeapl.model import EMBEDDED
    from edgeapl.station.options import StationOptions

    address = f"demo://{kind}?seed={seed}"
    config = StationConfig()
    console().print(f"watching {address}: a drawn smear, not a patient's", markup=False)
    options = StationOptions(
        camera=address,
        out=chosen_results(out, config, "demo"),
        on_flag=flag_command(on_flag),
        recall=False,
    )
    result = run_station(
        address,
        f"demo-{kind}-{seed}",
        options,
        config=config,
        bundle=EMBEDDED,
        journal=chosen_journal(journal, config),
        as_json=as_json,
        interactive=False,
        again=True,
    )
    raise typer.Exit(result.exit_code(fail_on_flag=fail_on_flag))
