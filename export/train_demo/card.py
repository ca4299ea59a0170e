"""The model card of the embedded bundle."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeapl.export.train_demo.pool import ROLE_NAMES

HEADER = """# apl-demo: a demonstration, not a diagnostic model

**Research use only. Not for diagnosis.** This bundle shows what the software does. It was trained
on drawn images alone (`edgeapl.sources.synthetic`), never on a patient's. On a real smear it has no
business: its domain guard is there to answer REVIEW, and its figures on real images below show why.

- Roles, in the manner of Eckardt 2022 (BMC Cancer 22:201): promyelocyte, myeloblast, Auer rod;
  three outputs of one shared trunk instead of three Xception networks.
- Slide: shares of positive cells, then one fully connected layer per question, APL against AML and
  APL against healthy; the smaller probability counts.
- Input: 19.2 µm around each cell at 0.2 µm per px, uint8; colours become optical densities inside the
  graph.
- Made again by `python -m edgeapl.export.train_demo make`; the seed is fixed.
"""


def model_card(figures: dict[str, Any], thresholds: NDArray[np.float32], epochs: int) -> str:
    """Write the card from measured figures."""
    lines = [HEADER, f"Trained for {epochs} epochs.", "", "## Drawn test slides", ""]
    lines += [
        "| role | threshold | AUC | recall | precision | positive cells |",
        "|---|" + "---|" * 5,
    ]
    for name, threshold in zip(ROLE_NAMES, thresholds, strict=True):
        f = figures["roles"][name]
        lines.append(
            f"| {name} | {threshold:.3f} | {f['auc']:.3f} | {f['recall']:.3f} | "
            f"{f['precision']:.3f} | {f['cells']} |"
        )
    lines += ["", "| kind of slide | bags of 20 to 300 cells | probability of APL at least 0.5 |"]
    lines += ["|---|---|---|"]
    for kind, f in figures["slides"].items():
        lines.append(f"| {kind} | {f['bags']} | {f['over_one_half']:.3f} |")
    lines += ["", "## Real images", "", REAL, ""]
    return "\n".join(lines)


REAL = """Version 1.0, measured by `python -m edgeapl.export.train_demo evaluate --data DATA`:

| set | what is told apart | AUC |
|---|---|---|
| deepapl_discovery, 1200 cells | promyelocytes from all others | 0.907 |
| | blasts from all others | 0.741 |
| deepapl_discovery, 20 patients | APL from AML, by the share of promyelocytes | 0.265 |
| aml_lmu_sample, 38 cells | promyelocytes from all others | 0.811 |
| | myeloblasts and monoblasts from all others | 0.625 |

Patients are told apart worse than by a coin: a model that has never seen a real cell must not judge
one. Do not use it on a smear."""
