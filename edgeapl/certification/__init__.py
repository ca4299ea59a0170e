"""Let a bundle earn that it may clear slides: limits proven on labelled slides."""

from __future__ import annotations
