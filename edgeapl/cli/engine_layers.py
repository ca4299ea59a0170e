"""What `edgeapl engines inspect` shows: the layers of engines, their types and their times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeapl.cli.output import RESEARCH_USE_ONLY

if TYPE_CHECKING:
    from edgeapl.engines.store.folder import EngineFolder


def layers_document(engines: EngineFolder, *, profile: bool) -> dict[str, Any]:
    """Return what is known of all layers, as plain values.

    profile : time those of plans on the GPU that is here; raises EngineError where that cannot be.
    """
    record = engines.record
    document: dict[str, Any] = {
        "schema": 1,
        "folder": str(engines.folder),
        "target": record.target,
        "precision": record.precision,
        "proven_where_it_runs": record.proven_where_it_runs,
        "proof": record.proof.get("words"),
        "clocks": record.timing.get("clocks", {}),
        "networks": {},
        "research_use_only": True,
    }
    for name, built in record.networks.items():
        if built.file.endswith(".onnx"):
            layers = _of_file(engines.read(name))
            document["networks"][name] = {"layers": layers, "scratch": None, "fallbacks": []}
            continue
        noted = record.plans.get(name)
        document["networks"][name] = {
            "layers": [
                {"name": layer, "kind": kind, "types": types, "bytes_a_cell": moved}
                for layer, kind, types, moved in (noted.layers if noted else ())
            ],
            "scratch": noted.scratch if noted else None,
            "fallbacks": [
                {"layer": layer, "precision": precision, "why": why}
                for layer, precision, why in (noted.fallbacks if noted else ())
            ],
        }
    if profile:
        _add_times(engines, document)
    return document


def _of_file(model: bytes) -> list[dict[str, Any]]:
    from edgeapl.cli.build_engine import EXTRA
    from edgeapl.errors import EngineError

    try:
        from edgeapl.calibration.builder.layer_precision import layer_precisions
    except ModuleNotFoundError as error:
        text = "layers cannot be read from an ONNX file"
        raise EngineError(text, error.name or "", EXTRA) from error
    return [
        {"name": name, "kind": "with weights", "types": types, "bytes_a_cell": None}
        for name, types in layer_precisions(model).items()
    ]


def _add_times(engines: EngineFolder, document: dict[str, Any]) -> None:
    from edgeapl.engines.layer_profile import profile_plans

    for name, times in profile_plans(engines).items():
        document["networks"][name]["milliseconds"] = [
            {"name": layer, "ms": ms} for layer, ms in times
        ]


def print_layers(document: dict[str, Any], *, every: bool) -> None:
    """Print them: sums for each network, and with `every` each layer."""
    from collections import Counter

    from rich.console import Console
    from rich.table import Table

    out = Console(highlight=False)
    for name, network in document["networks"].items():
        layers = network["layers"]
        counts = Counter(layer["types"] for layer in layers)
        kinds = ", ".join(f"{count} {types}" for types, count in counts.most_common())
        text = f"{name}: {len(layers)} layers: {kinds}" if layers else f"{name}: no layers listed"
        moved = [layer["bytes_a_cell"] for layer in layers if layer["bytes_a_cell"] is not None]
        if moved:
            text += f"; {sum(moved) / 1e6:.1f} MB of activations a cell"
        if network["scratch"] is not None:
            text += f"; {network['scratch'] / 2**20:.0f} MiB of scratch memory"
        out.print(text, soft_wrap=True, markup=False)
        for one in network["fallbacks"]:
            text = f"  {one['layer']} in {one['precision']}: {one['why']}"
            out.print(text, soft_wrap=True, markup=False)
        times = network.get("milliseconds")
        if every and times is not None:
            table = Table(box=None, pad_edge=False)
            table.add_column("ms", justify="right")
            table.add_column("layer")
            for line in times:
                table.add_row(f"{line['ms']:.3f}", line["name"])
            out.print(table)
        elif every:
            table = Table(box=None, pad_edge=False)
            for column in ("layer", "kind", "types", "kB a cell"):
                table.add_column(column, justify="right" if column == "kB a cell" else "left")
            for layer in layers:
                size = layer["bytes_a_cell"]
                shown = "" if size is None else f"{size / 1e3:.1f}"
                table.add_row(layer["name"], layer["kind"], layer["types"], shown)
            out.print(table)
    if document["proof"]:
        out.print(document["proof"], soft_wrap=True, markup=False)
    for name, value in document["clocks"].items():
        out.print(f"{name} when it was timed: {value}", markup=False)
    out.print(RESEARCH_USE_ONLY)
