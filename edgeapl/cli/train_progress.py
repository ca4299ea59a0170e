"""The progress of `edgeapl train` on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edgeapl.cli.output import console
from edgeapl.cli.train_tables import figure_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from edgeapl.export.training.loop import Epoch
    from edgeapl.export.training.split import Split


class _TrainingTerminal:
    """Shows a training on a terminal; implements Watcher."""

    def __init__(
        self, terminal: Console, progress: Progress | None, epochs: int, *, by_image: bool
    ) -> None:
        self._terminal = terminal
        self._progress = progress
        self._epochs = epochs
        self._task: TaskID | None = None
        self._round = "model"
        self._rounds = self._number = 1
        self._whose = "images" if by_image else "patients"

    def said(self, text: str) -> None:
        self._terminal.print(text, markup=False)

    def read(self, done: int, images: int) -> None:
        self._show("reading", done, images)

    def begins(self, split: Split, seed: int, number: int, rounds: int) -> None:
        self._round = f"{split.name}, seed {seed}"
        self._rounds = rounds
        self._number = number
        sides = f"{len(split.train)} {self._whose} to learn from"
        if split.stopping:
            sides += f", {len(split.stopping)} to stop by"
        if split.tested:
            sides += f", {len(split.tested)} to test"
        self.said(f"round {number} of {rounds}: {self._round}, {sides}")

    def stepped(self, epoch: int, step: int, steps: int) -> None:
        whole = self._epochs * steps
        done = (self._number - 1) * whole + (epoch - 1) * steps + step
        self._show(f"{self._round}, epoch {epoch}", done, self._rounds * whole)

    def ended(self, number: int, epoch: Epoch) -> None:
        text = f"epoch {number}: loss {epoch.loss:.4f}, area {figure_text(epoch.area)}"
        if epoch.watched_loss is not None:
            text += f"; not learned from: loss {epoch.watched_loss:.4f}"
            text += f", area {figure_text(epoch.watched_area)}"
        self.said(f"{text} ({epoch.seconds:.1f} s)")

    def _show(self, text: str, done: int, total: int) -> None:
        if self._progress is None:
            return
        if self._task is None:
            self._task = self._progress.add_task(text, total=total)
        self._progress.update(self._task, description=text, completed=done, total=total)
        if text == "reading" and done == total:
            self._progress.remove_task(self._task)
            self._task = None


@contextmanager
def watched(epochs: int, *, by_image: bool = False) -> Iterator[_TrainingTerminal]:
    """Show a bar with the time left on a terminal, plain lines elsewhere."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    terminal = console()
    if not terminal.is_terminal:
        yield _TrainingTerminal(terminal, None, epochs, by_image=by_image)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with Progress(*columns, console=terminal, transient=True) as progress:
        yield _TrainingTerminal(terminal, progress, epochs, by_image=by_image)
