"""Drawn slides on which the embedded bundle earns its certificate, which says so."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

from edgeapl.export.train_demo.pool import drawn_frame, stated_scale
from edgeapl.report.pictures import png_bytes
from edgeapl.sources.synthetic.smear import KINDS

FIRST = 5000
"""Number of the first slide; nothing was trained, chosen or fitted on slides from here on."""

SLIDES = {"apl": 66, "aml": 12, "healthy": 12}
"""59 of APL would be enough if none is cleared; some may have too few cells to count."""

FRAMES = 4
"""About a hundred cells: a slide must have 50 to be cleared at all."""


def draw_labelled(folder: Path, say: Callable[[str], None]) -> None:
    """Write drawn slides to ``slides/`` with their list, and their labels to ``labels.csv``.

    Existing images are kept: drawing takes minutes, and always gives the same.
    """
    slides = folder / "slides"
    slides.mkdir(parents=True, exist_ok=True)
    with (
        (folder / "labels.csv").open("w", encoding="utf-8", newline="") as known,
        (slides / "slides.csv").open("w", encoding="utf-8", newline="") as listed,
    ):
        label_rows, file_rows = csv.writer(known), csv.writer(listed)
        label_rows.writerow(["slide", "label"])
        file_rows.writerow(["slide", "file", "um_per_px"])
        for kind, number in _numbers():
            name = f"{kind}-{number}"
            label_rows.writerow([name, kind.upper()])
            for index in range(FRAMES):
                path = slides / f"{name}-{index}.png"
                if not path.exists():
                    path.write_bytes(png_bytes(drawn_frame(number, index)[1].pixels))
            file_rows.writerows(
                [name, f"{name}-{index}.png", f"{stated_scale(number):.5f}"]
                for index in range(FRAMES)
            )
            say(name)


def _numbers() -> Iterator[tuple[str, int]]:
    for kind, count in SLIDES.items():
        first = FIRST + (KINDS.index(kind) - FIRST) % len(KINDS)
        for number in range(first, first + count * len(KINDS), len(KINDS)):
            yield kind, number
