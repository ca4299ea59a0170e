"""What the tests of parts and of their merging share: drawn slides, scored in this process."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeapl.journal import Journal, read_rows
from edgeapl.model import Model
from edgeapl.scoring import Part, ScoreListener, ScoreRequest, ScoreResult, score_folder
from tests.small_bundle import drawn_field, png

NAMES = ("a", "b", "c", "g")
"""Two of them in either half."""

VOLATILE = ("timings", "journal_record", "results", "merged")
"""Fields in which two runs over the same slides may differ."""

TIMES = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d|<dt>Time</dt>.*")

HASH = re.compile(r"\b[0-9a-f]{64}\b")


def draw_slides(folder: Path, names: tuple[str, ...] = NAMES) -> Path:
    for number, name in enumerate(names):
        home = folder / name
        home.mkdir(parents=True)
        field = drawn_field(((60, 60), (150 - 3 * number, 130)))
        (home / "field.png").write_bytes(png(field))
    return folder


def score_part(
    model: Model,
    folder: Path,
    out: Path,
    journal: Path,
    part: str | None = None,
    listener: ScoreListener | None = None,
    **further: Any,
) -> ScoreResult:
    chosen = None if part is None else Part.parse(part)
    request = ScoreRequest(folder, out, um_per_px=0.2, part=chosen, **further)
    with Journal.open(journal, reserve_bytes=0) as record:
        return score_folder(request, model, record, listener or ScoreListener())


def steady(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in VOLATILE}


@dataclass(frozen=True)
class Everything:
    """What a result folder and its journal hold, without times and hashes of rows."""

    verdicts: list[dict[str, Any]]
    cells: bytes
    index: bytes
    reports: dict[str, str]
    journal: list[tuple[str, dict[str, Any]]]


def everything(out: Path, journal: Path) -> Everything:
    lines = (out / "verdicts.jsonl").read_text().splitlines()
    reports = {}
    for home in sorted((out / "slides").iterdir()):
        text = HASH.sub("HASH", (home / "report.html").read_text(encoding="utf-8"))
        reports[home.name] = TIMES.sub("TIME", text)
    rows = [(row.kind, steady(row.content)) for row in read_rows(journal)]
    return Everything(
        [steady(json.loads(line)) for line in lines],
        (out / "cells.csv").read_bytes(),
        (out / "index.html").read_bytes(),
        reports,
        sorted(rows, key=lambda row: str(row[1]["slide"])),
    )


HOLD = """
import sys
from pathlib import Path
from edgeapl.report.folder_lock import WHOLE_FOLDER, locked_folder, locked_tables
from edgeapl.scoring.part import Part
what, folder = sys.argv[1], Path(sys.argv[2])
byte_range = WHOLE_FOLDER if what in ("all", "tables") else Part.parse(what).lock_range
with locked_tables(folder, lambda: None) if what == "tables" else locked_folder(folder, byte_range):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held_by_another(folder: Path, what: str) -> Iterator[subprocess.Popen[str]]:
    """Have another process hold a result folder: ``all``, a part of it, or its ``tables``."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, what, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
