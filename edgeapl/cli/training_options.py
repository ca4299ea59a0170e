"""Options of commands that teach a network: on what it learns, and from which seed."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Optional

import typer

EXTRA = "pip install 'edgeapl[train]'"


class Device(str, Enum):
    """Where a network learns."""

    CPU = "cpu"
    CUDA = "cuda"


class Precision(str, Enum):
    """Numbers of the multiplications."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BF16 = "bf16"


SeedOption = Annotated[
    int, typer.Option(min=0, rich_help_panel="Training", help="Of all random choices.")
]
DeviceOption = Annotated[Device, typer.Option(rich_help_panel="Machine", help="Where to train.")]
PrecisionOption = Annotated[
    Precision,
    typer.Option(
        rich_help_panel="Machine",
        help="auto: bf16 where the device multiplies it (AMX, AVX-512, GPU).",
    ),
]
ThreadsOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        min=1,
        rich_help_panel="Machine",
        help="Of the processor; with 1, the same seed gives the same weights.",
    ),
]
