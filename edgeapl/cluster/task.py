"""One slide on its way to a worker, and what comes back."""

from __future__ import annotations

import io
import tarfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edgeapl.errors import EdgeAplError, StorageError
from edgeapl.journal import Journal, row_with_hash
from edgeapl.model import Model
from edgeapl.pipeline import examine_slides
from edgeapl.report.results import newest_folder
from edgeapl.scoring.request import ScoreListener, ScoreRequest
from edgeapl.scoring.resume import content_digest
from edgeapl.scoring.slides import FolderScoring, ScoringContext
from edgeapl.sources.discover import SlideInput


@dataclass(frozen=True, slots=True)
class SlideTask:
    """A slide to examine.

    Attributes
    ----------
    slide, request, context : as for one machine; `request.out` is the client's result folder.
    home : the client's working folder, in which relative names of files begin.
    digests : of the slide's files, in their order, see `content_digest`.
    ended : why the certificate has ended at the client's journal; empty while it holds.
    contents : of files that the worker cannot read itself, by path.
    """

    slide: SlideInput
    request: ScoreRequest
    context: ScoringContext
    home: Path
    digests: tuple[str, ...]
    ended: str = ""
    contents: Mapping[Path, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SlideAnswer:
    """What a worker found out about a slide.

    Attributes
    ----------
    unseen : files that the worker does not see, or sees with another content; then nothing else is
        set, and the slide must be sent with their contents.
    record : as in `verdict.json`, with the hash of the row in the worker's own journal.
    content : payload of that row.
    folder : the slide's result folder, as an uncompressed tar archive.
    error : what, which and mend of an error of the worker itself, such as a full disk.
    """

    unseen: tuple[Path, ...] = ()
    record: Mapping[str, Any] = field(default_factory=dict)
    content: Mapping[str, Any] = field(default_factory=dict)
    folder: bytes = b""
    error: tuple[str, str, str] | None = None


def examine_task(task: SlideTask, model: Model) -> SlideAnswer:
    """Examine one slide in a folder of its own, and return all of its results.

    The worker's own journal holds this one verdict and goes with its folder: the client commits.
    """
    with TemporaryDirectory(prefix="edgeapl-worker-") as name:
        home = Path(name)
        try:
            stored = _stored(task, home)
            unseen = tuple(
                file
                for file, digest in zip(task.slide.files, task.digests, strict=True)
                if content_digest(stored.get(file, task.home / file)) != digest
            )
            if unseen:
                return SlideAnswer(unseen=unseen)
            return _examined(task, model, home, stored)
        except StorageError as error:
            return SlideAnswer(error=(error.what, error.which, error.mend))


def _stored(task: SlideTask, home: Path) -> dict[Path, Path]:
    """Write the contents that came with the task; their ends tell formats apart, so they stay."""
    stored = {}
    for number, (file, content) in enumerate(task.contents.items()):
        place = home / "images" / f"{number}{file.suffix}"
        try:
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(content)
        except OSError as error:
            mend = "make room in the worker's folder for temporary files"
            raise StorageError(f"worker cannot keep an image: {error}", str(file), mend) from error
        stored[file] = place
    return stored


def _examined(
    task: SlideTask, model: Model, home: Path, stored: Mapping[Path, Path]
) -> SlideAnswer:
    request = replace(task.request, out=home / "results")
    with Journal.open(home / "journal.sqlite3") as journal:
        scoring = FolderScoring(
            request,
            model,
            journal,
            ScoreListener(),
            task.context,
            stored=lambda file: stored.get(file, task.home / file),
            ended=lambda: task.ended,
        )
        examine_slides(
            model, scoring.jobs([task.slide]), batch_size=request.batch_size, stop=threading.Event()
        )
        (record,) = scoring.records
        row = row_with_hash(journal.path, str(record["journal_record"]))
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(newest_folder(request.out, task.slide.name), ".")
    return SlideAnswer(record=record, content=row.content, folder=packed.getvalue())


def unpack(folder: bytes, home: Path) -> None:
    """Write the files of an answer into a new folder. Raises OSError."""
    home.mkdir(parents=True)
    with tarfile.open(fileobj=io.BytesIO(folder)) as archive:
        # Only plain files and folders inside `home`, whatever a worker sends.
        archive.extractall(home, filter="data")


def as_error(answer: SlideAnswer) -> EdgeAplError:
    """Return the error of a worker that could not work."""
    assert answer.error is not None
    what, which, mend = answer.error
    return StorageError(f"on a worker: {what}", which, mend)
