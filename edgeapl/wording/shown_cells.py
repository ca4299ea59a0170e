"""How a bundle changes cells before its networks see them, in words."""

from __future__ import annotations


def shown_in_words(colour_transfer: str | None, views: int) -> str:
    """Say what `edgeapl.bundle.specs.CropSpec` asks for beyond cutting."""
    colours = "in the colours of the image"
    if colour_transfer is not None:
        colours = "in colours brought to those of the training, frame by frame (Reinhard 2001)"
    if views == 1:
        return f"once, {colours}"
    return f"in {views} views, mirrored and turned, whose answers are averaged; {colours}"
