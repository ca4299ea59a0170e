"""Reads checkpoints from outside: files are hostile until their tensors have been checked."""

from __future__ import annotations

from edgeapl.export.checkpoints.loader import Loaded, load_into
from edgeapl.export.checkpoints.reader import Checkpoint, read_checkpoint
from edgeapl.export.checkpoints.tensor_match import Choice

__all__ = ["Checkpoint", "Choice", "Loaded", "load_into", "read_checkpoint"]
