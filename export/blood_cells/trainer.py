"""Train the network on a pool of cells; kept running means of the weights are what counts."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgeapl.export.blood_cells.augmentation import augment, ground_of, soft_outline
from edgeapl.export.blood_cells.classes import FOLDERS, KINDS, members
from edgeapl.export.blood_cells.network import BloodCells
from edgeapl.export.blood_cells.pool import Pool
from edgeapl.types import UInt8

BATCH = 64
PEAK_RATE = 3e-3
SEED = 20261129
SMOOTHING = 0.05
KEPT = 0.998
"""Share of the running mean that one step leaves."""

HELD_OUT = 5
"""One block of a thousand image numbers in so many is held out; there are no donors' names."""

Say = Callable[[str], None]


def held_out(pool: Pool) -> NDArray[np.bool_]:
    """Tell which cells nothing is trained on, bool (N,): whole blocks of neighbouring numbers."""
    return np.asarray((pool.number // 1000) % HELD_OUT == 0)


def truths() -> torch.Tensor:
    """Return which kinds a folder's cells may be, float32 (13, 11) of 0 and 1."""
    table = torch.zeros(len(FOLDERS), len(KINDS))
    for row, folder in enumerate(FOLDERS):
        table[row, [KINDS.index(kind) for kind in members(folder)]] = 1.0
    return table


def train(pool: Pool, epochs: int, say: Say) -> BloodCells:
    """Train with a one-cycle rate. On one thread the seed makes it repeatable."""
    torch.manual_seed(SEED)
    network = BloodCells().to(memory_format=torch.channels_last)
    mean: BloodCells = copy.deepcopy(network).eval()
    cells, inside = torch.from_numpy(pool.cells), torch.from_numpy(pool.inside)
    parts = list(zip(cells.split(256), inside.split(256), strict=True))
    grounds = torch.cat([ground_of(*part) for part in parts])
    soft = torch.cat([soft_outline(part) for _, part in parts])
    truth = truths()[torch.from_numpy(pool.folder)]
    steps = len(pool) // BATCH
    optimiser = torch.optim.AdamW(network.parameters(), lr=PEAK_RATE, weight_decay=5e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, PEAK_RATE, total_steps=epochs * steps, pct_start=0.15
    )
    network.train()
    began = time.monotonic()
    for epoch in range(epochs):
        order, total = torch.randperm(len(pool)), 0.0
        for step in range(steps):
            rows = order[step * BATCH : (step + 1) * BATCH]
            elsewhere = grounds[torch.randint(len(pool), (BATCH,))]
            shown = augment(cells[rows], soft[rows], elsewhere)
            with torch.autocast("cpu", torch.bfloat16):
                logits, _ = network.logits(shown)
            loss = _loss(logits.float(), truth[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            _follow(mean, network, min(KEPT, (1 + epoch * steps + step) / (10 + epoch * steps)))
            total += float(loss.detach())
        passed = time.monotonic() - began
        say(f"epoch {epoch + 1} of {epochs}: loss {total / steps:.4f}, {passed:.0f} s")
    return mean


def _loss(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Cross-entropy; of a cell that was named no closer, of the sum of what it may be."""
    log = torch.log_softmax(logits, dim=1)
    named = -torch.logsumexp(log.masked_fill(truth == 0, -1e4), dim=1)
    return ((1 - SMOOTHING) * named - SMOOTHING * log.mean(1)).mean()


def _follow(mean: nn.Module, network: nn.Module, kept: float) -> None:
    with torch.no_grad():
        pairs = zip(mean.state_dict().values(), network.state_dict().values(), strict=True)
        for old, new in pairs:
            if old.dtype.is_floating_point:
                old.lerp_(new, 1 - kept)
            else:
                old.copy_(new)


def predict(network: BloodCells, crops: UInt8) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return probabilities (N, 11) and features (N, 64) of uint8 (N, 112, 112, 3)."""
    scores, features = [], []
    with torch.no_grad():
        for start in range(0, len(crops), 256):
            logits, seen = network.logits(torch.from_numpy(crops[start : start + 256]))
            scores.append(torch.softmax(logits, dim=1).numpy())
            features.append(seen.numpy())
    return np.concatenate(scores), np.concatenate(features)
