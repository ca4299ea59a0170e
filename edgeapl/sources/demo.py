"""`demo://apl?seed=1`: a drawn slide as a source of frames."""

from __future__ import annotations

import threading
import time
from urllib.parse import parse_qsl, urlsplit

from edgeapl.bundle.digest import sha256
from edgeapl.closable import ClosesItself
from edgeapl.errors import ConfigError, EndOfSource
from edgeapl.sources.synthetic import draw_frame, slide_recipe
from edgeapl.sources.synthetic.smear import KINDS
from edgeapl.types import Frame

DEFAULT_FRAMES = 8

# option: (smallest, largest)
OPTIONS: dict[str, tuple[float, float]] = {
    "seed": (0, 2**31 - 1),
    "frames": (1, 100_000),
    "width": (320, 8192),
    "height": (240, 8192),
    "um_per_px": (0.05, 0.5),
    "cells": (0, 400),
}


class DemoSource(ClosesItself):
    """Implements FrameSource by drawing; the same address gives the same frames.

    Parameters
    ----------
    kind : ``apl``, ``aml`` or ``healthy``.
    options : values for the names in `OPTIONS`.
    """

    live = False

    def __init__(self, kind: str, options: dict[str, float]) -> None:
        self.name = f"demo://{kind}"
        self._recipe = slide_recipe(
            kind,
            int(options.get("seed", 1)),
            um_per_px=options.get("um_per_px", 0.15),
            width=int(options.get("width", 1280)),
            height=int(options.get("height", 960)),
            cells=options.get("cells", 24.0),
        )
        self._seed = int(options.get("seed", 1))
        self._frames = int(options.get("frames", DEFAULT_FRAMES))
        self._next = 0
        self._stop = threading.Event()

    @classmethod
    def from_address(cls, address: str) -> DemoSource:
        """Parse an address such as ``demo://apl?seed=1&frames=12``. Raises ConfigError."""
        parts = urlsplit(address)
        kind = parts.netloc or parts.path.strip("/")
        if kind not in KINDS:
            raise ConfigError(
                "unknown demonstration", address, f"choose demo://{{{','.join(KINDS)}}}"
            )
        return cls(kind, dict(_option(address, *pair) for pair in parse_qsl(parts.query, True)))

    def read(self, timeout_s: float) -> Frame:
        """Draw the next frame. Raises EndOfSource after the last."""
        if self._next >= self._frames:
            raise EndOfSource
        index = self._next
        self._next += 1
        drawn = draw_frame(self._recipe, index, self._stop)
        return Frame(
            pixels=drawn.pixels,
            index=index,
            captured_ns=time.monotonic_ns(),
            um_per_px=self._recipe.um_per_px,
            source=f"{self.name}?seed={self._seed}#{index}",
            digest=sha256(drawn.pixels.tobytes()),
        )

    def interrupt(self) -> None:
        """Stop drawing, even in the middle of a frame: a large one takes seconds."""
        self._stop.set()

    def close(self) -> None:
        """Stop drawing."""
        self._next = self._frames


def _option(address: str, name: str, text: str) -> tuple[str, float]:
    if name not in OPTIONS:
        raise ConfigError(
            "unknown option of a demonstration", f"{name} in {address}", f"use {', '.join(OPTIONS)}"
        )
    low, high = OPTIONS[name]
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise ConfigError(
            "option is wrong", f"{name}={text}", f"give a number from {low} to {high}"
        )
    return name, value
