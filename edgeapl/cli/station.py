"""`edgeapl station`: which bundle a station uses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from edgeapl.cli.choices import chosen_journal, opened_model
from edgeapl.cli.options import EnginesOption, JournalOption, JsonOption, StationOption
from edgeapl.cli.output import RESEARCH_USE_ONLY, console, one_line, print_json

app = typer.Typer(help="The bundle that a station uses.", no_args_is_help=True)

STATION_FILE = "what the station file names, or an embedded bundle"


@app.callback()
def station_group() -> None:
    """Choose the bundle that a station uses, and go back to the last good one."""


@app.command("use")
def use(
    bundle: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Argument(help="Bundle to use from the next slide on."),
    ] = None,
    back: Annotated[
        bool, typer.Option("--back", help="Go back to the bundle before this one.")
    ] = False,
    engines: EnginesOption = "auto",
    journal: JournalOption = None,
    station: StationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have the station use another bundle from its next slide on. Research use only.

    The bundle must pass its self-test and be trusted. A copy is kept beside the journal, and the
    choice is a row of the journal. Without BUNDLE and --back: say which one is used.
    """
    from edgeapl.config import load_station
    from edgeapl.errors import UsageError
    from edgeapl.journal import Journal
    from edgeapl.station.bundle_history import BundleHistory, go_back, use_bundle

    if bundle is not None and back:
        raise UsageError("a bundle and --back", bundle, "give one of them")
    config = load_station(station)
    path = chosen_journal(journal, config)
    if bundle is not None:
        with (
            opened_model(bundle, config, engines, console()) as model,
            Journal.open(path) as record,
        ):
            before = BundleHistory(record.path).current()
            chosen = use_bundle(record, model.bundle)
        text = f"the station uses {chosen.text} from its next slide on"
        last = STATION_FILE if before is None else before.text
        text += f"; edgeapl station use --back goes back to {last}"
        document = {"uses": chosen.digest, "before": None if before is None else before.digest}
    elif back:
        with Journal.open(path) as record:
            gone, now = go_back(record)
        now_text = STATION_FILE if now is None else now.text
        text = f"the station goes back from {gone.text} to {now_text} from its next slide on"
        document = {"uses": None if now is None else now.digest, "before": gone.digest}
    else:
        history = BundleHistory(path)
        current = history.current()
        text = f"the station uses {STATION_FILE if current is None else current.text}"
        if current is not None:
            earlier = history.previous
            text += f"; before that {STATION_FILE if earlier is None else earlier.text}"
        document = {"uses": None if current is None else current.digest}
    if as_json:
        print_json({"schema": 1, "research_use_only": True, "journal": str(path), **document})
        return
    typer.echo(one_line(text))
    typer.echo(RESEARCH_USE_ONLY)
