"""Decodes what OpenCV reads well: PNG, JPEG and BMP."""

from __future__ import annotations

import cv2
import numpy as np

from edgeapl.sources.decoder_messages import captured_messages
from edgeapl.sources.formats.header import ImageHeader, damaged
from edgeapl.types import Remark, UInt8

_BGR, _BGRA = 3, 4


def decoded(data: bytes, header: ImageHeader, name: str) -> tuple[UInt8, tuple[Remark, ...]]:
    """Return pixels as stored, uint8 (H, W, 3) RGB or (H, W, 4) RGBA. Raises InputError."""
    kind = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    if header.alpha:
        kind = cv2.IMREAD_UNCHANGED  # keeps the alpha channel, and the orientation
    with captured_messages() as words:
        try:
            image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), kind)
        except cv2.error as error:
            raise damaged(name, f"{header.format}: {error.err}") from error
    if words.damage:
        raise damaged(name, words.damage)
    if image is None:
        raise damaged(name, f"{header.format} cannot be decoded")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (_BGR, _BGRA):
        raise damaged(name, f"{header.format} holds no 8-bit colour image")
    if image.shape[2] == _BGRA:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA, dst=image), np.uint8), ()
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image), dtype=np.uint8), ()
