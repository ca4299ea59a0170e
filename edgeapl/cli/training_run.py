"""One network after another trained, and what each gave said; for `edgeapl train`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeapl.cli.output import console
from edgeapl.cli.train_progress import watched
from edgeapl.cli.train_tables import print_trained

if TYPE_CHECKING:
    from edgeapl.export.training.cell_pool import CellPool
    from edgeapl.export.training.device import Device
    from edgeapl.export.training.labelled_set import LabelledSet
    from edgeapl.export.training.plan import TrainingRequest
    from edgeapl.export.training.recipe import TrainingRecipe
    from edgeapl.export.training.system import System
    from edgeapl.export.training.trainer import Trained


class TrainingRun:
    """Trains one network after another, and says what each gave.

    Parameters
    ----------
    trials : of the search for settings before each network; 0 for none.

    documents : what each network gave, as plain values.
    """

    def __init__(
        self, request: TrainingRequest, device: Device, as_json: bool, trials: int
    ) -> None:
        self._request = request
        self._device = device
        self._as_json = as_json
        self._trials = trials
        self.documents: list[dict[str, Any]] = []

    def train(
        self,
        recipe: TrainingRecipe,
        labelled: LabelledSet,
        out: Path,
        pool: CellPool | None = None,
        *,
        head: bool = False,
    ) -> Trained:
        """Train a network into its folder. head : it judges slides, by other networks' answers."""
        from dataclasses import replace

        from edgeapl.export.training.page import write_page
        from edgeapl.export.training.search import search
        from edgeapl.export.training.trainer import read_cells, train
        from edgeapl.export.training.writer import write_trained

        request = replace(self._request, out=out)
        if head:
            request = replace(request, init=None)
        with watched(recipe.settings.epochs, by_image=labelled.by_image) as watcher:
            watcher.said(f"{recipe.name} on {self._device.text}")
            if self._trials and not head:
                pool = pool or read_cells(recipe, labelled, request, watcher)
                recipe = search(recipe, pool, self._device, request, self._trials, watcher)
            trained = train(recipe, labelled, self._device, request, watcher, pool)
        document = write_trained(trained, out)
        page = write_page(trained, document, out)
        self.documents.append({**document, "folder": str(out), "page": str(page)})
        if not self._as_json:
            print_trained(document, out, exported=recipe.bundle is not None)
        return trained

    def train_heads(self, system: System, parts: Sequence[Trained]) -> None:
        """Train what judges slides, where the labels allow it, and write the whole system."""
        from edgeapl.errors import InputError

        try:
            found = system.heads(parts, self._request.positive) if system.heads else ()
        except InputError as error:
            console().print(f"cells alone are judged: {error}", markup=False, soft_wrap=True)
            return
        of_slides = []
        for each in found:
            folder = self._request.out / part_of(each.recipe)
            of_slides.append(
                self.train(each.recipe, parts[0].labelled, folder, each.pool, head=True)
            )
        words = system.write(parts, of_slides, self._request.out)
        if not self._as_json:
            line = f"whole system: edgeapl export {' '.join(words)} --out BUNDLE"
            console().print(line, markup=False, soft_wrap=True)


def part_of(recipe: TrainingRecipe) -> str:
    """Return the name of a network within its system: its folder."""
    return recipe.name.partition("-")[2].replace("-", "_")


def read_labelled(
    recipe: TrainingRecipe, slides: Path, labels: Path | None, *, crops: bool
) -> LabelledSet:
    """Return the images to learn from. Raises UsageError where it is not said what they show."""
    from edgeapl.errors import UsageError
    from edgeapl.export.training.cell_folders import read_cell_folders
    from edgeapl.export.training.labelled_set import read_labelled_set

    if recipe.judges == "cells" and not crops:
        mend = "give --crops and images of one cell each, in folders that name their class"
        raise UsageError("cells have no classes", recipe.name, mend)
    if labels is not None:
        return read_labelled_set(slides, labels, crops=crops, leave_out=recipe.crop.leave_out)
    if recipe.judges != "cells":
        mend = "give --labels, a CSV with slide,label or patient,label"
        raise UsageError("diagnoses are missing", recipe.name, mend)
    return read_cell_folders(slides, recipe.crop.leave_out)
