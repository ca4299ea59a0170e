"""How the networks classify the cells of the proof, if their folders name the classes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeapl.export.recipes.recipe import Images, NetworkRecipe
from edgeapl.protocols import Engine
from edgeapl.types import UInt8

AT_ONCE = 16
FEWEST = 3
"""Fewest misclassified cells, being most of a folder, that cause a warning."""


@dataclass(frozen=True, slots=True)
class Confusion:
    """How often cells of each folder were given each class.

    network : that classified. classes : in the order of its outputs.
    rows : folder, the class with its name, and the number of cells given each class.
    right : cells classified as their folder says, out of cells. swapped : the same with red and
        blue
    exchanged.
    """

    network: str
    classes: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[int, ...]], ...]
    right: int
    cells: int
    swapped: int

    def document(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "network": self.network,
            "classes": list(self.classes),
            "folders": [
                {"folder": folder, "class": name, "called": list(counts)}
                for folder, name, counts in self.rows
            ],
            "cells": self.cells,
            "right": self.right,
            "right_with_red_and_blue_swapped": self.swapped,
        }

    def doubts(self) -> Iterator[str]:
        """Yield a warning for each mostly misclassified folder, and for swapped colours."""
        for folder, name, counts in self.rows:
            most = self.classes[int(np.argmax(counts))]
            if most != name and max(counts) >= FEWEST and 2 * max(counts) > sum(counts):
                yield (
                    f"{self.network}: {max(counts)} of {sum(counts)} cells in folder {folder!r} "
                    f"are classified as {most}: are the classes in the order of the training?"
                )
        if self.swapped - self.right >= max(FEWEST, self.cells // 10):
            yield (
                f"{self.network}: {self.right} of {self.cells} cells are classified like their "
                f"folders, with red and blue exchanged {self.swapped}: is colour_order right?"
            )


def confusion(
    network: NetworkRecipe, engine: Engine, crops: UInt8, folders: Sequence[str]
) -> Confusion | None:
    """Classify all cells whose folders have names of the network's classes.

    Parameters
    ----------
    crops : uint8 (N, size, size, 3) RGB. folders : name of each one's folder.

    Returns None if fewer than two of its classes have a folder, or it takes no images.
    """
    if not isinstance(network.input, Images) or network.after or not network.classes:
        return None
    named = {folder: class_of(folder, network.classes) for folder in dict.fromkeys(folders)}
    there = [row for row, folder in enumerate(folders) if named[folder]]
    if len({named[folders[row]] for row in there}) < 2:
        return None
    wanted = np.array([network.classes.index(named[folders[row]]) for row in there])
    called = _called(network, engine, crops[there])
    swapped = _called(network, engine, np.ascontiguousarray(crops[there][..., ::-1]))
    rows = []
    for folder, name in sorted((f, c) for f, c in named.items() if c):
        here = called[[folders[row] == folder for row in there]]
        counts = np.bincount(here, minlength=len(network.classes))
        rows.append((folder, name, tuple(int(count) for count in counts)))
    return Confusion(
        network=network.name,
        classes=network.classes,
        rows=tuple(rows),
        right=int((called == wanted).sum()),
        cells=len(there),
        swapped=int((swapped == wanted).sum()),
    )


def class_of(folder: str, classes: Sequence[str]) -> str:
    """Return the class with a folder's name; empty if there is none, or several."""
    words = _words(folder)
    exact = [name for name in classes if _words(name) == words]
    part = [name for name in classes if set(_words(name)) <= set(words)]
    found = exact or part
    return found[0] if len(found) == 1 else ""


def _words(name: str) -> tuple[str, ...]:
    parts = re.split(r"[^0-9a-z]+", name.casefold())
    return tuple(part.removesuffix("s") for part in parts if part)


def _called(network: NetworkRecipe, engine: Engine, crops: UInt8) -> NDArray[np.intp]:
    """Return the number of the class given to each cell."""
    found = []
    for start in range(0, len(crops), AT_ONCE):
        answers = engine.run({network.input_name: crops[start : start + AT_ONCE]})
        found.append(np.stack([answers[name] for name in network.classes], axis=1).argmax(axis=1))
    return np.concatenate(found)
