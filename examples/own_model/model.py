"""Stands for your own model: a small network of cells, its training, and a checkpoint.

    python examples/own_model/model.py weights.pt

trains it for some seconds on drawn cells and saves its state_dict, as your training code would.
It shows the way, it is no model: it never saw a real cell.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from torch import nn

CELL_CLASSES = ("promyelocyte", "other")
SIZE = 64


class OwnModel(nn.Module):
    """Cells float32 (N, 3, 64, 64) RGB in [0, 1] to class logits (N, 2) and features (N, 16)."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(3, 16, 5, 4, 2, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, 1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
        )
        self.embed = nn.Linear(32, 16)
        self.cell_head = nn.Linear(16, len(CELL_CLASSES))
        self.slide_head = nn.Linear(16, 2)

    def forward(self, cells: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Give class logits and features."""
        features = torch.relu(self.embed(self.trunk(cells).amax((2, 3))))
        return self.cell_head(features), features

    def slide(self, cells: torch.Tensor) -> torch.Tensor:
        """Give the logits (2,) of AML and APL for all cells of one slide."""
        return self.slide_head(self(cells)[1].mean(0))


def build() -> nn.Module:
    """Give the module that the checkpoint's keys fit; the recipe names this function."""
    return OwnModel()


def train(file: str) -> None:
    """Train on drawn slides and save the weights."""
    from edgeapl.bundle.specs import CropSpec
    from edgeapl.sources.synthetic import draw_frame, slide_recipe
    from edgeapl.stages.crop import cut_windows

    torch.manual_seed(0)
    window = CropSpec(window_um=19.2, size_px=SIZE)
    slides = []
    for kind in ("aml", "apl"):
        for seed in range(8):
            drawn = draw_frame(slide_recipe(kind, seed, um_per_px=0.2, cells=30), 0)
            centres = ((drawn.boxes[:, :2] + drawn.boxes[:, 2:]) / 2).astype(np.float32)
            crops = torch.from_numpy(cut_windows(drawn.pixels, centres, 0.2, window))
            cells = crops.permute(0, 3, 1, 2).float() / 255
            types = torch.tensor([int(not name.startswith("apl")) for name in drawn.classes])
            slides.append((cells, types, torch.tensor(int(kind == "apl"))))
    model = OwnModel()
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(12):
        for cells, types, diagnosis in slides:
            loss = nn.functional.cross_entropy(model(cells)[0], types)
            loss = loss + nn.functional.cross_entropy(model.slide(cells), diagnosis)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    torch.save(model.state_dict(), file)


if __name__ == "__main__":
    train(sys.argv[1])
