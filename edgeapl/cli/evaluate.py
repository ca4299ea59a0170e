"""`edgeapl evaluate`: what was said against what is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from edgeapl.cli.choices import trust_here
from edgeapl.cli.options import (
    COMPARISONS,
    OUTPUT,
    JsonOption,
    StationOption,
)
from edgeapl.cli.output import RESEARCH_USE_ONLY, console, one_line, print_json

if TYPE_CHECKING:
    from rich.console import Console

    from edgeapl.evaluation.evaluator import Evaluation


def evaluate(
    results: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Argument(help="Result folder of edgeapl score."),
    ] = None,
    labels: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            rich_help_panel="Slides and patients",
            help="CSV with the columns slide,label or patient,label or all three.",
        ),
    ] = None,
    positive: Annotated[
        str,
        typer.Option(
            rich_help_panel="Slides and patients", help="Label of the slides that must be found."
        ),
    ] = "APL",
    bundle: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--bundle",
            "-b",
            rich_help_panel="Slides and patients",
            help="Take the thresholds from this bundle.",
        ),
    ] = None,
    threshold: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(
            min=0,
            max=1,
            rich_help_panel="Slides and patients",
            help="Probability from which a slide is called positive.",
        ),
    ] = None,
    cells: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            rich_help_panel="Cells",
            help="Evaluate cells too: 'folders' (an image's folder is its class) or a CSV "
            "with the columns file,label.",
        ),
    ] = None,
    classes: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--map",
            rich_help_panel="Cells",
            help="ROLE=LABEL[,LABEL]: which cells a role should find.",
        ),
    ] = None,
    boxes: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            rich_help_panel="Cells",
            help="COCO JSON with boxes that people drew: average precision and recall of the cells "
            "found; needs pycocotools.",
        ),
    ] = None,
    counts: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            rich_help_panel="Cells",
            help="People's differential counts: CSV with slide, then one column per class.",
        ),
    ] = None,
    folds: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            rich_help_panel=COMPARISONS,
            help="CSV with slide,fold or patient,fold: figures by fold, and their mean.",
        ),
    ] = None,
    against: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            rich_help_panel=COMPARISONS,
            help="Result folder of another model on the same slides, to compare with.",
        ),
    ] = None,
    confusion: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            rich_help_panel=COMPARISONS,
            help="Instead of results: a CSV, rows are the truth, columns predicted.",
        ),
    ] = None,
    transposed: Annotated[
        bool,
        typer.Option(
            "--transposed",
            rich_help_panel=COMPARISONS,
            help="In that CSV rows are predicted, columns the truth.",
        ),
    ] = False,
    plots: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            rich_help_panel=OUTPUT,
            help="Folder for curves and matrices, PNG and SVG; needs edgeapl[plots].",
        ),
    ] = None,
    digits: Annotated[
        int, typer.Option(min=1, max=8, rich_help_panel=OUTPUT, help="Digits after the point.")
    ] = 3,
    station: StationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare verdicts with diagnoses: accuracy, F1, curves.

    Figures have 95 % intervals. Slides and patients count once each, and REVIEW counts as itself,
    not as a negative. Research use only.
    """
    from edgeapl.errors import UsageError
    from edgeapl.evaluation.additional_analyses import AdditionalAnalyses, additional_document
    from edgeapl.evaluation.request import (
        evaluate_matrix,
        evaluate_results,
        evaluation_document,
        evaluation_options,
    )

    if (results is None) == (confusion is None):
        raise UsageError("what to evaluate", "RESULTS or --confusion", "give one of them")
    if results is not None:
        if labels is None:
            raise UsageError("labels are missing", "--labels", "give a CSV with slide,label")
        asked = evaluation_options(
            positive, threshold, bundle, _classes(classes or []), trust_here(station)
        )
        evaluation = evaluate_results(results, labels, cells, asked)
        further = additional_document(
            results, labels, asked, AdditionalAnalyses(boxes, counts, folds, against)
        )
        evaluation.document.update(further)
    else:
        assert confusion is not None
        evaluation = evaluate_matrix(confusion, transposed=transposed)
    if plots is not None:
        _draw(evaluation, plots)
    document = evaluation_document(evaluation)
    if as_json:
        print_json(document)
    else:
        _show(document, digits)


