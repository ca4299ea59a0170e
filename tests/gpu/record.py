"""What a check found, and the file of all of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

SCHEMA = 1


class UnmetError(Exception):
    """A promise was not kept, or what would show it is not there. Both are failures.

    figures : what was measured all the same.
    """

    def __init__(self, text: str, figures: Mapping[str, Any] | None = None) -> None:
        super().__init__(text)
        self.figures = dict(figures or {})


@dataclass(frozen=True, slots=True)
class Record:
    """One check. figures : what was measured, whether it passed or not. why : empty when it did."""

    name: str
    passed: bool
    seconds: float
    figures: dict[str, Any] = field(default_factory=dict)
    why: str = ""


def write(path: Path, records: Sequence[Record], *, dry: bool) -> None:
    """Write all records; dry : they were made on a GPU that is not there."""
    document = {
        "schema": SCHEMA,
        "research_use_only": True,
        "dry_run": dry,
        "passed": all(record.passed for record in records),
        "records": [asdict(record) for record in records],
    }
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def read(line: str) -> Record:
    """Read a record that another process printed; raises ValueError."""
    try:
        return Record(**json.loads(line))
    except TypeError as error:
        raise ValueError(f"no record: {line[:80]!r}") from error
