"""Run Segment Anything's two networks: the encoder once a frame, the decoder on full batches."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgeapl.bundle.specs import SamSpec
from edgeapl.errors import EngineError
from edgeapl.protocols import Arrays, Engine
from edgeapl.stages.detect.detector import letterbox
from edgeapl.types import Float32, UInt8

MEAN_COLOUR = (124, 116, 104)
"""Fills the image up where the frame ends: the colour that the encoder subtracts, in whole
numbers, so that what is no frame is nearly zero, as it is when Segment Anything fills up."""

MASKS = 4
ANSWERED = 4
"""The masks' side is a fourth of the image's."""


def embedded(pixels: UInt8, encoder: Engine, spec: SamSpec) -> tuple[Float32, float]:
    """Return a frame's embedding, and the scale, input px per frame px.

    Parameters
    ----------
    pixels : uint8 (H, W, 3) RGB.

    Raises EngineError when the network fails, gives no numbers or another shape.
    """
    image, scale = letterbox(pixels, spec.side, spec.side, MEAN_COLOUR)
    (given,) = encoder.inputs
    embedding = encoder.run({given: image[None]})["embedding"]
    _check("encoder", "embedding", np.asarray(embedding, np.float32))
    return np.asarray(embedding, np.float32), scale


def answers(
    prompts: Float32, embedding: Float32, decoder: Engine, spec: SamSpec
) -> Iterator[tuple[Float32, Float32]]:
    """Answer all prompts, a batch at a time and in their order.

    Parameters
    ----------
    prompts : float32 (N, 2, 3); see `edgeapl.stages.sam.prompts`.

    Returns the masks' logits, float32 (n, 4, side / 4, side / 4), and their predicted IoU, float32
    (n, 4): first the mask of a prompt that leaves no doubt, then three of one that does. Raises
    EngineError as `embedded`.
    """
    side = spec.side // ANSWERED
    for start in range(0, len(prompts), spec.batch_size):
        some = prompts[start : start + spec.batch_size]
        given: Arrays = {"prompts": np.ascontiguousarray(some), "embedding": embedding}
        made = decoder.run(given)
        masks = np.asarray(made["masks"], np.float32)
        quality = np.asarray(made["predicted_iou"], np.float32)
        for name, values, shape in (
            ("masks", masks, (len(some), MASKS, side, side)),
            ("predicted_iou", quality, (len(some), MASKS)),
        ):
            if values.shape != shape:
                mend = f"expected {shape}, got {values.shape}: export the bundle again"
                raise EngineError("decoder gave the wrong shape", name, mend)
            _check("decoder", name, values)
        yield masks, quality


def _check(network: str, name: str, values: Float32) -> None:
    if not bool(np.isfinite(values).all()):
        raise EngineError(
            f"{network} gave something that is no number", name, "export the bundle again"
        )
