"""Processor time that a step of `mil-small` takes for a cell.

python -m tests.data.measure_training_step

One thread, 64 random cells, the least of a few times; in float32 and in bf16.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import torch

from edgeapl.export.architectures.mil_small import SIDE, MilSmall
from edgeapl.export.training.recipes.mil_small import recipe

CELLS, TIMES = 64, 5


def least_ms(do: Callable[[], object]) -> float:
    """Return the processor's time for a cell, ms."""
    do()
    taken = []
    for _ in range(TIMES):
        begun = time.process_time()
        do()
        taken.append(time.process_time() - begun)
    return 1000 * min(taken) / CELLS


def main() -> None:
    torch.set_num_threads(1)
    cells = torch.rand(CELLS, 3, SIDE, SIDE)
    random = torch.Generator().manual_seed(1)
    change = recipe().augmentation
    print(f"random changes: {least_ms(lambda: change(cells, random)):.1f} ms a cell")
    ready = cells.contiguous(memory_format=torch.channels_last)
    network = MilSmall(2).to(memory_format=torch.channels_last).train()

    def step(half: bool) -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            features = network.encode(ready)
            slides = network.judge(features.view(4, CELLS // 4, -1))
            classes = network.name_cells(features)
        (slides.float().square().mean() + classes.float().square().mean()).backward()

    for name, half in (("float32", False), ("bf16", True)):
        taken = least_ms(partial(step, half))
        print(f"forwards and backwards in {name}: {taken:.1f} ms a cell")


if __name__ == "__main__":
    main()
