"""A small network of a user's own, in a file, and the recipe beside it."""

from __future__ import annotations

from pathlib import Path

HEAD = """
from dataclasses import dataclass
from typing import NamedTuple
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 5, 4)
        self.fc = nn.Linear(8, 2)

    def features(self, x):
        return torch.relu(self.conv(x)).mean((2, 3))

    def forward(self, x):
        return self.fc(self.features(x))

def build():
    return Net()
"""

RECIPE = """
name = "own"
intended_use = "Research use only."
um_per_px = 0.2
[images]
window_um = 6.4
size_px = 32
[networks.cells]
weights = "model"
factory = "model.py:build"
outputs = ["logits"]
softmax.logits = ["promyelocyte", "other"]
[[roles]]
name = "promyelocyte"
network = "cells"
output = "promyelocyte"
threshold = 0.5
suspicious = true
[reducer]
kind = "vote"
[rule]
flag_at = 0.2
clear_below = 0.05
suspicious_share = 0.2
min_scored = 20
max_lost_share = 0.1
"""


def forward(*lines: str, layers: str = "") -> str:
    """Give a network with this forward, whose first line is line 24 of the file.

    layers : put into ``self.more``, a sequence that stands at the end of the file.
    """
    body = "\n".join(f"        {line}" for line in lines)
    more = (
        "    def __init__(self):\n        super().__init__()\n"
        f"        self.more = nn.Sequential({layers})\n"
    )
    return (
        f"{HEAD}\nclass Own(Net):\n    def forward(self, x):\n{body}\n"
        f"{more if layers else ''}\ndef build(): return Own()\n"
    )


def with_layers(layers: str, *, flat: bool = False) -> str:
    """Give a network with further layers, before its mean over the picture or (flat) behind it."""
    if flat:
        return forward("return self.fc(self.more(self.features(x)))", layers=layers)
    return forward("return self.fc(self.more(self.conv(x)).mean((2, 3)))", layers=layers)


def own_recipe(folder: Path, code: str, recipe: str = RECIPE) -> Path:
    """Write both files, and give the recipe's."""
    (folder / "model.py").write_text(code)
    (folder / "recipe.toml").write_text(recipe)
    return folder / "recipe.toml"
