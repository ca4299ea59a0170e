"""The section of a report with what people said about its verdict."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from edgeapl.errors import UsageError
from edgeapl.journal import Record, Row, sign_off_of
from edgeapl.report.cell_classes import in_words
from edgeapl.wording.local_time import local_time
from edgeapl.wording.printable import printable

BEGIN, END = "<!--people-->", "<!--/people-->"
"""Markers of the section, which later versions of the report replace."""


def people_section(record: Record | None, version: int = 1) -> str:
    """Return the section as HTML; every text from outside is escaped.

    record : None for a verdict without amendments. version : of the report that contains it.
    """
    part = _template().render(
        sign_offs=[] if record is None else [_signed(row) for row in record.sign_offs],
        cells=[] if record is None else [_relabelled(row) for row in record.cells],
        version=version,
    )
    return f"{BEGIN}\n{part}{END}"


@functools.cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("edgeapl.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(line=printable, words=in_words)
    return environment.get_template("people.html.j2")


def _signed(row: Row) -> dict[str, Any]:
    try:
        said = sign_off_of(row)
    except UsageError:  # written by another version: shown as it is
        content = row.content
        texts = {name: str(content.get(name, "")) for name in ("person", "comment")}
        return {"opinion": "", "words": str(content.get("sign_off")), **texts, **_place(row)}
    return {
        "opinion": said.opinion.value,
        "words": said.words,
        "person": said.person,
        "comment": said.comment,
        **_place(row),
    }


def _relabelled(row: Row) -> dict[str, Any]:
    content = row.content
    scores = content.get("scores")
    return {
        "cell": str(content.get("cell")),
        "label": str(content.get("label", "")),
        "best": _best(scores if isinstance(scores, Mapping) else {}),
        "person": str(content.get("person", "")),
        **_place(row),
    }


def _best(scores: Mapping[str, float]) -> str:
    if not scores:
        return "not scored"
    role, value = max(scores.items(), key=lambda item: item[1])
    return f"{in_words(role)} {value:.2f}"


def _place(row: Row) -> dict[str, Any]:
    return {"time": local_time(row.time), "row": row.sequence}
