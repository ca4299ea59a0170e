"""`edgeapl inspect`: what is in a bundle, or in a folder of engines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from edgeapl.cli.options import JsonOption
from edgeapl.cli.output import RESEARCH_USE_ONLY, console, print_json

if TYPE_CHECKING:
    from edgeapl.model import Model


def inspect(
    bundle: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Argument(help="Bundle, or folder of engines; without it the embedded bundle."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check a bundle or engines bit by bit and show what they hold; a bundle's self-test is run."""
    from edgeapl.engines.store.record import RECORD
    from edgeapl.model import EMBEDDED, open_model

    if bundle is not None and (bundle / RECORD).is_file():
        _inspect_engines(bundle, as_json=as_json)
        return
    with open_model(bundle or EMBEDDED) as model:
        document = _describe(model)
    if as_json:
        print_json(document)
        return
    if bundle is None:
        console().print("No bundle named: this is the embedded demonstration.", style="yellow")
    _show(document)


def _inspect_engines(folder: Path, *, as_json: bool) -> None:
    """Show engines, and what each of their layers computes in."""
    from edgeapl.cli.build_engine import EXTRA, show_engines
    from edgeapl.engines.store.folder import open_engines

    engines = open_engines(folder)
    document = engines.record.model_dump(mode="json", by_alias=True)
    layers: dict[str, dict[str, str]] = {}
    note = ""
    try:
        from edgeapl.calibration.building.layer_precision import counted, layer_precisions
    except ModuleNotFoundError:
        note = f"for the precision of each layer: {EXTRA}"
    else:
        for name, built in engines.record.networks.items():
            if built.file.endswith(".onnx"):
                layers[name] = layer_precisions(engines.read(name))
            else:
                note = "plans do not tell the precision of their layers without a GPU"
    if as_json:
        print_json({**document, "folder": str(folder), "layers": layers})
        return
    for name, precisions in layers.items():
        typer.echo(f"{name}: layers with weights: {counted(precisions)}")
    show_engines(engines, document)
    if note:
        console().print(note, style="yellow", markup=False)


def _describe(model: Model) -> dict[str, Any]:
    manifest = model.bundle.manifest
    return {
        "schema": 1,
        "bundle_digest": model.bundle.digest,
        "engine_digest": model.engine_digest,
        "runtime": model.runtime,
        "self_test": "passed",
        "manifest": manifest.model_dump(mode="json"),
        "networks": {
            name: {
                "inputs": {
                    key: [kind, list(shape)] for key, (kind, shape) in engine.inputs.items()
                },
                "outputs": list(engine.outputs),
                "bytes": len(model.bundle.read(manifest.networks[name].file)),
            }
            for name, engine in model.engines.items()
        },
        "research_use_only": True,
    }


def _show(document: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    manifest = document["manifest"]
    out = Console(highlight=False)
    table = Table(box=None, show_header=False, pad_edge=False)
    rule = manifest["rule"]
    rows = {
        "bundle": f"{manifest['name']} {manifest['version']}",
        "intended use": manifest["intended_use"],
        "trained": "yes" if manifest["trained"] else "no: can only ever give REVIEW",
        "digest": document["bundle_digest"],
        "self-test": f"{document['self_test']} in {document['runtime']}",
        "scale": f"{manifest['um_per_px']} µm per pixel",
        "segmenter": manifest["segmenter"]["kind"],
        "crop": f"{manifest['crop']['window_um']} µm as {manifest['crop']['size_px']} px",
        "reducer": manifest["reducer"]["kind"],
        "rule": f"FLAG from {rule['flag_at']}, CLEAR below {rule['clear_below']} (whole "
        f"{rule['confidence']:.0%} interval), at least {rule['min_scored']} cells",
    }
    for role in manifest["roles"]:
        speaks = ", speaks for APL" if role["suspicious"] else ""
        rows[f"role {role['name']}"] = f"positive from {role['threshold']}{speaks}"
    for name, network in document["networks"].items():
        shapes = ", ".join(f"{k} {kind} {shape}" for k, (kind, shape) in network["inputs"].items())
        outputs = ", ".join(network["outputs"])
        rows[f"network {name}"] = f"{network['bytes'] / 1e6:.2f} MB; {shapes} -> {outputs}"
    for name, digest in manifest["files"].items():
        rows[f"file {name}"] = digest
    for name, text in rows.items():
        table.add_row(name, escape(str(text)))
    out.print(table)
    out.print(RESEARCH_USE_ONLY, style="dim")
