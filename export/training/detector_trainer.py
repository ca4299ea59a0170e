"""From frames with boxes to a trained detector, and what is written of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from edgeapl import __version__
from edgeapl.bundle.digest import sha256
from edgeapl.export.checkpoints import read_checkpoint
from edgeapl.export.trained_on import FILE as TRAINING_SET
from edgeapl.export.trained_on import digests_document
from edgeapl.export.training.box_files import BoxedImage
from edgeapl.export.training.device import Device
from edgeapl.export.training.duplicates import first_alike
from edgeapl.export.training.frame_pool import FramePool, load_frames
from edgeapl.export.training.initial_weights import start_from
from edgeapl.export.training.loop import Epoch, Fit
from edgeapl.export.training.recipes.eckardt2022_detector import DetectorRecipe
from edgeapl.export.training.run_state import StateFile, tensor_bytes, write_whole
from edgeapl.export.training.split import Split, split_by_patient
from edgeapl.export.training.trainer import STATE, Watcher
from edgeapl.export.training.writer import FIGURES, WEIGHTS
from edgeapl.types import Int64


@dataclass(frozen=True, slots=True, eq=False)
class TrainedDetector:
    """A detector, in evaluation, and how it came to be: the folds, then the one for use."""

    recipe: DetectorRecipe
    pool: FramePool
    device: Device
    module: nn.Module
    rounds: tuple[tuple[Split, tuple[Epoch, ...]], ...]


def train_detector(
    recipe: DetectorRecipe,
    images: Sequence[BoxedImage],
    device: Device,
    out: Path,
    watcher: Watcher,
    *,
    folds: int = 0,
    init: Path | None = None,
) -> TrainedDetector:
    """Train; a run that was killed goes on when it is called again.

    folds : of a cross-validation by image, 0 for none; images that show the same stay together.

    Raises as `trainer.train` does.
    """
    watcher.said("reading frames")
    pool = load_frames(images, recipe.height, recipe.width, watcher.read)
    groups = [str(row) for row in first_alike(pool.pixels, pool.digests)]
    settings = recipe.settings
    labels = dict.fromkeys(groups, "frame")
    splits = split_by_patient(labels, folds=folds, stopping=0, seed=settings.seed, kinds=1)
    given = None if init is None else read_checkpoint(init).digest
    run = _digest(recipe, pool, device, folds, given)
    rounds: list[tuple[Split, tuple[Epoch, ...]]] = []
    module: nn.Module | None = None
    for number, split in enumerate(splits, start=1):
        watcher.begins(split, settings.seed, number, len(splits))
        name = split.name.replace(" ", "-")
        finished = StateFile(out / STATE / f"{name}.done.pt", run)
        state = StateFile(out / STATE / f"{name}.pt", run)
        stored = finished.read()
        if stored is None:
            fitted = Fit(
                name=split.name,
                build=lambda: _built(recipe, init),
                objective=recipe.objective(pool, _rows(groups, split.train), device),
                settings=settings,
                device=device,
                state=state,
                listener=watcher,
                watched=_rows(groups, split.tested),
                chooses=False,
            ).run()
            last = number == len(splits)
            stored = {
                "module": fitted.module.state_dict() if last else None,
                "history": [asdict(each) for each in fitted.history],
            }
            finished.write(stored)
            state.path.unlink(missing_ok=True)
        rounds.append((split, tuple(Epoch(**each) for each in stored["history"])))
        if stored["module"] is not None:
            module = recipe.build()
            module.load_state_dict(stored["module"])
            module.to(device.kind).eval()
    assert module is not None
    return TrainedDetector(recipe, pool, device, module, tuple(rounds))


def write_detector(trained: TrainedDetector, out: Path) -> dict[str, Any]:
    """Write ``weights.pt``, ``training-set.json`` and ``training.json``; returns the figures.

    Raises StorageError.
    """
    recipe, pool = trained.recipe, trained.pool
    document = {
        "schema": 1,
        "research_use_only": True,
        "software": f"edgeapl {__version__}",
        "recipe": recipe.name,
        "source": recipe.source,
        "frames": len(pool),
        "boxes": sum(len(boxes) for boxes in pool.boxes),
        "frame_px": [recipe.height, recipe.width],
        "split_by": "image",
        "settings": asdict(recipe.settings),
        "augmentation": asdict(recipe.augmentation),
        "device": asdict(trained.device),
        "rounds": [
            {"name": split.name, "epochs": [asdict(each) for each in history]}
            for split, history in trained.rounds
        ],
    }
    state = {name: one.detach().cpu() for name, one in trained.module.state_dict().items()}
    write_whole(out / WEIGHTS, tensor_bytes(state))
    write_whole(out / TRAINING_SET, digests_document(set(pool.digests)))
    text = json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n"
    write_whole(out / FIGURES, text.encode())
    return document


def _built(recipe: DetectorRecipe, init: Path | None) -> nn.Module:
    module = recipe.build()
    if init is not None:
        start_from(module, init)
    return module


def _rows(groups: Sequence[str], names: Sequence[str]) -> Int64:
    wanted = set(names)
    rows = [row for row, group in enumerate(groups) if group in wanted]
    return np.array(rows, dtype=np.int64)


def _digest(
    recipe: DetectorRecipe, pool: FramePool, device: Device, folds: int, init: str | None
) -> str:
    content = {
        "recipe": asdict(recipe),
        "device": asdict(device),
        "folds": folds,
        "init": init,
        "frames": [
            (digest, boxes.round(2).tolist())
            for digest, boxes in zip(pool.digests, pool.boxes, strict=True)
        ],
    }
    return sha256(json.dumps(content, sort_keys=True).encode())
