"""Opens the bundle that a station uses, and notices between slides when another is chosen."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from edgeapl.cli.choices import chosen_bundle, hosted_model
from edgeapl.cli.output import one_line

if TYPE_CHECKING:
    from rich.console import Console

    from edgeapl.config import StationConfig
    from edgeapl.station.bundle_history import StationBundle
    from edgeapl.station.hosted_model import HostedModel

ASK_S = 2.0
"""Between two looks into the journal."""


class BundleSwitch:
    """Which bundle a running station has open, and whether it should have another one.

    Parameters
    ----------
    named : on the command line: it is used, whatever was chosen.
    journal : with the choices.
    drawn : the camera's frames are drawn, so without a name or a choice the demonstration is meant.
    """

    def __init__(
        self,
        named: Path | None,
        journal: Path,
        config: StationConfig,
        engines: str,
        segmenter: str | None,
        drawn: bool = False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        from edgeapl.station.bundle_history import BundleHistory

        self._named = named
        self._journal = journal
        self._history = BundleHistory(journal)
        self._config = config
        self._engines = engines
        self._segmenter = segmenter
        self._drawn = drawn
        self._now = now
        self._asked = now()
        self._open: StationBundle | None = None

    def open_model(self, opened: ExitStack, terminal: Console) -> HostedModel:
        """Open the bundle in use; one that cannot be opened gives way to the last good one.

        Raises what opening the one that was named, or the station file's, raises.
        """
        from edgeapl.errors import DeadlineError, ModelError
        from edgeapl.journal import Journal
        from edgeapl.station.bundle_history import refuse_bundle

        while True:
            chosen = None if self._named is not None else self._history.current()
            folder = (
                chosen_bundle(self._named, self._config, drawn=self._drawn)
                if chosen is None
                else Path(chosen.folder)
            )
            if chosen is not None:
                text = f"chosen by edgeapl station use: {chosen.text}, {chosen.signed_by}"
                terminal.print(one_line(text), markup=False, soft_wrap=True)
            try:
                hosted = opened.enter_context(
                    hosted_model(folder, self._config, self._engines, terminal, self._segmenter)
                )
            except (ModelError, DeadlineError) as error:
                if chosen is None:
                    raise
                text = f"{chosen.text} cannot be used, so the last good bundle is: {error}"
                terminal.print(one_line(text), style="bold red", markup=False, soft_wrap=True)
                with Journal.open(self._journal) as journal:
                    refuse_bundle(journal, chosen, str(error))
                continue
            self._open = chosen
            return hosted

    def wanted(self) -> bool:
        """Whether another bundle than the open one was chosen. Raises StorageError."""
        if self._named is not None or self._now() - self._asked < ASK_S:
            return False
        self._asked = self._now()
        return self._history.current() != self._open
