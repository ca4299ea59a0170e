"""Another segmenter than a recipe's own; Segment Anything brings its two networks.

Kirillov et al. 2023 ("Segment Anything", ICCV) and Zhang et al. 2023 ("Faster Segment Anything",
MobileSAM). `--weights sam=FILE` takes sam_vit_l_0b3195.pth, sam_vit_b_01ec64.pth and mobile_sam.pt
as they are published; the file tells which of them it is. Random weights get ViT-L, which Yan 2025
used, unless the name says another.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from edgeapl.errors import BundleError, UsageError
from edgeapl.export.architectures.segment_anything import (
    DECODER_OUTPUTS,
    MOBILE,
    PATCH,
    VIT_B,
    VIT_L,
    SegmentAnything,
    TinyVitSize,
    VitSize,
    size_of,
)
from edgeapl.export.architectures.segment_anything.sizes import SIDE
from edgeapl.export.recipes.recipe import (
    IMAGENET,
    Images,
    NetworkRecipe,
    Numbers,
    Output,
    Shapes,
    Shared,
)

Size = VitSize | TinyVitSize

SIZES: dict[str, Size | None] = {
    "sam": None,
    "sam-vit-l": VIT_L,
    "sam-vit-b": VIT_B,
    "sam-mobile": MOBILE,
}
GRID = "-grid"
"""After one of these names: points of a grid are asked about instead of boxes."""

CLASSICAL = ("hsv-watershed", "field")
ROLE = "sam"
ENCODER, DECODER = "sam_encoder", "sam_decoder"
CHANNELS = 256
MOST_WEIGHTS = (1 << 31) // 4
"""Float32 numbers that one ONNX file can hold."""


@dataclass(frozen=True, slots=True)
class Finder:
    """What finds cells: its networks, and the manifest's part."""

    networks: tuple[NetworkRecipe, ...]
    settings: dict[str, Any]


def other_segmenter(name: str) -> Finder:
    """Return the segmenter of this name, for recipes that can do with another than their own.

    Raises UsageError when there is none.
    """
    if name in CLASSICAL:
        return Finder((), {"kind": name})
    size = name.removesuffix(GRID)
    if size in SIZES:
        return segment_anything(SIZES[size], prompts="grid" if name.endswith(GRID) else "boxes")
    names = ", ".join([*CLASSICAL, *SIZES])
    mend = f"this recipe takes: {names}; after sam also {GRID}"
    raise UsageError("no such segmenter", f"--segmenter {name}", mend)


def segment_anything(size: Size | None, *, side: int = SIDE, **settings: Any) -> Finder:
    """Return Segment Anything as a segmenter.

    Parameters
    ----------
    size : that checkpoints must have; None for whichever they have. side : of the image, px.
    settings : of `edgeapl.bundle.specs.SamSpec`.
    """
    mean, deviation = IMAGENET
    build = _builder(size, side)
    encoder = NetworkRecipe(
        name=ENCODER,
        weights=ROLE,
        build=build,
        part=_encoder,
        input_name="image",
        input=Images(side, side, mean=mean, deviation=deviation, many=False),
        outputs=(Output("embedding"),),
    )
    decoder = NetworkRecipe(
        name=DECODER,
        weights=ROLE,
        build=build,
        part=_decoder,
        input_name="prompts",
        input=Numbers((2, 3)),
        outputs=tuple(Output(name) for name in DECODER_OUTPUTS),
        shared=Shared("embedding", (CHANNELS, side // PATCH, side // PATCH)),
    )
    sam = {"encoder": ENCODER, "decoder": DECODER, "side": side, **settings}
    return Finder((encoder, decoder), {"kind": "sam", "sam": sam})


def _builder(size: Size | None, side: int) -> Callable[[Shapes], nn.Module]:
    def build(shapes: Shapes) -> nn.Module:
        if not shapes:
            return SegmentAnything(replace(size or VIT_L, side=side))
        return SegmentAnything(_size_in(shapes, size, side))

    return build


def _size_in(shapes: Shapes, wanted: Size | None, side: int) -> Size:
    """Return the size of a checkpoint's encoder. Raises BundleError when it cannot be taken."""
    found = size_of(shapes)
    if found is None:
        mend = "give sam_vit_l_0b3195.pth, sam_vit_b_01ec64.pth or mobile_sam.pt"
        raise BundleError("checkpoint is no Segment Anything that is known", ROLE, mend)
    if isinstance(found, TinyVitSize):
        found = replace(found, side=side)
    if found.side != side:
        mend = f"it takes {found.side} px, the published ones {side} px"
        raise BundleError("checkpoint is for images of another size", ROLE, mend)
    if wanted is not None and found != replace(wanted, side=side):
        mend = "leave the size out of --segmenter, the file tells it"
        raise BundleError("checkpoint is not of the size that was named", ROLE, mend)
    if sum(math.prod(shape) for shape in shapes.values()) > MOST_WEIGHTS:
        mend = "one ONNX file holds 2 GB: give ViT-L, ViT-B or MobileSAM"
        raise BundleError("checkpoint is too large", ROLE, mend)
    return found


def _encoder(module: nn.Module, explain: bool) -> nn.Module:
    encoder: nn.Module = module.image_encoder
    return encoder


def _decoder(module: nn.Module, explain: bool) -> nn.Module:
    decoder: nn.Module = module.decoder()
    return decoder
