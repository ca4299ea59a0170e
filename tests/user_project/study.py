"""A user's program, as somebody with a strict type checker writes it; checked, and never run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import edgeapl


class Microscope:
    """A user's own camera keeps the promises of `edgeapl.FrameSource`."""

    live = True
    name = "my microscope"

    def read(self, timeout_s: float) -> edgeapl.Frame:
        """Give a grey picture."""
        pixels = np.full((480, 640, 3), 200, dtype=np.uint8)
        return edgeapl.Frame(pixels, 0, 0, 0.1, self.name, "0" * 64)

    def close(self) -> None:
        """Nothing is held."""


def flagged(folder: Path) -> list[str]:
    """Say why slides of a folder are flagged."""
    why: list[str] = []
    source: edgeapl.FrameSource = Microscope()
    field: NDArray[np.uint8] = np.zeros((64, 64, 3), dtype=np.uint8)
    with edgeapl.open_model("bundles/own", engines="none") as model:
        verdicts: list[edgeapl.Verdict] = [
            model.examine(folder, um_per_px=0.1),
            model.examine([folder / "a.png", folder / "b.png"]),
            model.examine([field, field], slide="arrays"),
            model.examine(source, max_frames=2),
        ]
        scored: edgeapl.Scored = edgeapl.score(folder, model, out="results")
    for verdict in verdicts:
        if verdict.decision is edgeapl.Decision.FLAG:
            why += [reason.text for reason in verdict.reasons]
        cells: edgeapl.Cells = verdict.cells
        picture: NDArray[np.uint8] = cells.crop(0)
        share: float = float((cells.suspicion > 0.5).mean())
        why.append(f"{picture.shape} {share:.2f}")
    document = edgeapl.evaluate(scored.out, "labels.csv", positive="APL")
    bundle: Path = edgeapl.export("recipe.toml", out="bundles/own", weights={"model": "w.pt"})
    engines: Path = edgeapl.build_engine(bundle, precision="int8")
    return [*why, str(document["schema"]), str(engines)]


def wrong(folder: Path) -> None:
    """Mistakes that a type checker has to find; each is marked, so that none goes unnoticed."""
    with edgeapl.open_model() as model:
        model.examine(3)  # type: ignore[arg-type]
        model.examine(folder, scale=0.1)  # type: ignore[call-arg]
        print(model.examine(folder).verdict)  # type: ignore[attr-defined]
    edgeapl.build_engine(precision="int4")  # type: ignore[arg-type]
