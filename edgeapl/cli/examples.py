"""Examples of every command, for its help; a test parses each of them."""

from __future__ import annotations

from collections.abc import Mapping

EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "": (
        "edgeapl demo",
        "edgeapl score slides --bundle bundles/ours --um-per-px 0.1 --out results",
        "edgeapl watch camera0 --page --bundle bundles/ours",
    ),
    "demo": ("edgeapl demo", "edgeapl demo healthy --seed 7 --out demo-results"),
    "score": (
        "edgeapl score slides --bundle bundles/ours --um-per-px 0.1 --out results",
        "edgeapl score slide.svs --bundle bundles/ours",
        "edgeapl score cells --crops --json",
        "edgeapl score slides --cluster local:4",
    ),
    "merge": (
        "edgeapl merge results-1 results-2 --out results",
        "edgeapl merge r1 r2 --out all --from 1.sqlite3 --from 2.sqlite3",
    ),
    "watch": (
        "edgeapl watch camera0 --page --bundle bundles/ours",
        "edgeapl watch 'demo://apl?seed=1' --page",
        "edgeapl watch camera0 --resume S-2041",
    ),
    "cameras": ("edgeapl cameras", "edgeapl cameras --json"),
    "evaluate": (
        "edgeapl evaluate results --labels labels.csv",
        "edgeapl evaluate results --labels labels.csv --plots plots",
        "edgeapl evaluate --confusion matrix.csv",
    ),
    "compare": ("edgeapl compare bundles/old bundles/new --slides slides",),
    "station use": ("edgeapl station use bundles/new", "edgeapl station use --back"),
    "train": ("edgeapl train mil-small --slides slides --labels labels.csv --out run",),
    "distill": ("edgeapl distill bundles/ours --frames slides --out bundles/student",),
    "export": (
        "edgeapl export resnet50-mil --weights model=weights.pt --out bundles/ours",
        "edgeapl export recipe.toml --weights model=weights.pt --out bundles/ours",
    ),
    "export-labels": (
        "edgeapl export-labels results --format coco",
        "edgeapl export-labels results --format qupath --out labels",
    ),
    "cohorts": ("edgeapl cohorts", "edgeapl cohorts apl-aml downloads/apl-aml --out lists"),
    "calibrate": (
        "edgeapl calibrate bundles/ours --frames slides",
        "edgeapl calibrate bundles/ours --frames slides --labels labels.csv",
    ),
    "build-engine": (
        "edgeapl build-engine bundles/ours",
        "edgeapl build-engine bundles/ours --precision int8 --target openvino",
    ),
    "monitor": ("edgeapl monitor", "edgeapl monitor journal.sqlite3 --out station.html"),
    "bench": (
        "edgeapl bench",
        "edgeapl bench bundles/ours --scenario glass-to-flag --budget 45",
        "edgeapl bench bundles/old bundles/new --page bench.html",
    ),
    "inspect": ("edgeapl inspect bundles/ours",),
    "sign": ("edgeapl sign bundles/ours --key lab.key --name 'Haematology lab'",),
    "doctor": ("edgeapl doctor", "edgeapl doctor --unit camera0 > edgeapl.service"),
    "cluster slurm": ("edgeapl cluster slurm --workers 8 slides --out results > job.sh",),
    "engines list": ("edgeapl engines list",),
    "engines verify": ("edgeapl engines verify",),
    "engines tune": ("edgeapl engines tune 1a2b3c --bundle bundles/ours",),
    "engines prove": ("edgeapl engines prove 1a2b3c --bundle bundles/ours",),
    "engines inspect": ("edgeapl engines inspect 1a2b3c --layers",),
    "engines remove": ("edgeapl engines remove 1a2b3c",),
    "journal list": ("edgeapl journal list --last 20",),
    "journal show": ("edgeapl journal show 12", "edgeapl journal show 9f86d081 --json"),
    "journal verify": ("edgeapl journal verify",),
    "journal history": ("edgeapl journal history --slide S-2041",),
    "journal sign-off": (
        "edgeapl journal sign-off 12 --by AB --confirm",
        "edgeapl journal sign-off 12 --by AB --overrule AML --comment 'no Auer rods'",
    ),
    "journal acknowledge": (
        "edgeapl journal acknowledge",
        "edgeapl journal acknowledge 9f86d081 --by AB",
    ),
    "keys new": ("edgeapl keys new lab.key",),
    "keys show": ("edgeapl keys show lab.key.pub",),
}
"""Words of a command, without the program's name, to command lines of at most 78 characters."""
