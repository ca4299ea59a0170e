"""Whether a slide is already scored, by the digest of everything its results depend on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeapl import __version__
from edgeapl.bundle.digest import sha256_file, sha256_of_parts
from edgeapl.bundle.manifest import Manifest
from edgeapl.journal import Journal, find_row
from edgeapl.model import Model
from edgeapl.report.tables import cell_columns
from edgeapl.report.user_columns import FurtherColumns
from edgeapl.scoring.request import SCHEMA, ScoreRequest
from edgeapl.sources.discover import SlideInput
from edgeapl.whole_slide import companion_files


def slide_key(
    request: ScoreRequest,
    model: Model,
    slide: SlideInput,
    digests: Sequence[str],
    further: FurtherColumns = FurtherColumns(),  # noqa: B008 - frozen
) -> str:
    """Return the digest of all that a slide's results depend on, from its images to the settings.

    digests : of the contents of the slide's files, see `content_digest`. further : columns of the
    user's list, which the results contain.
    """
    networks = (model.bundle.digest, model.engine_digest, model.runtime)
    return key_of(request, networks, model.bundle.manifest, slide, digests, further)


def key_of(
    request: ScoreRequest,
    networks: tuple[str, str, str],
    manifest: Manifest,
    slide: SlideInput,
    digests: Sequence[str],
    further: FurtherColumns,
) -> str:
    """Return the same for networks that run elsewhere.

    networks : digest of the bundle, of its engines, and the runtime's name.
    """
    parts = [
        f"edgeapl {__version__} schema {SCHEMA}",
        *networks,
        f"crops {request.crops}",
        f"scale {slide.um_per_px or request.um_per_px}",
        f"table {cell_columns([role.name for role in manifest.roles])}",
    ]
    for file, digest in zip(slide.files, digests, strict=True):
        parts += [str(file), digest]
    for file in slide.files if further.headings else ():
        parts += [f"list {further.headings} {further.values[str(file)]}"]
    return sha256_of_parts(parts)


def is_current(record: Mapping[str, Any], key: str, journal: Journal) -> bool:
    """Return whether a finished record has this key and is in the journal."""
    journal_record = str(record.get("journal_record"))
    if record.get("slide_key") != key or not journal.has(journal_record):
        return False
    committed = json.loads(find_row(journal.path, journal_record).payload)
    return all(record.get(name) == value for name, value in committed.items())


def content_digest(file: Path) -> str:
    """Return the digest of a plain file, or a note, so that a repaired file is scored again.

    That of a scan of several files is one of them all.
    """
    if not file.is_file():
        return "not a plain file"
    try:
        others = companion_files(file)
        parts = [part for other in others for part in (str(other), sha256_file(other))]
        return sha256_of_parts([sha256_file(file), *parts]) if parts else sha256_file(file)
    except OSError as error:
        return f"unreadable: {error.strerror}"
