"""`edgeapl train eckardt2022 --part detector`: from boxes to the network that finds cells."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeapl.cli.output import RESEARCH_USE_ONLY, console, print_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeapl.export.training.device import Device
    from edgeapl.export.training.trainer import Watcher

PART = "detector"


def train_detector(
    slides: Path,
    boxes: Path | None,
    out: Path,
    device: Device,
    watched: Callable[[int], AbstractContextManager[Watcher]],
    *,
    labels: tuple[str, ...],
    size: int | None,
    folds: int,
    init: Path | None,
    as_json: bool,
    changes: dict[str, Any],
) -> None:
    """Train it and write its weights."""
    from edgeapl.errors import UsageError
    from edgeapl.export.training import detector_trainer
    from edgeapl.export.training.box_files import HOW, read_boxes
    from edgeapl.export.training.overrides import with_changes
    from edgeapl.export.training.recipes.eckardt2022_detector import recipe

    if boxes is None:
        raise UsageError("a detector learns from boxes", "--part detector", f"--boxes: {HOW}")
    found = recipe(size)
    found = replace(found, settings=with_changes(found.settings, **changes))
    images = read_boxes(boxes, slides, labels)
    folder = out / PART
    with watched(found.settings.epochs) as watcher:
        watcher.said(f"{found.name} on {device.text}")
        trained = detector_trainer.train_detector(
            found, images, device, folder, watcher, folds=folds, init=init
        )
    document = detector_trainer.write_detector(trained, folder)
    if as_json:
        print_json({**document, "folder": str(folder)})
        return
    line = f"next: edgeapl export eckardt2022 --weights detector={folder}/weights.pt and the others"
    console().print(line, markup=False, soft_wrap=True)
    console().print(RESEARCH_USE_ONLY)
