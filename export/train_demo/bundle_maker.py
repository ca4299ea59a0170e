"""Makes the embedded bundle: train, choose thresholds, fit the domain, write the card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgeapl.export.onnx_file import onnx_bytes
from edgeapl.export.train_demo.card import model_card
from edgeapl.export.train_demo.domain_fit import fit_domain
from edgeapl.export.train_demo.figures import role_figures, slide_figures
from edgeapl.export.train_demo.pool import CROP, ROLE_NAMES, make_pool
from edgeapl.export.train_demo.trainer import (
    Say,
    predict,
    slide_ratios,
    train_cells,
    train_head,
)
from edgeapl.model.sealer import seal_bundle
from edgeapl.report.pictures import png_bytes
from edgeapl.sources.synthetic import draw_frame, slide_recipe

TRAINING, HELD_BACK, TEST = range(90), range(1000, 1060), range(2000, 2060)
"""Slide numbers; no slide is in two of them."""

FALSE_POSITIVES = 0.01
"""A role's threshold admits this share of its negative cells: a healthy slide's suspicious share
must stay well below the rule's.
"""

MIN_FOCUS = 1.5
"""Real frames in focus measure 1.7 or more, blurred by 1 µm 1.4 or less; see stages/focus.py."""

INTENDED_USE = (
    "Demonstration of the software on drawn images. Research use only. Not for diagnosis."
)


def make(out: Path, cache: Path, epochs: int, say: Say) -> None:
    """Make the bundle; the pools of drawn cells are kept in `cache`."""
    torch.set_num_threads(max(1, torch.get_num_threads()))
    training = make_pool(TRAINING, 4, cache)
    held_back = make_pool(HELD_BACK, 3, cache)
    test = make_pool(TEST, 3, cache)
    say(f"{len(training.crops)} cells to train on, {len(test.crops)} to test on")
    network = train_cells(training, epochs, say)

    scores, _ = predict(network, held_back.crops)
    thresholds = _thresholds(scores, held_back.truth)
    head = train_head(*slide_ratios(scores, held_back.slide, thresholds, seed=1))

    test_scores, _ = predict(network, test.crops)
    figures = {
        "roles": role_figures(test_scores, test.truth, thresholds),
        "slides": slide_figures(head, *slide_ratios(test_scores, test.slide, thresholds, 2, 5)),
    }
    cells = torch.zeros((2, CROP.size_px, CROP.size_px, 3), dtype=torch.uint8)
    names = [*ROLE_NAMES, "features"]
    files = {
        "cells.onnx": onnx_bytes(network, cells, "cells", names, batch=True),
        "head.onnx": onnx_bytes(
            head, torch.zeros((1, 3)), "ratios", ["apl_vs_aml", "apl_vs_healthy"], batch=False
        ),
        "MODEL_CARD.md": model_card(figures, thresholds, epochs).encode(),
    }
    golden = draw_frame(slide_recipe("apl", 5, um_per_px=0.2, width=480, height=360, cells=9), 0)
    seal_bundle(out, settings(thresholds), files, png_bytes(golden.pixels))
    bundle = fit_domain(out, say)
    say(f"wrote {out}, digest {bundle.digest}")


def settings(thresholds: NDArray[np.float32]) -> dict[str, Any]:
    """Return the manifest of the embedded bundle."""
    suspicious = {"promyelocyte": True, "myeloblast": False, "auer_rod": True}
    return {
        "name": "apl-demo",
        "version": "1.0",
        "intended_use": INTENDED_USE,
        "trained": True,
        "um_per_px": 0.2,
        "model_card": "MODEL_CARD.md",
        "segmenter": {"kind": "hsv-watershed"},
        "crop": CROP.model_dump(),
        "networks": {
            "cells": {"file": "cells.onnx", "input": "cells"},
            "head": {"file": "head.onnx", "input": "ratios"},
        },
        "roles": [
            {
                "name": name,
                "network": "cells",
                "output": name,
                "threshold": round(float(threshold), 3),
                "suspicious": suspicious[name],
            }
            for name, threshold in zip(ROLE_NAMES, thresholds, strict=True)
        ],
        "reducer": {
            "kind": "ratio",
            "head": "head",
            "head_outputs": ["apl_vs_aml", "apl_vs_healthy"],
        },
        "rule": {
            "flag_at": 0.5,
            "clear_below": 0.5,
            "suspicious_share": 0.2,
            "confidence": 0.95,
            "min_scored": 50,
            "max_lost_share": 0.1,
        },
        "gate": {"min_focus": MIN_FOCUS},
        "golden": {
            "frame": "golden.png",
            "expected": "golden.npz",
            "um_per_px": 0.2,
            "tolerance": 0.05,
        },
        "features": "cells.features",
    }


def _thresholds(scores: NDArray[np.float32], truth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the probability per role above which only the allowed share of negatives lies."""
    return np.array(
        [
            max(0.5, float(np.quantile(scores[truth[:, r] == 0, r], 1 - FALSE_POSITIVES)))
            for r in range(len(ROLE_NAMES))
        ],
        dtype=np.float32,
    ).round(3)
