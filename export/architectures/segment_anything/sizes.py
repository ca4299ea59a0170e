"""The sizes in which Segment Anything was published, and how a checkpoint tells its own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

SIDE = 1024
"""Of the image that the published networks take, px."""

PATCH = 16
"""Input px to one position of the embedding, in all sizes."""

ENCODER = "image_encoder."

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class VitSize:
    """A plain vision transformer (Kirillov et al. 2023, appendix A; Li et al. 2022, ViTDet).

    width : of its tokens. heads : of each attention. windows : for each block the side of its
    windows in tokens; None where it attends to the whole image. side : of the image, px.
    """

    width: int
    heads: int
    windows: tuple[int | None, ...]
    side: int = SIDE

    @property
    def grid(self) -> int:
        """Side of the embedding."""
        return self.side // PATCH


@dataclass(frozen=True, slots=True)
class TinyVitSize:
    """TinyViT (Wu et al. 2022) as MobileSAM changed it: its last merging keeps the resolution.

    widths : of the four stages. depths : blocks of each. heads, windows : of the last three.
    side : of the image, px.
    """

    widths: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]
    heads: tuple[int, int, int]
    windows: tuple[int, int, int]
    side: int = SIDE

    @property
    def grid(self) -> int:
        """Side of the embedding."""
        return self.side // PATCH


def _vit(width: int, heads: int, blocks: int) -> VitSize:
    """Return a published size: each quarter of the blocks ends with one that sees all."""
    every = blocks // 4
    windows = tuple(None if (block + 1) % every == 0 else 14 for block in range(blocks))
    return VitSize(width, heads, windows)


VIT_B = _vit(768, 12, 12)
VIT_L = _vit(1024, 16, 24)
MOBILE = TinyVitSize((64, 128, 160, 320), (2, 2, 6, 2), (4, 5, 10), (7, 14, 7))


def size_of(shapes: Shapes) -> VitSize | TinyVitSize | None:
    """Read the size of the image encoder from the shapes of a checkpoint's tensors.

    None when they are of neither kind. TinyViT holds nothing that tells the image's side: 1024 px
    as published.
    """
    own = {
        after: shape
        for name, shape in shapes.items()
        for before, part, after in (name.partition(ENCODER),)
        if part
    }
    if "pos_embed" in own:
        return _vit_of(own)
    if "patch_embed.seq.0.c.weight" in own:
        return _tiny_of(own)
    return None


def _vit_of(own: Shapes) -> VitSize | None:
    positions = own["pos_embed"]
    if len(positions) != 4 or "blocks.0.attn.rel_pos_h" not in own:
        return None
    _, grid, _, width = positions
    extents = [
        (own[f"blocks.{block}.attn.rel_pos_h"][0] + 1) // 2
        for block in range(_count(own, "blocks.{}.attn.rel_pos_h"))
    ]
    windows = tuple(None if extent == grid else extent for extent in extents)
    heads = width // own["blocks.0.attn.rel_pos_h"][1]
    return VitSize(width, heads, windows, grid * PATCH)


def _tiny_of(own: Shapes) -> TinyVitSize | None:
    biases = [f"layers.{stage}.blocks.0.attn.attention_biases" for stage in (1, 2, 3)]
    if any(name not in own for name in (*biases, "layers.0.blocks.0.conv1.c.weight")):
        return None
    counts = [_count(own, "layers.0.blocks.{}.conv1.c.weight")]
    counts += [
        _count(own, f"layers.{stage}.blocks.{{}}.attn.attention_biases") for stage in (1, 2, 3)
    ]
    widths = [own["layers.0.blocks.0.conv1.c.weight"][1]]
    widths += [own[f"layers.{stage}.blocks.0.attn.norm.weight"][0] for stage in (1, 2, 3)]
    heads = [own[name][0] for name in biases]
    windows = [math.isqrt(own[name][1]) for name in biases]
    return TinyVitSize(
        (widths[0], widths[1], widths[2], widths[3]),
        (counts[0], counts[1], counts[2], counts[3]),
        (heads[0], heads[1], heads[2]),
        (windows[0], windows[1], windows[2]),
    )


def _count(own: Shapes, pattern: str) -> int:
    count = 0
    while pattern.format(count) in own:
        count += 1
    return count
