"""How a bundle changes cells before its networks see them, in words."""

from __future__ import annotations


def shown_in_words(colour_transfer: str | None) -> str:
    """Say what `edgeapl.bundle.specs.CropSpec` asks for beyond cutting."""
    if colour_transfer is None:
        return "in the colours of the image"
    return "in colours brought to those of the training images, frame by frame (Reinhard 2001)"
