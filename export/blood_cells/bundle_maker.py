"""Put the embedded bundle together: train, measure, set the limits, write the card."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from edgeapl.export.blood_cells.card import model_card
from edgeapl.export.blood_cells.classes import GROUPS, KINDS
from edgeapl.export.blood_cells.held_out import THRESHOLD, figures
from edgeapl.export.blood_cells.network import GROUP_OUTPUTS, BloodCells
from edgeapl.export.blood_cells.other_sets import figures as other_figures
from edgeapl.export.blood_cells.pool import CROP, image_files, read_pool
from edgeapl.export.blood_cells.trainer import Say, held_out, train
from edgeapl.export.onnx_file import onnx_bytes
from edgeapl.export.trained_on import FILE, SCHEMA
from edgeapl.model import open_model
from edgeapl.model.sealer import seal_bundle
from edgeapl.report.pictures import png_bytes
from edgeapl.sources.digests import image_digests
from edgeapl.sources.synthetic import draw_frame, slide_recipe

MIN_FOCUS = 1.5
"""Real frames in focus measure 1.7 or more; see stages/focus.py."""

MIN_SCORED = 100
"""The usual differential count."""

IMMATURE_LIMIT = 0.10
"""Promyelocytes, myelocytes and metamyelocytes of at least 10 % of leukocytes are a criterion of
the WHO and ICC classifications (atypical CML, Khoury et al. 2022, Arber et al. 2022)."""

STANDARD_PROMYELOCYTES = 0.01
"""A smear is positive from 1 % myelocytes or promyelocytes on: International Consensus Group for
Hematology Review, Barnes et al. 2005, Lab. Hematol. 11:83."""

INTENDED_USE = (
    "Counts the kinds of cells in blood smears and flags immature granulocytes. Trained on healthy "
    "donors' cells: cannot tell APL from other acute leukaemia. Research use only. Not for "
    "diagnosis."
)


def make(data: Path, out: Path, cache: Path, epochs: int, others: Path | None, say: Say) -> None:
    """Make the bundle; decoded cells and weights are kept in `cache`.

    Parameters
    ----------
    data : the PBC set. others : folder with the sets that are only measured on; None leaves the
    card without their figures.
    """
    torch.set_num_threads(1)  # so that the same seed gives the same weights
    pool = read_pool(data, cache)
    out_of_training = held_out(pool)
    say(f"{(~out_of_training).sum()} cells to train on, {out_of_training.sum()} held out")
    weights = cache / f"weights-{epochs}.pt"
    network = _trained(weights, lambda: train(pool.only(~out_of_training), epochs, say))
    known = figures(network, pool.only(out_of_training))
    limit = promyelocyte_limit(known)
    files = {
        "cells.onnx": onnx_bytes(
            network,
            torch.zeros((2, CROP.size_px, CROP.size_px, 3), dtype=torch.uint8),
            "cells",
            [*KINDS, *GROUP_OUTPUTS, "features"],
            batch=True,
        ),
        FILE: _training_set(
            [
                file
                for file, held in zip(image_files(data), out_of_training, strict=True)
                if not held
            ]
        ),
        "MODEL_CARD.md": b"# blood-cells\n",
    }
    golden = png_bytes(
        draw_frame(slide_recipe("apl", 5, um_per_px=0.2, width=480, height=360, cells=9), 0).pixels
    )
    seal_bundle(out, settings(limit), files, golden)
    measured = None
    if others is not None:
        with open_model(out) as model:
            measured = other_figures(model, others)
    document = {"held_out": known, "others": measured, "epochs": epochs}
    (cache / "figures.json").write_text(json.dumps(document, indent=1))
    files["MODEL_CARD.md"] = model_card(known, measured, limit, epochs).encode()
    bundle = seal_bundle(out, settings(limit), files, golden)
    say(f"wrote {out}, digest {bundle.digest}")


def promyelocyte_limit(known: dict[str, Any]) -> float:
    """Return the share of promyelocytes that flags a slide: the standard's, and the model's errors.

    known : of `edgeapl.export.blood_cells.held_out`. Rounded up to half a percent.
    """
    errors = float(known["errors_on_mature"]["promyelocyte"]["high"])
    return math.ceil(200 * (STANDARD_PROMYELOCYTES + errors)) / 200


def settings(limit: float) -> dict[str, Any]:
    """Return the manifest. limit : of `promyelocyte_limit`."""
    immature = GROUPS["immature_granulocyte_unspecified"]
    members = dict(zip(GROUP_OUTPUTS, GROUPS.values(), strict=True))
    return {
        "name": "blood-cells",
        "version": "1.0",
        "intended_use": INTENDED_USE,
        "answers": "differential",
        "trained": True,
        "um_per_px": 0.1,
        "model_card": "MODEL_CARD.md",
        "segmenter": {"kind": "hsv-watershed"},
        "crop": CROP.model_dump(),
        "networks": {"cells": {"file": "cells.onnx", "input": "cells"}},
        "roles": [
            {
                "name": name,
                "network": "cells",
                "output": name,
                "threshold": THRESHOLD,
                "suspicious": name in immature or name == "immature_granulocyte",
                "members": list(members.get(name, ())),
            }
            for name in (*KINDS, *GROUP_OUTPUTS)
        ],
        "reducer": {"kind": "vote"},
        "rule": {
            "flag_at": IMMATURE_LIMIT,
            "clear_below": IMMATURE_LIMIT,
            "suspicious_share": IMMATURE_LIMIT,
            "confidence": 0.95,
            "min_scored": MIN_SCORED,
            "max_lost_share": 0.1,
            "role_limits": {"promyelocyte": limit},
        },
        "gate": {"min_focus": MIN_FOCUS},
        "training": {"images": FILE},
        "golden": {
            "frame": "golden.png",
            "expected": "golden.npz",
            "um_per_px": 0.2,
            "tolerance": 0.05,
        },
    }


def _trained(file: Path, trained: Callable[[], BloodCells]) -> BloodCells:
    """Return the network with weights from a file, or train it and keep them."""
    network: BloodCells
    if file.is_file():
        network = BloodCells()
        network.load_state_dict(torch.load(file, weights_only=True))
    else:
        network = trained()
        torch.save(network.state_dict(), file)
    network.eval()
    return network


def _training_set(files: list[Path]) -> bytes:
    digests = {digest for file in files for digest in image_digests(file)}
    document = {"schema": SCHEMA, "research_use_only": True, "images": sorted(digests)}
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()
