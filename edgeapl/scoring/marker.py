"""The mark of a result folder: which input it belongs to, and the slides of it in their order."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edgeapl.errors import StorageError, UsageError
from edgeapl.report.folder_lock import locked_tables
from edgeapl.report.storage import replacing
from edgeapl.scoring.request import SCHEMA
from edgeapl.sources.discover import RESULTS_MARKER

OTHER = "choose another folder with --out"


def read_marker(out: Path) -> dict[str, Any]:
    """Read what a result folder says of itself; empty without a mark. Raises StorageError."""
    path = out / RESULTS_MARKER
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StorageError("result folder cannot be used", path, str(error)) from error
    if not isinstance(content, dict):
        raise StorageError("result folder cannot be used", path, "its mark is damaged")
    return content


def refuse_others(out: Path, folder: Path) -> None:
    """Raise UsageError for a result folder that belongs to another input, or is the input."""
    if out.resolve() == folder.resolve():
        raise UsageError("results would lie among the images", out, "choose another with --out")
    marker = read_marker(out)
    if marker and marker.get("folder") != str(folder.resolve()):
        raise UsageError("result folder belongs to another input", out, OTHER)


def write_marker(
    out: Path, folder: str, slides: Sequence[str], on_wait: Callable[[], None] = lambda: None
) -> None:
    """Mark a result folder. It is never taken for images then.

    folder : the input, resolved. slides : all of the input, in the order of the tables, whether
    they are scored here or not.
    """
    mine = {"schema": SCHEMA, "folder": folder, "slides": list(slides)}
    if read_marker(out) == mine:
        return
    with locked_tables(out, on_wait), replacing(out / RESULTS_MARKER) as file:
        file.write(json.dumps(mine).encode("ascii") + b"\n")
