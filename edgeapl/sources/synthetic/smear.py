"""Composes a field of view: red cells, platelets, nucleated cells, optics, camera."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeapl.errors import EndOfSource
from edgeapl.sources.synthetic.cell_types import CELL_TYPES
from edgeapl.sources.synthetic.cells import DrawnCell, draw_cell
from edgeapl.sources.synthetic.red_cells import draw_red_cells
from edgeapl.sources.synthetic.shapes import Random, blob
from edgeapl.sources.synthetic.stain import Stain, draw_stain
from edgeapl.types import Float32, UInt8, UInt16

OTHERS = {
    "neutrophil": 0.3, "band": 0.1, "metamyelocyte": 0.08, "myelocyte": 0.1, "lymphocyte": 0.17,
    "monocyte": 0.06, "eosinophil": 0.04, "basophil": 0.01, "erythroblast": 0.1,
    "plasma_cell": 0.02, "smudge": 0.02,
}  # fmt: skip

KINDS = ("apl", "aml", "healthy")

Box = tuple[int, int, int, int]
"""x0, y0, x1, y1 in px, the last two outside."""


@dataclass(frozen=True, slots=True)
class SlideRecipe:
    """What a drawn slide consists of; frames of one recipe belong to one smear.

    mix : cell type to its share. stain : of the whole slide. um_per_px : scale.
    width, height : of a frame, px. cells : mean number of nucleated cells in a frame.
    red_cells : share of the field covered by red cells. blur_um : sigma of the focus blur, µm.
    noise : of the camera, grey levels. vignette : loss of light in the corners, 0 to 1.
    seed : frame `n` is drawn from (seed, n).
    """

    kind: str
    mix: dict[str, float]
    stain: Stain
    um_per_px: float
    width: int
    height: int
    cells: float
    red_cells: float
    blur_um: float
    noise: float
    vignette: float
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class SyntheticFrame:
    """A drawn field and everything in it.

    pixels : uint8 (H, W, 3) RGB. boxes : float32 (N, 4), x0 y0 x1 y1 px, half-open.
    labels : uint16 (H, W), row i is i + 1. classes : N cell types. auer_rods : bool (N,).
    """

    pixels: UInt8
    boxes: Float32
    labels: UInt16
    classes: tuple[str, ...]
    auer_rods: NDArray[np.bool_]


def slide_recipe(
    kind: str,
    seed: int,
    *,
    um_per_px: float = 0.15,
    width: int = 1280,
    height: int = 960,
    cells: float = 24.0,
) -> SlideRecipe:
    """Draw a slide's recipe: its mix of cells, stain and optics, by kind and seed.

    Raises ValueError for a kind that is not in `KINDS`.
    """
    if kind not in KINDS:
        raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r}")
    random = np.random.default_rng([seed, KINDS.index(kind), 1])
    return SlideRecipe(
        kind=kind,
        mix=_mix(kind, random),
        stain=draw_stain(random),
        um_per_px=um_per_px,
        width=width,
        height=height,
        cells=cells,
        red_cells=random.uniform(0.15, 0.4),
        blur_um=random.uniform(0.08, 0.2),
        noise=random.uniform(1, 3.5),
        vignette=random.uniform(0, 0.2),
        seed=seed,
    )


def _mix(kind: str, random: Random) -> dict[str, float]:
    """Return shares of cell types: APL and AML at diagnosis, healthy marrow or blood (WHO 2017)."""
    others = {name: share * random.gamma(4, 0.25) for name, share in OTHERS.items()}
    mix = {"promyelocyte": random.uniform(0, 0.04), "myeloblast": random.uniform(0, 0.03)}
    if kind == "apl":
        share = random.uniform(0.4, 0.9)
        microgranular = random.uniform() < 0.25
        main = "apl_microgranular" if microgranular else "apl_hypergranular"
        minor = "apl_hypergranular" if microgranular else "apl_microgranular"
        mix |= {main: 0.85 * share, minor: 0.15 * share, "myeloblast": random.uniform(0, 0.1)}
    if kind == "aml":
        share = random.uniform(0.35, 0.9)
        mix |= {"myeloblast": share, "promyelocyte": random.uniform(0, 0.06)}
    rest = max(0.05, 1 - sum(mix.values()))
    total = sum(others.values())
    mix |= {name: rest * share / total for name, share in others.items()}
    whole = sum(mix.values())
    return {name: share / whole for name, share in mix.items()}


def draw_frame(
    recipe: SlideRecipe, index: int, stop: threading.Event | None = None
) -> SyntheticFrame:
    """Draw one field; the same recipe and index give the same pixels.

    stop : once set, raises EndOfSource instead.
    """
    random = np.random.default_rng([recipe.seed, KINDS.index(recipe.kind), 2, index])
    density = draw_red_cells(recipe, random)
    labels = np.zeros((recipe.height, recipe.width), dtype=np.uint16)
    names = list(recipe.mix)
    shares = np.array([recipe.mix[name] for name in names])
    classes: list[str] = []
    rods: list[bool] = []
    boxes: list[Box] = []
    for _ in range(random.poisson(recipe.cells)):
        _go_on(stop)
        name = names[int(random.choice(len(names), p=shares))]
        cell = draw_cell(CELL_TYPES[name], recipe.stain, recipe.um_per_px, random)
        box = _place(density, labels, cell, len(classes) + 1, random)
        if box is not None:
            boxes.append(box)
            classes.append(name)
            rods.append(cell.auer_rods)
    _platelets(density, recipe, random)
    _go_on(stop)
    pixels = _expose(density, recipe, random, stop)
    placed = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    return SyntheticFrame(pixels, placed, labels, tuple(classes), np.array(rods, dtype=bool))


def _go_on(stop: threading.Event | None) -> None:
    if stop is not None and stop.is_set():
        raise EndOfSource


def _place(
    density: Float32, labels: UInt16, cell: DrawnCell, number: int, random: Random
) -> Box | None:
    """Lay a cell where it hardly covers others, and return its box; None after some tries."""
    height, width = labels.shape
    side = len(cell.mask)
    for _ in range(12):
        x = int(random.integers(-side // 4, max(1, width - 3 * side // 4)))
        y = int(random.integers(-side // 4, max(1, height - 3 * side // 4)))
        rows, columns = slice(max(y, 0), y + side), slice(max(x, 0), x + side)
        seen = labels[rows, columns]
        inner = (
            slice(max(-y, 0), max(-y, 0) + seen.shape[0]),
            slice(max(-x, 0), max(-x, 0) + seen.shape[1]),
        )
        mask = cell.mask[inner]
        own = mask > 0.5
        if own.sum() < 0.5 * (cell.mask > 0.5).sum() or (seen[own] > 0).mean() > 0.03:
            continue
        cover = mask[..., None]
        density[rows, columns] = density[rows, columns] * (1 - cover) + cell.density[inner]
        shown = own & (seen == 0)  # stays its own: later cells never cover it
        seen[shown] = number
        ys, xs = np.nonzero(shown)
        left, top = max(x, 0), max(y, 0)
        return (left + xs.min(), top + ys.min(), left + xs.max() + 1, top + ys.max() + 1)
    return None


def _platelets(density: Float32, recipe: SlideRecipe, random: Random) -> None:
    """Scatter platelets of 2 to 3.5 µm, purple and granular."""
    for _ in range(random.poisson(6)):
        radius = random.uniform(1.0, 1.75) / recipe.um_per_px
        side = int(2.6 * radius) + 6
        x = int(random.integers(0, max(1, recipe.width - side)))
        y = int(random.integers(0, max(1, recipe.height - side)))
        mask = blob(side, (side / 2, side / 2), radius, random, wobble=0.2, stretch=1.3)
        amount = random.uniform(0.35, 0.7) * mask[..., None]
        density[y : y + side, x : x + side] += amount * recipe.stain.dyes["azurophil"]


def _expose(
    density: Float32, recipe: SlideRecipe, random: Random, stop: threading.Event | None
) -> UInt8:
    """Pass light through (Beer-Lambert), blur, darken the corners, add the camera's noise."""
    light = recipe.stain.background * np.power(np.float32(10), -density)
    _go_on(stop)
    blur = max(recipe.blur_um / recipe.um_per_px, 0.3)
    light = np.asarray(cv2.GaussianBlur(light, (0, 0), blur), dtype=np.float32)
    rows, columns = np.ogrid[-1 : 1 : recipe.height * 1j, -1 : 1 : recipe.width * 1j]
    fall = 1 - recipe.vignette * (rows**2 + columns**2) / 2
    light = light * fall[..., None].astype(np.float32)
    _go_on(stop)
    light += random.normal(0, recipe.noise, light.shape).astype(np.float32)
    return np.asarray(np.clip(np.rint(light), 0, 255), dtype=np.uint8)
