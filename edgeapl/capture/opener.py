"""Open what a station watches: cameras in a supervised child, everything else directly."""

from __future__ import annotations

from edgeapl.capture.source import SupervisedSource
from edgeapl.protocols import FrameSource
from edgeapl.sources.address import is_device, open_source
from edgeapl.sources.frames import ScaleFor


def open_watched(
    address: str, scale_for: ScaleFor, *, patient: bool = False, serial: str | None = None
) -> FrameSource:
    """Open a source for `edgeapl watch`.

    Parameters
    ----------
    address : see `edgeapl.sources.address.UNDERSTOOD`.
    scale_for : gives µm per px and its origin.
    patient : wait for a camera that is not there yet.
    serial : must be part of what a camera says it is.

    Raises what `open_source` does.
    """
    if is_device(address):
        source = SupervisedSource(address, scale_for, patient=patient, serial=serial)
        if not patient:
            try:
                source.wait_until_open()
            except BaseException:
                source.close()
                raise
        return source
    return open_source(address, scale_for=scale_for)
