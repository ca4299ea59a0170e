"""Scores whole folders: `edgeapl.score`, with the same words as the command line."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeapl.api.model import Model, open_model
from edgeapl.journal import Journal, default_journal_path
from edgeapl.scoring import Part, ScoreListener, ScoreRequest, score_folder

Place = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Scored:
    """The results of a folder.

    document : as `edgeapl score --json` prints it. out : the result folder.
    exit_code : 0, or that of the worst error of a single image.
    """

    document: dict[str, Any]
    out: Path
    exit_code: int

    @property
    def slides(self) -> tuple[dict[str, Any], ...]:
        """One record per slide, as in `verdicts.jsonl`."""
        return tuple(self.document["slides"])

    @property
    def errors(self) -> tuple[dict[str, Any], ...]:
        """Images that could not be examined, and why."""
        return tuple(self.document["errors"])


def score(
    folder: Place,
    model: Model | Place | None = None,
    *,
    out: Place | None = None,
    journal: Place | None = None,
    crops: bool = False,
    slides: Place | None = None,
    slide_from: str | None = None,
    um_per_px: float | None = None,
    part: str | None = None,
    on_slide: Callable[[dict[str, Any], bool], None] | None = None,
) -> Scored:
    """Score every slide of a folder: a committed verdict each, tables, pictures and a report.

    Slides that are already finished are not scored again.

    Parameters
    ----------
    folder : images; sub-folders are slides.
    model : from `open_model`, and stays open; or a bundle; None for the demonstration.
    out : folder for results; None for ``edgeapl-results/NAME``.
    journal : file; None for the one in your state folder.
    crops : every image is one cell.
    slides : CSV with slide,file; None for the folder's own ``slides.csv``, if there is one.
    slide_from : pattern that finds the slide in each file's name.
    um_per_px : scale of all images, µm per px; None to measure it.
    part : of the slides, such as ``"1/4"``, where several programs or machines share the folder.
    on_slide : called with the record of every slide, and whether it was finished before.

    Raises
    ------
    UsageError, InputError
        There is nothing to score. Images that cannot be examined are in `errors`.
    StorageError
        Results cannot be written.
    """
    place = Path(folder)
    request = ScoreRequest(
        folder=place,
        out=Path(out) if out is not None else Path("edgeapl-results") / place.resolve().name,
        crops=crops,
        slide_list=None if slides is None else Path(slides),
        slide_from=slide_from,
        um_per_px=um_per_px,
        part=None if part is None else Part.parse(part),
    )
    listener = ScoreListener() if on_slide is None else ScoreListener(on_slide=on_slide)
    with ExitStack() as stack:
        used = model if isinstance(model, Model) else stack.enter_context(open_model(model))
        kept = Path(journal) if journal is not None else default_journal_path()
        record = stack.enter_context(Journal.open(kept))
        result = score_folder(request, used.opened, record, listener)
        document = result.document(used.opened, request)
        document["slides"] = [*result.records]
        return Scored(document, request.out, result.exit_code)
