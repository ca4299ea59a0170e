"""``train-report.html``: one file without scripts that shows how a training went."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from edgeapl.export.training.embedding import embed
from edgeapl.export.training.plots import draw_training
from edgeapl.export.training.run_state import write_whole
from edgeapl.export.training.shown_cells import ShownCells, shown_cells
from edgeapl.export.training.trainer import Trained
from edgeapl.wording.numbers import plural

PAGE = "train-report.html"
PLOTS = "plots"
RESEARCH_USE_ONLY = "Research use only. Not for diagnosis."


def write_page(trained: Trained, document: Mapping[str, Any], out: Path) -> Path:
    """Write the page and its pictures, and return the page.

    document : figures, as `training_document` gives them. Raises StorageError.
    """
    pictures = draw_training(trained, embed(trained.own.features), out / PLOTS)
    tested = trained.folds or trained.test
    said = [fold.said for fold in tested] or [trained.own]
    text = _page(document, pictures, shown_cells(trained.pool, said), unseen=bool(tested))
    write_whole(out / PAGE, text.encode())
    return out / PAGE


def _page(
    document: Mapping[str, Any],
    pictures: Sequence[Path],
    cells: Sequence[ShownCells],
    *,
    unseen: bool,
) -> str:
    folder = files("edgeapl.export.training") / "templates"
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(plural=plural, base64=_base64)
    template = environment.from_string((folder / "training.html.j2").read_text(encoding="utf-8"))
    return template.render(
        document=document,
        pictures=[(path.stem.replace("-", " "), path.read_bytes()) for path in pictures],
        cells=cells,
        unseen=unseen,
        research_use_only=RESEARCH_USE_ONLY,
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
