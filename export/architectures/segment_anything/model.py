"""All of Segment Anything, under the keys of the published files, and the two parts that run.

Keys and shapes are those of sam_vit_b_01ec64.pth and sam_vit_l_0b3195.pth (the package
`segment_anything`) and of mobile_sam.pt (MobileSAM), whose own code loads them strictly. The mean
and deviation of colours are not in the files: they are ImageNet's.
"""

from __future__ import annotations

import torch
from torch import nn

from edgeapl.export.architectures.segment_anything.mask_decoder import MaskDecoder
from edgeapl.export.architectures.segment_anything.prompts import PromptEncoder
from edgeapl.export.architectures.segment_anything.sizes import PATCH, TinyVitSize, VitSize
from edgeapl.export.architectures.segment_anything.tiny_vit import TinyVit
from edgeapl.export.architectures.segment_anything.vit import Vit

__all__ = ["DECODER_OUTPUTS", "PATCH", "WIDTH", "SegmentAnything"]

WIDTH = 256
"""Channels of the embedding, in all sizes."""

DECODER_OUTPUTS = ("masks", "predicted_iou")


class SegmentAnything(nn.Module):
    """All weights. Has no forward.

    Parameters
    ----------
    size : of the image encoder.
    """

    def __init__(self, size: VitSize | TinyVitSize) -> None:
        super().__init__()
        self.size = size
        self.image_encoder: nn.Module = (
            Vit(size, WIDTH) if isinstance(size, VitSize) else TinyVit(size, WIDTH)
        )
        self.prompt_encoder = PromptEncoder(WIDTH, size.side)
        self.mask_decoder = MaskDecoder(WIDTH)

    def decoder(self) -> Decoder:
        """Return the part that answers prompts, sharing these weights."""
        return Decoder(self)


class Decoder(nn.Module):
    """Prompts float32 (N, 2, 3) and one embedding (1, 256, grid, grid) to `DECODER_OUTPUTS`.

    For prompts see `PromptEncoder`, for masks and their predicted IoU `MaskDecoder`.
    """

    def __init__(self, model: SegmentAnything) -> None:
        super().__init__()
        self.prompt_encoder = model.prompt_encoder
        self.mask_decoder = model.mask_decoder
        self._grid = model.size.grid

    def forward(
        self, prompts: torch.Tensor, embedding: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return masks and predicted IoU."""
        embedding = embedding + self.prompt_encoder.no_mask_embed.weight[:, :, None, None]
        places = self.prompt_encoder.positions(self._grid)
        masks, quality = self.mask_decoder(self.prompt_encoder(prompts), embedding, places)
        return masks, quality
