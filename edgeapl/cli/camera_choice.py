"""Which camera a name on the command line means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeapl.cli.output import console, one_line

if TYPE_CHECKING:
    from rich.console import Console

    from edgeapl.config import StationConfig


def resolved_camera(name: str, config: StationConfig) -> str:
    """Return the address for a name that the station file lacks; other addresses stay.

    Raises ConfigError or CameraError, after printing the lines that could go into the station file.
    """
    from edgeapl.errors import ConfigError, EdgeAplError
    from edgeapl.sources.devices.inventory import find_all
    from edgeapl.sources.devices.unnamed import is_general, lines_for, only_camera

    if config.cameras and is_general(name):
        mend = f"the station file has: {', '.join(config.cameras)}"
        raise ConfigError("no camera has this name", name, mend)
    if not is_general(name):
        return name
    listing, terminal = find_all(), console()
    try:
        camera = only_camera(name, listing)
    except EdgeAplError:
        if listing.cameras:
            terminal.print("what is there; write one of these into edgeapl.toml:", style="yellow")
        for found in listing.cameras:
            for line in lines_for(name, found):
                terminal.print(one_line(line), markup=False, soft_wrap=True)
        raise
    text = f"{name} is the only camera that is there: {camera.name}, {camera.address}"
    terminal.print(one_line(text), style="yellow", markup=False, soft_wrap=True)
    return camera.address


def warn_of_number(address: str, terminal: Console) -> None:
    """Print a camera's stable name when it is addressed by its number."""
    if not address.isdigit():
        return
    from edgeapl.sources.devices.v4l import describe

    stable = describe(int(address)).stable_name
    text = f"camera {address} may be another one after the next start: write {stable}"
    terminal.print(one_line(text), style="yellow", markup=False, soft_wrap=True)
