"""The colour space of a PNG, by precedence: cICP, iCCP, sRGB, gAMA and cHRM, EXIF."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

from edgeapl.sources.formats.colour import (
    MOST_BYTES,
    SRGB,
    ColourError,
    profile_of,
    profile_of_codes,
)
from edgeapl.sources.formats.exif import Exif
from edgeapl.types import Remark

_OF_SRGB = 45_455
"""Written to gAMA for decoders that do not know sRGB's own curve."""


def profile(chunks: Mapping[bytes, bytes], exif: Exif) -> tuple[bytes, tuple[Remark, ...]]:
    """Return an ICC profile of the colours, empty for sRGB, and remarks on what is unusable."""
    try:
        return _profile(chunks, exif), ()
    except (ColourError, zlib.error, struct.error) as error:
        text = (
            f"what the PNG says of its colours cannot be used ({error}); they were taken for sRGB"
        )
        return b"", (Remark("colour", text, True),)


def _profile(chunks: Mapping[bytes, bytes], exif: Exif) -> bytes:
    if b"cICP" in chunks:
        primaries, transfer, _, _ = struct.unpack(">4B", chunks[b"cICP"])
        return profile_of_codes(primaries, transfer)
    if b"iCCP" in chunks:
        name, _, packed = chunks[b"iCCP"].partition(b"\0")
        unpacker = zlib.decompressobj()
        icc = unpacker.decompress(packed[1:], MOST_BYTES + 1)
        if not unpacker.eof or not icc:
            raise ColourError(f"profile {name.decode('latin-1')!r} is cut off or too large")
        return icc
    if b"sRGB" in chunks:
        return b""
    if b"gAMA" not in chunks and b"cHRM" not in chunks:
        return exif.icc
    chromaticities = list(SRGB)
    if b"cHRM" in chunks:
        values = [value / 100_000 for value in struct.unpack(">8I", chunks[b"cHRM"])]
        white, red, green, blue = zip(values[::2], values[1::2], strict=True)
        chromaticities = [red, green, blue, white]
    gamma = None
    if b"gAMA" in chunks:
        exponent = struct.unpack(">I", chunks[b"gAMA"])[0]
        if exponent == 0:
            raise ColourError("gamma 0")
        gamma = None if abs(exponent - _OF_SRGB) < 100 else 100_000 / exponent
    return profile_of(chromaticities, gamma, "gamma and chromaticities of the PNG")
