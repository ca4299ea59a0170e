"""Tables of `edgeapl train`: how good the network is, and what comes next."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeapl.cli.output import RESEARCH_USE_ONLY

if TYPE_CHECKING:
    from rich.console import Console


def print_trained(document: Mapping[str, Any], out: Path, *, exported: bool) -> None:
    """Print the figures, and what comes next where the network is exported by itself."""
    from rich.console import Console

    terminal = Console(highlight=False)
    for name in ("cross_validation", "test"):
        if document[name] is not None:
            _print_tested(terminal, name.replace("_", "-"), document[name])
    terminal.print(f"page {out}/train-report.html", markup=False, soft_wrap=True)
    if not exported:
        return
    terminal.print(
        f"next: edgeapl export {out}/recipe.toml --weights model={out}/weights.pt "
        f"--trained-on {out}/training-set.json --out BUNDLE",
        markup=False,
        soft_wrap=True,
    )
    terminal.print(RESEARCH_USE_ONLY)


def _print_tested(terminal: Console, name: str, figures: Mapping[str, Any]) -> None:
    from rich.table import Table

    for sought, found in figures["sought"].items():
        terminal.print(f"[bold]{name}[/bold]: area under the ROC curve for {sought}")
        table = Table(box=None, pad_edge=False)
        for heading in ("seed", "folds, mean ± deviation", "all together, 95 % interval"):
            table.add_column(heading)
        for seed, one in found["by_seed"].items():
            mean = one["mean"]["roc_auc"]
            together = one["together"]["patients"]["roc_auc"]
            table.add_row(seed, _with_deviation(mean), _with_interval(together))
        seeds = found["seeds"]
        whole = found["mean_of_seeds"]["patients"]["roc_auc"]
        if len(found["by_seed"]) > 1:
            around = f"{seeds['mean']:.3f} ± {seeds['deviation']:.3f} over seeds"
            table.add_row("all", around, f"{_with_interval(whole)}, seeds averaged")
        terminal.print(table)


def _with_deviation(figure: Mapping[str, Any]) -> str:
    if figure["value"] is None or figure["deviation"] is None:
        return figure_text(figure["value"])
    return f"{figure['value']:.3f} ± {figure['deviation']:.3f}"


def _with_interval(figure: Mapping[str, Any]) -> str:
    if figure["low"] is None:
        return figure_text(figure["value"])
    return f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"


def figure_text(value: float | None) -> str:
    """Return a figure with three digits; a dash where there is none."""
    return "-" if value is None else f"{value:.3f}"
