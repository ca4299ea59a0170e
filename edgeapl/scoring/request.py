"""What to score, whom to inform of progress, and the result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeapl import __version__
from edgeapl.model import Model
from edgeapl.report.stored_records import StoredRecords
from edgeapl.scoring.joint_tables import JointTables
from edgeapl.scoring.part import Part
from edgeapl.sources.discover import SlideInput
from edgeapl.types import ExaminedFrame

SCHEMA = 1
"""Version of the JSON documents; raised when a field is removed or changes its meaning."""


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """What to score, and how.

    folder : images, or sub-folders with images, one per slide.
    out : result folder; created if missing.
    crops : every image is one cell.
    slide_list : CSV with the columns slide and file; None to look for slides.csv.
    slide_from : pattern that finds the slide in each image's name; None to go by folders.
    um_per_px : scale of all images, µm per px; None to measure it.
    batch_size : cells per network run; None for the best one for the model.
    part : of the slides; None for all of them.
    """

    folder: Path
    out: Path
    crops: bool = False
    slide_list: Path | None = None
    slide_from: str | None = None
    um_per_px: float | None = None
    batch_size: int | None = None
    part: Part | None = None


@dataclass(slots=True)
class ScoreListener:
    """Callbacks that report progress.

    No verdict is computed before its slide is finished: doing so for every frame would take longer
    with each one.

    on_kept : tiles of a scan were examined by an earlier run. on_refused : why some that it kept
    are examined again; comes from other threads too.
    """

    on_slides: Callable[[Sequence[SlideInput]], None] = lambda slides: None
    on_frame: Callable[[SlideInput, ExaminedFrame], None] = lambda slide, examined: None
    on_slide: Callable[[dict[str, Any], bool], None] = lambda record, resumed: None
    on_tile: Callable[[SlideInput, int, int], None] = lambda slide, done, of: None
    on_kept: Callable[[SlideInput, int], None] = lambda slide, tiles: None
    on_refused: Callable[[SlideInput, str], None] = lambda slide, text: None
    on_unlisted: Callable[[Sequence[Path]], None] = lambda files: None
    on_part: Callable[[int, int], None] = lambda slides, of: None
    on_wait: Callable[[], None] = lambda: None
    on_tables: Callable[[JointTables], None] = lambda tables: None


@dataclass(frozen=True, slots=True)
class ScoreResult:
    """One record per slide of this run, as in `verdicts.jsonl`, and all errors as they came.

    records : on disk; each is read when it is asked for.
    tables : what the tables of the result folder hold, which other runs may write into as well.
    """

    records: StoredRecords
    errors: tuple[dict[str, str], ...]
    exit_code: int
    tables: JointTables

    def document(self, model: Model, request: ScoreRequest) -> dict[str, Any]:
        """Return the document that `score --json` prints; its slides are read one by one."""
        manifest = model.bundle.manifest
        return {
            "schema": SCHEMA,
            "software": f"edgeapl {__version__}",
            "research_use_only": True,
            "bundle": {
                "name": manifest.name,
                "version": manifest.version,
                "digest": model.bundle.digest,
                "trained": manifest.trained,
            },
            "out": str(request.out),
            "slides": self.records,
            "errors": list(self.errors),
            "part": None if request.part is None else request.part.text,
            "tables": {
                "slides": len(self.tables.records),
                "missing": list(self.tables.missing),
                "of_other_lists": list(self.tables.kept),
                "left_out": list(self.tables.left_out),
            },
        }
