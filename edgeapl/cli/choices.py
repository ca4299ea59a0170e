"""What the shared options choose: the bundle with its engines, the journal, the result folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from edgeapl.cli.output import one_line

if TYPE_CHECKING:
    from rich.console import Console

    from edgeapl.bundle.trust import Trust
    from edgeapl.config import StationConfig
    from edgeapl.model import Model, ModelRequest
    from edgeapl.model.resolution import ResolvedModel
    from edgeapl.station.flag_command import FlagCommand
    from edgeapl.station.hosted_model import HostedModel

Opened = TypeVar("Opened", bound="Model | HostedModel")

FLAGGED = 10
"""Exit code for --fail-on-flag: apart from all error codes."""


def chosen_bundle(named: Path | None, station: StationConfig, *, drawn: bool = False) -> Path:
    """Return the bundle to use: from the command line, the station file, or embedded.

    drawn : the images are drawn, so the demonstration is meant where none is named.
    """
    from edgeapl.model import BLOOD_CELLS, EMBEDDED

    return named or station.bundle or (EMBEDDED if drawn else BLOOD_CELLS)


def station_trust(station: StationConfig) -> Trust:
    """Return what the station file demands of bundles and engines."""
    from edgeapl.bundle.trust import read_trust

    return read_trust(station.trusted_keys, station.oldest_versions)


def trust_here(named: Path | None) -> Trust:
    """Return what the station file demands: the named one, or the working folder's.

    For commands that open a bundle and need nothing else from the station file.
    """
    from edgeapl.config import load_station

    return station_trust(load_station(named))


@contextmanager
def opened_model(
    named: Path | None,
    station: StationConfig,
    engines: str,
    terminal: Console,
    segmenter: str | None = None,
) -> Iterator[Model]:
    """Open the chosen bundle and engines for folders, and print which they are."""
    from edgeapl.model.opener import open_resolved

    opened = _opened(
        open_resolved, named, station, engines, terminal, segmenter=segmenter, pin_cores=True
    )
    with opened as model:
        _announce(terminal, model, named, station)
        yield model


@contextmanager
def hosted_model(
    named: Path | None,
    station: StationConfig,
    engines: str,
    terminal: Console,
    segmenter: str | None = None,
) -> Iterator[HostedModel]:
    """Do the same with the networks in processes of their own."""
    from edgeapl.station.hosted_model import open_hosted

    with _opened(open_hosted, named, station, engines, terminal, segmenter=segmenter) as hosted:
        _announce(terminal, hosted.model, named, station)
        yield hosted


def _announce(terminal: Console, model: Model, named: Path | None, station: StationConfig) -> None:
    from edgeapl.cli.verdicts import announce_bundle
    from edgeapl.model import is_embedded

    announce_bundle(terminal, model, embedded=is_embedded(chosen_bundle(named, station)))


@contextmanager
def _opened(
    opener: Callable[[ResolvedModel], Opened],
    named: Path | None,
    station: StationConfig,
    engines: str,
    terminal: Console,
    *,
    segmenter: str | None = None,
    pin_cores: bool = False,
) -> Iterator[Opened]:
    from edgeapl.model.fallback import open_with_fallback

    request = model_request(named, station, engines, segmenter, pin_cores=pin_cores)
    opened, resolved = open_with_fallback(request, opener)
    with opened:
        for refused in resolved.chosen.refused:
            terminal.print(f"not used: {one_line(str(refused))}", style="yellow", markup=False)
        terminal.print(f"using {resolved.chosen.text}", markup=False, soft_wrap=True)
        yield opened


def model_request(
    named: Path | None,
    station: StationConfig,
    engines: str,
    segmenter: str | None = None,
    *,
    pin_cores: bool = False,
) -> ModelRequest:
    """Return what model the options ask for."""
    from edgeapl.model import ModelRequest

    wanted: Any = engines if engines in ("auto", "none") else Path(engines)
    return ModelRequest(
        chosen_bundle(named, station),
        engines=wanted,
        threads=station.threads,
        workers=station.workers,
        pin_cores=pin_cores,
        segmenter=segmenter,
        trust=station_trust(station),
    )


def flag_command(text: str | None) -> FlagCommand | None:
    """Return the program to run for flags. Raises ConfigError when there is none."""
    from edgeapl.station.flag_command import FlagCommand

    return None if text is None else FlagCommand.parse(text)


def chosen_journal(named: Path | None, station: StationConfig) -> Path:
    """Return the journal to use."""
    from edgeapl.journal import default_journal_path

    return named or station.journal or default_journal_path()


def chosen_results(named: Path | None, station: StationConfig, name: str) -> Path:
    """Return the result folder for an input with this name."""
    return named or (station.results or Path("edgeapl-results")) / name
