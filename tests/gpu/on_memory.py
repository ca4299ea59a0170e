"""The memory module on the driver: copies, memory that is short, and whether anything is left."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeapl.engines.trt.memory import GpuMemory
from tests.gpu.record import UnmetError
from tests.gpu.site import Site

MOST_BYTES = 8 << 20
LEFT_BYTES = 32 << 20
"""A driver keeps some memory for itself, whatever is given back; a leak of 200 rounds is more."""


def copies(site: Site) -> dict[str, Any]:
    """Send, move and fetch random bytes 200 times, each time in memory of its own."""
    return _copies(site, site.driver)


def other_interface(site: Site) -> dict[str, Any]:
    """Do the same through the other way to ask the driver: pycuda or cuda-bindings."""
    return _copies(site, site.other_driver())


def _copies(site: Site, driver: Any) -> dict[str, Any]:
    rng, moved = np.random.default_rng(0), 0
    rounds = site.rounds(200, 5)
    for number in range(rounds):
        memory = GpuMemory(driver)
        with memory.active():
            values = rng.integers(0, 256, int(rng.integers(1, MOST_BYTES)), dtype=np.uint8)
            source, target = (memory.buffer(values.size, "uint8") for _ in range(2))
            upload, download = memory.new_stream(), memory.new_stream()
            there = memory.event()
            memory.send(source, values, upload)
            memory.clear(target, upload)
            memory.move(target.address, source.address, values.size, upload)
            there.raw.record(upload.raw)
            download.raw.wait_for_event(there.raw)
            memory.fetch(target, values.size, download)
            memory.wait()
            if not np.array_equal(target.host, values):
                raise UnmetError(f"round {number}: {values.size} bytes came back otherwise")
            moved += 2 * values.size
        memory.close()
    return {"rounds": rounds, "bytes": moved}


def out_of_memory(site: Site) -> dict[str, Any]:
    """Ask for more than there is: refused in words, and all goes on afterwards."""
    memory = GpuMemory(site.driver)
    with memory.active():
        free = memory.unused
        try:
            memory.room(free + (1 << 30))
        except site.driver.Error as error:
            text = str(error)
        else:
            raise UnmetError(f"the driver gave 1 GiB more than the {free} bytes that are free")
        after = memory.room(1 << 20)
    memory.close()
    if "memory" not in text.lower():
        raise UnmetError(f"the driver does not say that memory is short: {text}")
    return {"free": free, "said": text, "afterwards": after > 0}


def leaks(site: Site) -> dict[str, Any]:
    """Take and give back 200 times; a failed round must leave nothing either."""
    watch = GpuMemory(site.driver)
    with watch.active():
        before = watch.unused
    rounds = site.rounds(200, 5)
    for number in range(rounds):
        memory = GpuMemory(site.driver)
        with memory.active():
            memory.buffer(MOST_BYTES, "uint8")
            memory.new_stream()
            memory.event(timed=True)
            if number % 2:
                try:
                    memory.room(1 << 50)
                except site.driver.Error:
                    pass  # what was meant to happen
                else:
                    raise UnmetError("the driver gave a pebibyte")
        memory.close()
    with watch.active():
        after = watch.unused
    watch.close()
    if before - after > LEFT_BYTES:
        raise UnmetError(f"{before - after} bytes were not given back in {rounds} rounds")
    return {"rounds": rounds, "free_before": before, "free_after": after}
