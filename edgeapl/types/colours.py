"""Colours of cells in two numbers per axis, as they are moved from one look to another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeapl.types.arrays import Float32, check_array, read_only


@dataclass(frozen=True, slots=True, eq=False)
class Colours:
    """Mean and standard deviation on the three axes of `edgeapl.stages.colour_transfer`.

    mean, deviation : float32 (3,), natural logarithms; finite, the deviation 0 or more.
    """

    mean: Float32
    deviation: Float32

    def __post_init__(self) -> None:
        for name, values in (("mean", self.mean), ("deviation", self.deviation)):
            check_array(f"Colours.{name}", values, np.float32, (3,))
            if not bool(np.isfinite(values).all()):
                raise ValueError(f"Colours.{name}: expected finite numbers")
            read_only(values)
        if bool((self.deviation < 0).any()):
            raise ValueError("Colours.deviation: expected 0 or more")

    @property
    def rows(self) -> Float32:
        """Both, float32 (2, 3)."""
        return np.stack([self.mean, self.deviation])
