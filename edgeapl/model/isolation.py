"""Calls a function in a process of its own, which may hang, want all memory or crash.

What it refuses is raised here as it was raised there, so that nobody need try the same again.
"""

from __future__ import annotations

import os
import pickle
import queue
import resource
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edgeapl.errors import EdgeAplError, EngineError
from edgeapl.process.child import ChildProcess
from edgeapl.process.lifetime import end_first
from edgeapl.process.memory import nameless_file
from edgeapl.process.messages import Codec, Failure, MessageError
from edgeapl.process.parent import Parent

CHILD = "edgeapl.model.isolation"

GRACE_S = 1.0
"""For a process that has closed its pipe, so that its exit code is known."""

LEAST_BYTES = 2 << 30
SHARE = 0.9
"""Of the memory that is available now, for the process: more would end other programs."""


@dataclass(frozen=True, slots=True)
class Call:
    """To the process: call the function that lies pickled in an inherited file.

    is_bounded : limit the memory of the process.
    """

    descriptor: int
    is_bounded: bool


@dataclass(frozen=True, slots=True)
class Returned:
    """From the process, at its end: the function has returned, or raised an error of ours."""

    refusal: Failure | None
    kind: Literal["returned"] = "returned"


CALLS: Codec[Call] = Codec(Call)
RETURNS: Codec[Returned] = Codec(Returned)


def call_isolated(
    function: Callable[..., object],
    *arguments: Any,
    folder: Path,
    limit_s: float,
    bounded: bool = True,
) -> None:
    """Call a function of a module elsewhere and wait for its end; what it returns is lost.

    Parameters
    ----------
    function, arguments : must be picklable. folder : what it is about, for messages.
    limit_s : how long it may take, start included.
    bounded : limit its memory; a driver of a GPU reserves more than it uses.

    Raises what the function raises of `EdgeAplError`, and EngineError when it does not come to an
    end or ends its process.
    """
    until = time.monotonic() + limit_s
    descriptor = nameless_file("edgeapl-call")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            pickle.dump((function, arguments), file)
        child = ChildProcess(CHILD, CALLS, RETURNS, descriptors=[descriptor])
    except OSError as error:
        text = error.strerror or type(error).__name__
        raise EngineError("networks cannot be tried in a process", folder, text) from error
    finally:
        os.close(descriptor)
    try:
        child.send(Call(descriptor, bounded))
        _wait(child, folder, limit_s, until)
    finally:
        child.end()


def _wait(child: ChildProcess[Call, Returned], folder: Path, limit_s: float, until: float) -> None:
    """Wait for the end; raises as `call_isolated`."""
    while (left_s := until - time.monotonic()) > 0:
        try:
            messages = child.receive(left_s)
        except MessageError as error:
            what = "process of networks does not keep to the rules"
            raise EngineError(what, folder, str(error)) from error
        if messages is None:
            how = str(child.end(GRACE_S))
            raise EngineError("networks end the process that runs them", folder, how)
        for message in messages:
            if message.refusal is not None:
                raise message.refusal.make()
            return
    text = f"nothing came of its self-test in {limit_s:g} s; look for a loop without an end"
    raise EngineError("networks do not come to an end", folder, text)


def main() -> None:
    """Do what the parent says, once; ends the process."""
    requests, replies = map(int, sys.argv[1:])
    parent: Parent[Call, Returned] = Parent(requests, replies, CALLS, RETURNS)
    end_first(1000)
    calls: queue.SimpleQueue[Call] = queue.SimpleQueue()
    parent.listen(calls.put)
    call = calls.get()
    if call.is_bounded:
        _limit_memory()
    os.lseek(call.descriptor, 0, os.SEEK_SET)
    with open(call.descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
        # It comes from the process that started this one.
        function, arguments = pickle.load(file)  # noqa: S301
    refusal = None
    try:
        function(*arguments)
    except EdgeAplError as error:
        refusal = Failure.of(error)
    sys.stdout.flush()
    parent.send(Returned(refusal))
    os._exit(0)  # threads of a runtime have nothing more to say


def _limit_memory() -> None:
    """Let a huge allocation fail, or this process be the one that the kernel ends."""
    with suppress(OSError, ValueError):
        limit = max(LEAST_BYTES, int(SHARE * _available_bytes()))
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _available_bytes() -> int:
    """Return the memory that is free or only a cache; raises OSError or ValueError when unknown."""
    with Path("/proc/meminfo").open(encoding="ascii") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    raise ValueError("no MemAvailable")
