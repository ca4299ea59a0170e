"""Score a folder of many frames and print whether memory and time per frame stay flat.

    python tests/data/measure_folder.py [FOLDER] [--frames 2000] [--slides 1] [--out OUT]

Without FOLDER, frames of 1280 x 960 px are cut from drawn fields; with it, its images are taken in
turn as often as needed (those of one slide that are the same are rejected by the gate). The first
tenth of the time per frame is taken after ten frames of warming up. Where other programs run
meanwhile, processor time tells more than time. Prints one JSON document.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgeapl.journal import Journal
from edgeapl.model import EMBEDDED, open_model
from edgeapl.scoring import ScoreListener, ScoreRequest, score_folder
from edgeapl.sources.discover import SlideInput, has_image_name
from edgeapl.sources.synthetic import draw_frame, slide_recipe
from edgeapl.types import ExaminedFrame, UInt8

WIDTH, HEIGHT = 1280, 960
UM_PER_PX = 0.15
WARM = 10


def drawn(folder: Path, frames: int) -> list[Path]:
    """Cut frames from large fields: 25 overlapping windows of each, turned four ways."""
    recipe = slide_recipe(
        "apl", 1, um_per_px=UM_PER_PX, width=4 * WIDTH, height=4 * HEIGHT, cells=400
    )
    files: list[Path] = []
    for number in range(-(-frames // 100)):
        names = [folder / f"{number:03d}-{at:03d}.jpg" for at in range(100)]
        if not names[-1].exists():  # an earlier run may have left them
            field = draw_frame(recipe, number).pixels
            for at, name in enumerate(names):
                write(name, field, at)
        files += names
    return files[:frames]


def write(path: Path, field: UInt8, at: int) -> None:
    window, turn = divmod(at, 4)
    grid = [(x * WIDTH, y * HEIGHT) for x in range(4) for y in range(4)]
    grid += [(x * WIDTH + WIDTH // 2, y * HEIGHT + HEIGHT // 2) for x in range(3) for y in range(3)]
    left, top = grid[window]
    part = field[top : top + HEIGHT, left : left + WIDTH]
    pixels = np.ascontiguousarray(part[:: -1 if turn & 1 else 1, :: -1 if turn & 2 else 1])
    done, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    assert done
    path.write_bytes(data.tobytes())


def folder_of(files: list[Path], folder: Path, frames: int, slides: int) -> Path:
    """Lay out slides of links to the images."""
    for number in range(frames):
        file = files[number % len(files)]
        slide = folder / f"slide-{number * slides // frames:03d}"
        slide.mkdir(parents=True, exist_ok=True)
        (slide / f"{number:05d}{file.suffix}").symlink_to(file.resolve())
    return folder


class Watch:
    """Notes when each frame was finished."""

    def __init__(self) -> None:
        self.times: list[tuple[float, float]] = []
        self.rejected = 0
        self.cells = 0
        self.peaks: list[int] = []

    def note(self) -> None:
        self.times.append((time.perf_counter(), time.process_time()))

    def on_frame(self, slide: SlideInput, examined: ExaminedFrame) -> None:
        self.note()
        self.rejected += bool(examined.rejected)
        self.cells += len(examined.detections)
        self.peaks.append(peak_mib())

    def summary(self) -> dict[str, Any]:
        each = 1000 * np.diff(self.times, axis=0)[WARM:]
        tenth = max(1, len(each) // 10)
        (first, first_cpu), (last, last_cpu) = each[:tenth].mean(axis=0), each[-tenth:].mean(axis=0)
        return {
            "frames": len(self.times) - 1,
            "rejected": self.rejected,
            "cells": self.cells,
            "ms_per_frame_first_tenth": round(float(first), 1),
            "ms_per_frame_last_tenth": round(float(last), 1),
            "last_over_first": round(float(last / first), 3),
            "cpu_ms_per_frame_first_tenth": round(float(first_cpu), 1),
            "cpu_ms_per_frame_last_tenth": round(float(last_cpu), 1),
            "cpu_last_over_first": round(float(last_cpu / first_cpu), 3),
            "peak_mib_after_first_tenth": self.peaks[min(len(self.peaks) - 1, WARM + tenth)],
            "peak_mib": peak_mib(),
        }


def peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--slides", type=int, default=1)
    parser.add_argument("--out", type=Path, help="where frames and results go; else a temporary")
    parser.add_argument("--bundle", type=Path, default=EMBEDDED)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as temporary:
        home = (options.out or Path(temporary)).resolve()
        files: list[Path]
        if options.folder is None:
            (home / "drawn").mkdir(parents=True, exist_ok=True)
            # In a process of its own: large fields would count in the peak.
            with ProcessPoolExecutor(1, get_context("spawn")) as other:
                files = other.submit(drawn, home / "drawn", options.frames).result()
        else:
            files = sorted(f for f in options.folder.rglob("*") if has_image_name(f.name))
        name = f"{options.slides}-slides"
        folder = folder_of(files, home / name, options.frames, options.slides)
        watch = Watch()
        scale = UM_PER_PX if options.folder is None else None
        request = ScoreRequest(folder, home / f"results-{name}", um_per_px=scale)
        with (
            open_model(options.bundle) as model,
            Journal.open(home / f"{name}.sqlite3") as journal,
        ):
            watch.note()
            score_folder(request, model, journal, ScoreListener(on_frame=watch.on_frame))
    print(json.dumps(watch.summary(), indent=1))


if __name__ == "__main__":
    main()
