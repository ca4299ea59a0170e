"""Lets a bundle earn the right to clear slides, with limits proven on labelled slides."""

from __future__ import annotations
