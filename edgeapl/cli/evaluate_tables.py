"""Tables of what `edgeapl evaluate` gives besides: boxes, counts, folds, another model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from edgeapl.cli.output import one_line

if TYPE_CHECKING:
    from rich.console import Console

MOST_CHANGED = 20
"""Changed verdicts that are listed; all are in the JSON document."""

Show = Callable[["Console", Mapping[str, Any], int], None]


def _boxes(out: Console, figures: Mapping[str, Any], digits: int) -> None:
    out.print(
        f"[bold]boxes[/bold]: {figures['drawn']} drawn, {figures['found']} found on "
        f"{figures['images']} images"
    )
    for key, name in (
        ("average_precision_50", "average precision at IoU 0.5"),
        ("average_precision_50_95", "average precision at 0.5 to 0.95"),
        ("recall_50", "recall at IoU 0.5"),
        ("recall_50_95", "recall at 0.5 to 0.95"),
    ):
        out.print(f"{name}: {_number(figures[key], digits)}")
    if figures["images_without_result"]:
        names = ", ".join(one_line(name) for name in figures["images_without_result"][:5])
        text = f"{len(figures['images_without_result'])} images with boxes, without a result: "
        out.print(text + names, style="yellow", markup=False, soft_wrap=True)


def _differential(out: Console, figures: Mapping[str, Any], digits: int) -> None:
    from rich.markup import escape
    from rich.table import Table

    out.print(f"[bold]differential counts[/bold]: {figures['slides']} slides counted by people")
    table = Table(box=None, pad_edge=False)
    for name in ("role", "counted as", "slides", "r", "bias", "limits of agreement", "Rümke"):
        table.add_column(name)
    for role, one in figures["roles"].items():
        apart, inside = one["bland_altman"], one["within_rumke_limits"]
        limits = f"{_number(apart['low'], digits)} to {_number(apart['high'], digits)}"
        table.add_row(
            role,
            escape(", ".join(one_line(name) for name in one["classes"])),
            str(one["n"]),
            _number(one["pearson"], digits),
            _number(apart["bias"], digits),
            limits if apart["low"] is not None else "too few",
            f"{inside['k']} of {inside['n']} within",
        )
    out.print(table)


def _folds(out: Console, figures: Mapping[str, Any], digits: int) -> None:
    from rich.markup import escape
    from rich.table import Table

    names = ("roc_auc", "average_precision", "sensitivity", "specificity", "accuracy")
    table = Table(box=None, pad_edge=False)
    for name in ("fold", "slides", *names):
        table.add_column(name.replace("_", " "))
    for fold, one in figures["folds"].items():
        values = [_number(one[name], digits) for name in names]
        table.add_row(escape(one_line(fold)), str(one["n"]), *values)
    means = []
    for name in names:
        mean = figures["mean"][name]
        spread = mean["deviation"]
        text = _number(mean["value"], digits)
        means.append(text if spread is None else f"{text} ± {_number(spread, digits)}")
    table.add_row("mean", "", *means)
    out.print(table)


def _against(out: Console, figures: Mapping[str, Any], digits: int) -> None:
    test = figures["delong"]
    out.print(f"[bold]against the other model[/bold]: {figures['slides']} slides in both")
    if test["value"] is None:
        out.print(f"areas under ROC curves: not defined: {test['reason']}", markup=False)
    else:
        areas = f"{_number(test['area'], digits)} and {_number(test['area_against'], digits)}"
        text = f"areas under ROC curves {areas}, difference {_number(test['value'], digits)}"
        if test["p"] is None:
            text += f": {test['reason']}"
        else:
            ends = f"{_number(test['low'], digits)} to {_number(test['high'], digits)}"
            text += f" ({ends}), DeLong's paired test p = {test['p']:.3g}"
        out.print(text, markup=False, soft_wrap=True)
    out.print(f"{len(figures['changed'])} verdicts changed")
    for one in figures["changed"][:MOST_CHANGED]:
        text = f"{one['slide']} ({one['label']}): {one['from']} there, {one['to']} here"
        out.print(one_line(text), markup=False, soft_wrap=True)


def _number(value: float | None, digits: int) -> str:
    return "not defined" if value is None else f"{value:.{digits}f}"


FURTHER: dict[str, Show] = {
    "boxes": _boxes,
    "differential": _differential,
    "cross_validation": _folds,
    "against": _against,
}
