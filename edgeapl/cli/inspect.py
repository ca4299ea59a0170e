"""`edgeapl inspect`: what is in a bundle, or in a folder of engines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from edgeapl.cli.choices import chosen_bundle, station_trust
from edgeapl.cli.options import (
    JsonOption,
    StationOption,
)
from edgeapl.cli.output import RESEARCH_USE_ONLY, console, one_line, print_json
from edgeapl.cli.verdicts import signed_by

if TYPE_CHECKING:
    from edgeapl.bundle.trust import Trust
    from edgeapl.model import Model
    from edgeapl.types import Signer


def inspect(
    bundle: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Argument(
            help="Bundle, or folder of engines; without it the station's, or the embedded one."
        ),
    ] = None,
    station: StationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a bundle or engines, and show what they contain.

    Checks every file by its digest, and runs a bundle's self-test. Where the station file names
    trusted keys, everything that they did not sign is refused.
    """
    from edgeapl.config import load_station
    from edgeapl.engines.store.record import RECORD
    from edgeapl.model import ModelRequest, open_model
    from edgeapl.model.trial import try_out

    config = load_station(station)
    trust = station_trust(config)
    if bundle is not None and (bundle / RECORD).is_file():
        _inspect_engines(bundle, trust, as_json=as_json)
        return
    folder = chosen_bundle(bundle, config)
    try_out(folder, trust)
    with open_model(ModelRequest(folder, trust=trust)) as model:
        document = _describe(model)
    if as_json:
        print_json(document)
        return
    if bundle is None and config.bundle is None:
        console().print("No bundle named: this is the one for real images.", style="yellow")
    _show(document)


def _inspect_engines(folder: Path, trust: Trust, *, as_json: bool) -> None:
    """Show engines, and what each of their layers computes in."""
    from edgeapl.cli.build_engine import EXTRA, show_engines
    from edgeapl.engines.store.folder import open_engines

    engines = open_engines(folder)
    trust.check_engines(folder, engines.signer)
    signed = _signed(engines.signer)
    document = engines.record.model_dump(mode="json", by_alias=True)
    layers: dict[str, dict[str, str]] = {}
    note = ""
    try:
        from edgeapl.calibration.builder.layer_precision import layer_precisions, precision_counts
    except ModuleNotFoundError:
        note = f"for the precision of each layer: {EXTRA}"
    else:
        for name, built in engines.record.networks.items():
            if built.file.endswith(".onnx"):
                layers[name] = layer_precisions(engines.read(name))
            else:
                note = "plans do not tell the precision of their layers without a GPU"
    if as_json:
        print_json({**document, **signed, "folder": str(folder), "layers": layers})
        return
    for name, precisions in layers.items():
        typer.echo(f"{name}: layers with weights: {precision_counts(precisions)}")
    show_engines(engines, document)
    typer.echo(f"signed by: {one_line(signed_by(signed))}")
    if note:
        console().print(note, style="yellow", markup=False)


def _signed(signer: Signer | None) -> dict[str, Any]:
    from edgeapl.types import UNSIGNED

    if signer is None:
        return {"signed_by": UNSIGNED, "signing_key": None}
    return {"signed_by": signer.name, "signing_key": signer.key}


def _describe(model: Model) -> dict[str, Any]:
    from edgeapl.bundle.export_report import export_warnings
    from edgeapl.wording.certificate import summarise_certificate
    from edgeapl.wording.questions import QUESTIONS

    manifest = model.bundle.manifest
    return {
        "schema": 1,
        "bundle_digest": model.bundle.digest,
        **_signed(model.bundle.signer),
        "engine_digest": model.engine_digest,
        "runtime": model.runtime,
        "self_test": "passed",
        "may_clear": QUESTIONS[manifest.answers].never_clears
        or summarise_certificate(model.clearing.certificate),
        "export_warnings": list(export_warnings(model.bundle)),
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


def _rule_in_words(rule: Mapping[str, Any], *, clears: bool) -> str:
    """Say from when on a slide is flagged and cleared. rule : as in the manifest."""
    parts = [f"FLAG from {rule['flag_at']}"]
    parts += [
        f"FLAG above {limit} {role.replace('_', ' ')} (whole {rule['confidence']:.0%} interval)"
        for role, limit in rule["role_limits"].items()
    ]
    if clears:
        parts.append(f"CLEAR below {rule['clear_below']} (whole {rule['confidence']:.0%} interval)")
    return ", ".join([*parts, f"at least {rule['min_scored']} cells"])


def _origin_in_words(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Say what a bundle was distilled from, and which network of it answers first."""
    parent, cascade = manifest.get("parent"), manifest.get("cascade")
    rows = {}
    if parent is not None:
        digest = f"{parent['digest'][:12]}, compared in {parent['proof']}"
        rows["distilled from"] = f"{parent['name']} {parent['version']} ({digest})"
    if cascade is not None:
        measured = f"{cascade['otherwise']} of {cascade['cells']} held-back cells otherwise"
        rows["cascade"] = f"{cascade['network']} first, the others where it is unsure; {measured}"
    return rows


def _show(document: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from edgeapl.wording.questions import QUESTIONS
    from edgeapl.wording.shown_cells import shown_in_words

    manifest = document["manifest"]
    out = Console(highlight=False)
    table = Table(box=None, show_header=False, pad_edge=False)
    rule, asked = manifest["rule"], QUESTIONS[manifest["answers"]]
    rows = {
        "bundle": f"{manifest['name']} {manifest['version']}",
        "intended use": manifest["intended_use"],
        "trained": "yes" if manifest["trained"] else "no: can only ever give REVIEW",
        "digest": document["bundle_digest"],
        "signed by": one_line(signed_by(document)),
        "self-test": f"{document['self_test']} in {document['runtime']}",
        "may clear": document["may_clear"],
        "scale": f"{manifest['um_per_px']} µm per pixel",
        "segmenter": manifest["segmenter"]["kind"],
        "crop": f"{manifest['crop']['window_um']} µm as {manifest['crop']['size_px']} px",
        "cells are shown": shown_in_words(
            manifest["crop"].get("colour_transfer"), manifest["crop"].get("views", 1)
        ),
        "reducer": manifest["reducer"]["kind"],
        "rule": _rule_in_words(rule, clears=asked.clears),
    }
    rows |= _origin_in_words(manifest)
    for role in manifest["roles"]:
        suggests = f", suggests {asked.suspect}" if role["suspicious"] else ""
        rows[f"role {role['name']}"] = f"positive from {role['threshold']}{suggests}"
    for name, network in document["networks"].items():
        shapes = ", ".join(f"{k} {kind} {shape}" for k, (kind, shape) in network["inputs"].items())
        outputs = ", ".join(network["outputs"])
        rows[f"network {name}"] = f"{network['bytes'] / 1e6:.2f} MB; {shapes} -> {outputs}"
    for name, digest in manifest["files"].items():
        rows[f"file {name}"] = digest
    for name, text in rows.items():
        table.add_row(name, escape(str(text)))
    out.print(table)
    for warning in document["export_warnings"]:
        out.print(f"warning of the export: {warning}", style="yellow", soft_wrap=True, markup=False)
    out.print(RESEARCH_USE_ONLY, style="dim")
