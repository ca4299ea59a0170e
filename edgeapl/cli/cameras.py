"""`edgeapl cameras`: the cameras that are there, with the address to give to `edgeapl watch`."""

from __future__ import annotations

from dataclasses import asdict

from edgeapl.cli.options import (
    JsonOption,
)
from edgeapl.cli.output import RESEARCH_USE_ONLY, answer_console, one_line, print_json


def cameras(as_json: JsonOption = False) -> None:
    """List cameras by addresses that stay the same.

    Finds cameras of this machine, GigE and USB3 Vision cameras and Micro-Manager's DemoCamera, and
    says which kinds it could not search for. Takes a few seconds; changes nothing.
    """
    from edgeapl.sources.devices.inventory import find_all

    listing = find_all()
    if as_json:
        print_json({
            "schema": 1,
            "cameras": [asdict(camera) for camera in listing.cameras],
            "not_searched": [asdict(kind) for kind in listing.not_searched],
            "research_use_only": True,
        })  # fmt: skip
        return
    terminal = answer_console()
    for camera in listing.cameras:
        terminal.print(one_line(camera.address), style="bold", markup=False, soft_wrap=True)
        terminal.print(f"    {one_line(camera.name)}", markup=False, soft_wrap=True)
        terminal.print(f"    stays with {one_line(camera.stays)}", markup=False, soft_wrap=True)
    if not listing.cameras:
        terminal.print("no camera found", style="yellow")
    for kind in listing.not_searched:
        text = f"not searched: {kind.kind}: {kind.why}"
        terminal.print(one_line(text), style="dim", markup=False, soft_wrap=True)
    terminal.print(RESEARCH_USE_ONLY, style="dim")
