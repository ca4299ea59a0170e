"""The model card of the embedded bundle `blood-cells`, from measured figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgeapl.export.blood_cells.classes import FOLDERS, KINDS, members

HEADER = """# blood-cells: a differential count, and immature granulocytes flagged

**Research use only. Not for diagnosis.** Trained on healthy donors' cells alone. It cannot tell
APL from other acute leukaemia, knows no blasts, calls every cell one of the kinds below whatever
it is, and never clears a slide: its answers are FLAG and REVIEW.

- **Data**: PBC, Acevedo et al. 2020 (Data in Brief 30:105474, doi 10.17632/snkd93bnjr), CC BY 4.0,
  resized to 224 px: cells of healthy people, May Grünwald-Giemsa, CellaVision DM96, Barcelona. All
  thirteen folders teach: eleven kinds, and two folders of cells that were named no closer teach
  the sum of theirs (neutrophils; immature granulocytes).
- **Input**: 24 µm around each cell at 0.21 µm per px, cut as the station cuts it. Optical
  densities are taken, and the lamp's colour removed, inside the graph.
- **Trained** to bear what does not make a kind: cells are turned, made larger and smaller by up to
  1.28, stained anew, laid on the ground of other images, blurred. {epochs} epochs.
- **Threshold**: 0.5. A cell that stays below it for every kind is in none: "other cell".
- Made again by `python -m edgeapl.export.blood_cells make`; seed and split are fixed. Training
  computes in bfloat16, which processors round in different ways.

## When it flags

- Promyelocytes, myelocytes and metamyelocytes together from 10 % of at least 100 cells on; with
  fewer cells when the whole interval lies above. 10 % of them in blood is a criterion of the WHO
  and ICC classifications for atypical CML (Khoury et al. 2022, Arber et al. 2022).
- Promyelocytes alone when at least 100 cells were scored and the whole 95 % interval of their share
  lies above {limit}. That is the 1 % from which a smear is called positive (International
  Consensus Group for Hematology Review, Barnes et al. 2005, Lab. Hematol. 11:83), and what this
  model calls promyelocytes by mistake in a usual differential: {share} of the held-out cells, or
  {high} with each class at the upper end of its interval; rounded up to half a percent.

Shares are per 100 cells found, not per 100 leukocytes: erythroblasts, platelets and what is no cell
count in the denominator.

## Held-out cells

{cells} cells of the set, every fifth block of a thousand image numbers; nothing was trained on
them. The set names no donors, so cells of one donor are on both sides and these figures are
optimistic. Intervals: 95 %, Wilson; DeLong for areas.

| class of the set | cells | called so | share (interval) | most often called else |
|---|---|---|---|---|
{rows}
| all eleven kinds | {all} | |

Promyelocytes against all others: area under the ROC curve {area}.

Laid on the ground of a cell of another class: {other} right.
The ground alone, the cell taken out: {alone} right; always naming the largest class: {largest}.
"""

OTHERS = """
## Other sets

Nothing was trained, chosen or tuned on them: other laboratories, cameras and diseases. Measured by
`make --others`.

| set | what is told apart | area (interval) |
|---|---|---|
| deepapl_discovery, {apl_cells} cells | {apl_promyelocytes} promyelocytes, others | {apl_area} |
| deepapl_discovery, 20 patients | APL, other AML, by share of promyelocytes | {patients_area} |
| aml_lmu_sample, {lmu_cells} cells | {lmu_promyelocytes} promyelocytes, others | {lmu_area} |

Flagged, of 60 cells each: {flagged[APL]} of {patients[APL]} patients with APL and {flagged[AML]}
of {patients[AML]} with other AML. It does not tell them apart and does not claim to.

| normal fields | slides | flagged | cells | promyelocytes (interval) | immature (interval) |
|---|---|---|---|---|---|
{rows}

As far as is known the people in these sets were not ill in this way, so what is called immature
there is an error. The scale is measured from the red cells, as at a station. Of bccd every eighth
field was taken.
"""


def model_card(
    known: Mapping[str, Any], others: Mapping[str, Any] | None, limit: float, epochs: int
) -> str:
    """Write the card.

    known, others : of `held_out` and `other_sets`; the latter None where nothing was measured.
    """
    errors = known["errors_on_mature"]["promyelocyte"]
    rows = [
        f"| {name.replace('_', ' ')} | {_counted(known['classes'][name])} | "
        f"{_confused(name, known['called'][name])} |"
        for name in FOLDERS
        if name in known["classes"]
    ]
    text = HEADER.format(
        epochs=epochs,
        limit=_percent(limit),
        share=_percent(errors["share"]),
        high=_percent(errors["high"]),
        cells=known["cells"],
        rows="\n".join(rows),
        all=_counted(known["accuracy"]),
        area=_area(known["promyelocyte"]),
        other=_share(known["other_ground"]),
        alone=_share(known["ground_alone"]),
        largest=_percent(known["largest_class"]["share"]),
    )
    return text if others is None else text + _others(others)


def _others(others: Mapping[str, Any]) -> str:
    apl, lmu = others["deepapl_discovery"], others["aml_lmu_sample"]
    rows = []
    for name, one in others["normal_fields"].items():
        flagged = ", ".join(one["flagged"]) or "none"
        called = " | ".join(
            f"{role['cells']} ({_percent(role['low'])} to {_percent(role['high'])})"
            for role in (one["called"]["promyelocyte"], one["called"]["immature_granulocyte"])
        )
        rows.append(f"| {name} | {one['slides']} | {flagged} | {one['cells']} | {called} |")
    return OTHERS.format(
        apl_cells=apl["cells"],
        apl_promyelocytes=apl["promyelocytes"],
        apl_area=_area(apl["promyelocyte"]),
        patients_area=_area(apl["patients_area"]),
        lmu_cells=lmu["cells"],
        lmu_promyelocytes=lmu["promyelocytes"],
        lmu_area=_area(lmu["promyelocyte"]),
        flagged=apl["flagged"],
        patients=apl["patients"],
        rows="\n".join(rows),
    )


def _confused(name: str, called: Sequence[int]) -> str:
    """Say what cells of a class are most often called that they are not."""
    own = members(name)
    count, kind = max(
        (count, kind) for kind, count in zip(KINDS, called, strict=True) if kind not in own
    )
    return f"{kind.replace('_', ' ')} ({count})" if count else ""


def _counted(one: Mapping[str, Any]) -> str:
    return f"{one['cells']} | {one['right']} | {_share(one)}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _share(one: Mapping[str, float]) -> str:
    return f"{one['share']:.3f} ({one['low']:.3f} to {one['high']:.3f})"


def _area(one: Mapping[str, float]) -> str:
    return f"{one['area']:.3f} ({one['low']:.3f} to {one['high']:.3f})"