def _classes(pairs: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Read ``ROLE=LABEL,LABEL`` pairs."""
    from edgeapl.errors import UsageError

    classes = {}
    for pair in pairs:
        role, equals, names = pair.partition("=")
        if not equals:
            raise UsageError("roles are not named rightly", pair, "write --map ROLE=LABEL")
        classes[role] = tuple(name.strip() for name in names.split(","))
    return classes


def _draw(evaluation: Evaluation, folder: Path) -> None:
    from edgeapl.errors import UsageError

    try:
        from edgeapl.evaluation.plots import draw
    except ModuleNotFoundError as error:
        mend = "pip install 'edgeapl[plots]'"
        raise UsageError("plots need more packages", error.name or "", mend) from error
    files = draw(evaluation, folder)
    console().print(f"{len(files)} pictures in {folder}", markup=False, soft_wrap=True)


def _show(document: Mapping[str, Any], digits: int) -> None:
    from rich.console import Console

    from edgeapl.cli.evaluate_tables import FURTHER
    from edgeapl.wording.names import disambiguated

    out = Console(highlight=False)
    if "matrix" in document:
        _show_matrix(out, document["matrix"], digits)
    for level in ("slides", "patients"):
        if level in document:
            _show_level(out, level, document[level], digits)
    # Often the same name, but for a letter that looks alike, is left over on both sides.
    left = ("unlabelled", "labels_without_result")
    shown = disambiguated(one for name in left for one in document.get(name, ()))
    for name, what in (
        ("unlabelled", "slides without a label"),
        ("labels_without_result", "labels without a slide"),
    ):
        if document.get(name):
            some = document[name]
            listed = ", ".join(one_line(shown[one]) for one in some[:5])
            out.print(f"{len(some)} {what}: {listed}", style="yellow", markup=False)
    if "cells" in document:
        _show_cells(out, document["cells"], digits)
    for name, show in FURTHER.items():
        if name in document:
            show(out, document[name], digits)
    out.print(RESEARCH_USE_ONLY)


def _show_level(out: Console, level: str, figures: Mapping[str, Any], digits: int) -> None:
    from rich.table import Table

    from edgeapl.wording.names import disambiguated

    labels = ", ".join(f"{count} {label}" for label, count in figures["labels"].items())
    out.print(f"[bold]{level}[/bold]: {figures['n']} ({labels})")
    if "note" in figures:
        out.print(f"  {figures['note']}: the same figures")
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    names = {
        "roc_auc": "area under ROC curve",
        "average_precision": "area under precision-recall curve",
        "sensitivity": "sensitivity at the threshold",
        "specificity": "specificity at the threshold",
        "positives_flagged": "positives with FLAG",
        "positives_flagged_or_review": "positives with FLAG or REVIEW",
    }
    for key, name in names.items():
        if key in figures:
            table.add_row(name, _value(figures[key], digits))
    table.add_row("accuracy at the threshold", _value(figures["at_threshold"]["accuracy"], digits))
    if "calibration" in figures:
        table.add_row("Brier score", _value(figures["calibration"]["brier"], digits))
    for label, verdicts in figures["verdicts"].items():
        said = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items())
        table.add_row(f"verdicts on {label}", said)
    out.print(table)
    if figures["without_probability"]:
        without = disambiguated(figures["without_probability"]).values()
        listed = ", ".join(one_line(name) for name in without)
        out.print(f"without a probability: {listed}", markup=False)


def _show_cells(out: Console, figures: Mapping[str, Any], digits: int) -> None:
    from rich.table import Table

    out.print(
        f"[bold]cells[/bold]: {figures['n']} of {figures['patients']} patients; "
        f"{figures['unlabelled']} without a label, {figures['unscored']} without a score"
    )
    table = Table(box=None, pad_edge=False)
    for name in ("role", "finds", "ROC area", "precision", "recall", "F1"):
        table.add_column(name)
    for role, numbers in figures["roles"].items():
        own = numbers["at_threshold"]["per_class"].get(role)
        blank = {"value": None}
        given = own or {"precision": blank, "recall": blank, "f1": None}
        table.add_row(
            role,
            ", ".join(numbers["classes"]),
            _value(numbers["roc_auc"], digits),
            _value(given["precision"], digits),
            _value(given["recall"], digits),
            _number(given["f1"], digits),
        )
    out.print(table)


def _show_matrix(out: Console, figures: Mapping[str, Any], digits: int) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("class", "n", "precision", "recall", "F1"):
        table.add_column(name, justify="right" if name == "n" else "left")
    for name, numbers in figures["per_class"].items():
        table.add_row(
            name,
            str(numbers["n"]),
            _value(numbers["precision"], digits),
            _value(numbers["recall"], digits),
            _number(numbers["f1"], digits),
        )
    for name in ("macro", "weighted"):
        means = [_number(figures[name][key], digits) for key in ("precision", "recall", "f1")]
        table.add_row(f"{name} mean", str(figures["n"]), *means)
    out.print(table)
    out.print(f"accuracy {_value(figures['accuracy'], digits)}")


def _value(figure: Mapping[str, Any], digits: int) -> str:
    """Write a figure with its interval, or why there is none."""
    if figure["value"] is None:
        return f"not defined{': ' + figure['reason'] if figure.get('reason') else ''}"
    text = _number(figure["value"], digits)
    if figure.get("low") is not None:
        text += f" ({_number(figure['low'], digits)}, {_number(figure['high'], digits)})"
    if "k" in figure:
        text += f"  {figure['k']} of {figure['n']}"
    return text


def _number(value: float | None, digits: int) -> str:
    return "not defined" if value is None else f"{value:.{digits}f}"
