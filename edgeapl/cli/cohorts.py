"""`edgeapl cohorts`: public cohorts, and one that was downloaded, read and listed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from edgeapl.cli.options import (
    JsonOption,
)
from edgeapl.cli.output import RESEARCH_USE_ONLY, answer_console, one_line, print_json

if TYPE_CHECKING:
    from edgeapl.export.cohorts.cohort import Cohort


def cohorts(
    name: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(help="Cohort to read; without it the public ones are listed."),
    ] = None,
    folder: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Argument(help="Folder that it was unpacked into."),
    ] = None,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Folder for slides.csv, labels.csv and cells.csv, which others take."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List public cohorts, or read one that you downloaded.

    The list says where each is, its licence and size, what it teaches and what it is not for. With
    a name and a folder, reads that cohort as downloaded and counts its patients and cells. Nothing
    is ever downloaded.
    """
    from edgeapl.errors import UsageError

    if name is None:
        _list(as_json=as_json)
        return
    if folder is None:
        mend = f"edgeapl cohorts {one_line(name)} FOLDER"
        raise UsageError("which folder is it in?", one_line(name), mend)
    from edgeapl.export.cohorts.listing import read_public
    from edgeapl.export.cohorts.lists import write_lists

    cohort = read_public(name, folder)
    written = () if out is None else write_lists(cohort, out)
    if as_json:
        print_json({**_counts(cohort), "lists": [str(path) for path in written]})
        return
    _show(cohort, written)


def _list(*, as_json: bool) -> None:
    from dataclasses import asdict

    from edgeapl.export.cohorts.listing import COHORTS

    if as_json:
        print_json({
            "schema": 1,
            "cohorts": [asdict(cohort) for cohort in COHORTS],
            "research_use_only": True,
        })  # fmt: skip
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 1, 1, 0))
    for heading, width in (("cohort", 13), ("size, patients", 18), ("licence", 10)):
        table.add_column(heading, width=width, overflow="fold")
    for heading in ("teaches", "not for"):
        table.add_column(heading, width=17, overflow="fold")
    for cohort in COHORTS:
        size = f"{cohort.size}; patients {cohort.patients}"
        table.add_row(cohort.name, size, cohort.licence, cohort.teaches, cohort.not_for)
    terminal = answer_console()
    terminal.print(table)
    for cohort in COHORTS:
        terminal.print(f"{cohort.title}:", markup=False)
        terminal.print(f"  {cohort.where}", markup=False, soft_wrap=True)
        if cohort.layout:
            terminal.print(f"  read as {cohort.layout}", markup=False, soft_wrap=True)
    terminal.print("Licences as last seen: read the cohort's own page before you use it.")
    terminal.print(RESEARCH_USE_ONLY, style="dim")


def _counts(cohort: Cohort) -> dict[str, Any]:
    return {
        "schema": 1,
        "cohort": cohort.name,
        "patients": len(cohort.patients),
        "diagnoses": dict(sorted(cohort.diagnoses.items())),
        "cells": sum(cohort.kinds.values()),
        "kinds": dict(sorted(cohort.kinds.items())),
        "um_per_px": cohort.um_per_px,
        "left_out": dict(cohort.left_out),
        "research_use_only": True,
    }


def _show(cohort: Cohort, written: tuple[Path, ...]) -> None:
    terminal = answer_console()
    patients = ", ".join(f"{n} {label or 'unknown'}" for label, n in cohort.diagnoses.most_common())
    named = f"{len(cohort.patients)} patients: {patients}" if patients else "no patient is named"
    terminal.print(one_line(f"{cohort.name}: {named}"), style="bold", markup=False)
    for kind, count in cohort.kinds.most_common():
        text = f"{count:7,} {kind.replace('_', ' ') or 'cells that nobody named'}"
        terminal.print(one_line(text), markup=False)
    for what, count in cohort.left_out.items():
        terminal.print(f"left out: {count:,} {what}", style="dim", markup=False)
    for path in written:
        terminal.print(one_line(f"wrote {path}"), markup=False, soft_wrap=True)
    terminal.print(RESEARCH_USE_ONLY, style="dim")
