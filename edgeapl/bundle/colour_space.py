"""The space in which colours are brought to a bundle's: Reinhard et al. 2001, eqs. 4 to 6."""

from __future__ import annotations

import numpy as np

CONES = np.array([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]])
AXES = np.diag([3**-0.5, 6**-0.5, 2**-0.5]) @ np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]])
"""Responses of the cones to red, green and blue, and the axes of their logarithms."""

FROM_CONES, FROM_AXES = np.linalg.inv(CONES), np.linalg.inv(AXES)

GREYS = 256.0
"""Pixels are shown to the logarithm as (value + 1) / GREYS: it has no answer for 0."""

MOST_LOGARITHM = 16.0
"""Moved responses are kept within this on both sides: far beyond black and white, and their
differences are still numbers."""
