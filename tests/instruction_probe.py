"""Run under valgrind: does each stage of the front end a few times, between marks.

    valgrind --tool=callgrind --instr-atstart=no python -m tests.instruction_probe MARKS

MARKS is the library made of `tests/instruction_marks.c`.
"""

from __future__ import annotations

import ctypes
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgeapl.model import open_model
from edgeapl.stages.area import judge_tiles
from edgeapl.stages.crop import cut_cells
from edgeapl.stages.focus import Edges
from edgeapl.stages.gate import FieldHistory, examine
from edgeapl.stages.segment import hsv_watershed
from edgeapl.types import Frame
from tests.small_bundle import drawn_field, small_bundle

BLURS = 10

TIMES = 3
"""Once in dozens of runs a count comes out as if most of the stage had not been there; never more
than is true. The largest counts."""


class Here(Executor):
    """Does everything at once: valgrind counts wrongly after a thread has ended."""

    def __init__(self, *_: object) -> None:
        pass

    def submit(self, do: Callable[..., Any], /, *given: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(do(*given, **named))
        return future


def main(marks: ctypes.CDLL) -> None:
    """Do everything once before it counts, then a few times."""
    cv2.setNumThreads(1)
    hsv_watershed.ThreadPoolExecutor = Here  # type: ignore[assignment,attr-defined]
    pixels = np.tile(drawn_field(), (2, 3, 1))  # 400 x 600 px, 12 cells
    frame = Frame(pixels, 0, 0, 0.2, "field.png", "0" * 64)
    plane = pixels.astype(np.float32)
    with (
        tempfile.TemporaryDirectory() as folder,
        open_model(small_bundle(Path(folder) / "bundle").folder) as model,
    ):
        manifest = model.bundle.manifest
        detections = model.segmenter.segment(frame)

        def reference() -> None:
            for _ in range(BLURS):
                cv2.GaussianBlur(plane, (0, 0), 2)

        stages: dict[str, Callable[[], object]] = {
            "reference": reference,
            "gate": lambda: examine(
                frame, manifest.gate, FieldHistory(), Edges(frame.pixels, frame.um_per_px)
            ),
            "tiles": lambda: judge_tiles(frame.pixels, frame.um_per_px, manifest.gate.min_focus),
            "segment": lambda: model.segmenter.segment(frame),
            "crop": lambda: cut_cells(detections, manifest.crop),
        }
        for name, stage in stages.items():
            stage()
            for _ in range(TIMES):
                marks.begin_counting()
                stage()
                marks.end_counting(name.encode())


if __name__ == "__main__":
    main(ctypes.CDLL(sys.argv[1]))
