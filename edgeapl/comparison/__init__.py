"""Compare two bundles on the same slides, before a station takes the new one."""

from __future__ import annotations

from edgeapl.comparison.compare import ComparisonRequest, compare_bundles

__all__ = ["ComparisonRequest", "compare_bundles"]
