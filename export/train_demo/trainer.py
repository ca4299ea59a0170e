"""Trains the cell network on a pool, and the head on slides made from held-out cells."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgeapl.export.architectures.heads import RatioEnsemble
from edgeapl.export.train_demo.network import CellNetwork
from edgeapl.export.train_demo.pool import Pool
from edgeapl.sources.synthetic.smear import KINDS

BATCH = 64
PEAK_RATE = 3e-3
SEED = 20261120

Say = Callable[[str], None]


def train_cells(pool: Pool, epochs: int, say: Say) -> CellNetwork:
    """Train with a one-cycle rate; rare positives weigh more. The seed makes it repeatable."""
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    network = CellNetwork()
    crops, truth = torch.from_numpy(pool.crops), torch.from_numpy(pool.truth)
    rate = truth.mean(0).clamp(0.02, 0.98)
    loss_of = nn.BCEWithLogitsLoss(pos_weight=((1 - rate) / rate).sqrt())
    steps = epochs * (len(crops) // BATCH)
    optimiser = torch.optim.AdamW(network.parameters(), lr=PEAK_RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK_RATE, total_steps=steps)
    network.train()
    for epoch in range(epochs):
        order = torch.randperm(len(crops))
        total = 0.0
        for step in range(len(crops) // BATCH):
            rows = order[step * BATCH : (step + 1) * BATCH]
            logits, _ = network.logits(augment(crops[rows]))
            loss = loss_of(logits, truth[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += float(loss.detach())
        say(f"epoch {epoch + 1} of {epochs}: loss {total / (len(crops) // BATCH):.4f}")
    network.eval()
    return network


def augment(cells: torch.Tensor) -> torch.Tensor:
    """Rotate and mirror, vary stain, light, focus and noise: uint8 (N, S, S, 3) to the same."""
    count = len(cells)
    x = torch.rot90(cells, int(torch.randint(4, ())), (1, 2))
    if torch.rand(()) < 0.5:
        x = x.flip(2)
    x = x.permute(0, 3, 1, 2).float()
    angle = (torch.rand(count) - 0.5) * np.pi / 2
    zoom = 1 + 0.3 * (torch.rand(count) - 0.5)
    turn = torch.zeros(count, 2, 3)
    turn[:, 0, 0] = turn[:, 1, 1] = torch.cos(angle) * zoom
    turn[:, 0, 1], turn[:, 1, 0] = -torch.sin(angle) * zoom, torch.sin(angle) * zoom
    turn[:, :, 2] = 0.12 * (torch.rand(count, 2) - 0.5)
    grid = nn.functional.affine_grid(turn, list(x.shape), align_corners=False)
    x = nn.functional.grid_sample(x, grid, padding_mode="border", align_corners=False)
    if torch.rand(()) < 0.4:
        x = nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    white = x.amax((2, 3), keepdim=True)
    strength = (
        1 + 0.5 * (torch.rand(count, 1, 1, 1) - 0.5) + 0.24 * (torch.rand(count, 3, 1, 1) - 0.5)
    )
    x = white * (x.clamp(min=1) / white.clamp(min=1)) ** strength
    x = x * (0.75 + 0.35 * torch.rand(count, 1, 1, 1)) * (0.95 + 0.1 * torch.rand(count, 3, 1, 1))
    x = x + torch.randn(x.shape) * 5 * torch.rand(count, 1, 1, 1)
    return x.clamp(0, 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def predict(network: CellNetwork, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
    """Return probabilities (N, 3) and features (N, 64)."""
    scores, features = [], []
    with torch.no_grad():
        for start in range(0, len(crops), 256):
            logits, f = network.logits(torch.from_numpy(crops[start : start + 256]))
            scores.append(torch.sigmoid(logits).numpy())
            features.append(f.numpy())
    return np.concatenate(scores), np.concatenate(features)


def slide_ratios(
    scores: NDArray[np.float32],
    slide: NDArray[np.int64],
    thresholds: NDArray[np.float32],
    seed: int,
    bags: int = 40,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return ratios (B, 3) of bags of 20 to 300 cells, each from one slide, and its kind (B,)."""
    random = np.random.default_rng(seed)
    positive = scores >= thresholds
    ratios, kinds = [], []
    for number in np.unique(slide):
        own = positive[slide == number]
        for _ in range(bags):
            rows = random.integers(0, len(own), int(random.integers(20, 300)))
            ratios.append(own[rows].mean(axis=0))
            kinds.append(int(number) % len(KINDS))
    return np.array(ratios, dtype=np.float32), np.array(kinds)


def train_head(ratios: NDArray[np.float32], kinds: NDArray[np.int64]) -> RatioEnsemble:
    """Fit both logistic layers, with weights for promyelocytes and Auer rods kept at 0 or above."""
    torch.manual_seed(SEED)
    head = RatioEnsemble()
    x = torch.from_numpy(ratios)
    apl = torch.from_numpy((kinds == KINDS.index("apl")).astype(np.float32))
    optimiser = torch.optim.Adam(head.parameters(), lr=0.05)
    for other, layer in (("aml", head.aml), ("healthy", head.healthy)):
        used = torch.from_numpy(np.isin(kinds, [KINDS.index("apl"), KINDS.index(other)]))
        for _ in range(600):
            loss = (
                nn.functional.binary_cross_entropy_with_logits(layer(x[used])[:, 0], apl[used])
                + 1e-3 * (layer.weight**2).sum()
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            with torch.no_grad():
                layer.weight[0, [0, 2]] = layer.weight[0, [0, 2]].clamp(min=0)
    head.eval()
    return head
