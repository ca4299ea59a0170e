"""Which camera a name means that no station file explains."""

from __future__ import annotations

import json
import re

from edgeapl.errors import CameraError, ConfigError
from edgeapl.sources.devices.inventory import FoundCamera, Listing
from edgeapl.wording.printable import printable

PROGRAM = "micromanager"
"""Kind of the simulated camera: it is nobody's microscope, so it is never used implicitly."""

_GENERAL = re.compile(r"camera[0-9]*")


def is_general(name: str) -> bool:
    """Return whether a name such as ``camera0`` means no particular camera."""
    return _GENERAL.fullmatch(name) is not None


def lines_for(name: str, camera: FoundCamera) -> tuple[str, str]:
    """Return the lines of the station file that name a camera, TOML."""
    comment = f"  # {printable(camera.name)}"
    # JSON's escapes are valid in TOML too.
    return f"[cameras.{name}]", f"source = {json.dumps(camera.address)}{comment}"


def only_camera(name: str, listing: Listing) -> FoundCamera:
    """Return the only camera of this machine.

    Raises CameraError when there is none, ConfigError when there are several.
    """
    real = [camera for camera in listing.cameras if camera.kind != PROGRAM]
    if len(real) == 1:
        return real[0]
    which = f"{name}, and no station file names it"
    if real:
        mend = f"write {lines_for(name, real[0])[0]} and a source into edgeapl.toml"
        raise ConfigError(f"{len(real)} cameras are there", which, mend)
    but = f" but {printable(listing.cameras[0].name)}, a program" if listing.cameras else ""
    mend = "plug it in, or name it in edgeapl.toml; edgeapl cameras says what was looked for"
    raise CameraError(f"no camera is there{but}", which, mend)
