"""Merge the results and journals of parts into what one run would have given."""

from __future__ import annotations

from edgeapl.merging.merge import Merged, MergeRequest, merge

__all__ = ["MergeRequest", "Merged", "merge"]
