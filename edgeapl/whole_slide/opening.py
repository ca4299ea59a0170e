"""Which files are scans, and which reader opens one: OpenSlide, or for a TIFF what reads more."""

from __future__ import annotations

from pathlib import Path

from edgeapl.errors import InputError
from edgeapl.sources.formats.scanners import SLIDES_EXTRA
from edgeapl.sources.formats.tiff_levels import pyramid_shapes
from edgeapl.whole_slide.companions import SET, scans_of_set
from edgeapl.whole_slide.openslide_pyramid import GENERIC, OpenSlidePyramid, openslide_library
from edgeapl.whole_slide.pyramid import Pyramid
from edgeapl.whole_slide.tiff_pyramid import TiffPyramid
from edgeapl.wording.printable import printable

_TIFFS = frozenset({".svs", ".ndpi", ".scn", ".bif", ".svslide", ".tif", ".tiff", ".btf", ".tf8"})
SUFFIXES = frozenset({*_TIFFS, ".mrxs", ".vms", ".vmu", ".dcm", SET})

LARGEST_IMAGE_PX = 30_000_000
"""A TIFF that names no scanner and is no larger than this is read as an ordinary image."""


def is_whole_slide(path: Path) -> bool:
    """Return whether a file is a scan that can be read here; always False without the extra."""
    if path.suffix.lower() not in SUFFIXES or not path.is_file():
        return False
    library = openslide_library()
    if library is None:
        return False
    if path.suffix.lower() == SET:
        return True
    vendor = library.OpenSlide.detect_format(str(path))
    if vendor not in (None, GENERIC):
        return True
    if path.suffix.lower() not in _TIFFS:
        return False
    shapes = pyramid_shapes(path, printable(path))
    return len(shapes) > 1 and shapes[0][0] * shapes[0][1] > LARGEST_IMAGE_PX


def open_pyramid(path: Path) -> Pyramid:
    """Open a scan. Raises InputError when it cannot be read or the extra is missing."""
    library = openslide_library()
    if library is None:
        raise InputError("scans cannot be read here", printable(path), SLIDES_EXTRA)
    if path.suffix.lower() == SET:
        return open_pyramid(_only_scan(path))
    try:
        scan = OpenSlidePyramid(path, library)
    except InputError:
        if path.suffix.lower() not in _TIFFS:
            raise
        return TiffPyramid(path)
    if path.suffix.lower() not in _TIFFS or (len(scan.levels) > 1 and scan.can_be_read()):
        return scan
    # A damaged tile looks like a packing that OpenSlide does not know: whoever reads more decides.
    try:
        other = TiffPyramid(path)
    except InputError:
        return scan
    if len(other.levels) < len(scan.levels):
        other.close()
        return scan
    scan.close()
    return other


def _only_scan(listed: Path) -> Path:
    """Return the scan of a set of one; raises InputError for others, whose light is no stain's."""
    try:
        names = scans_of_set(listed)
    except OSError as error:
        raise InputError("scan cannot be opened", printable(listed), str(error)) from error
    if len(names) > 1:
        what = f"set of {len(names)} scans, one for each channel of fluorescence"
        mend = "give a scan of a stained smear in transmitted light"
        raise InputError(what, printable(listed), mend)
    scan = listed.parent / Path(names[0]).name if names else listed
    if scan.suffix.lower() == SET or not scan.is_file():
        mend = f"put {printable(names[0])} beside it" if names else "give the scan itself"
        raise InputError("set of scans without a scan", printable(listed), mend)
    return scan
