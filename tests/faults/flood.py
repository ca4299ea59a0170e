"""Measure what complete requests cost the station: python -m tests.faults.flood.

A station looks at drawn slides while, in turns, nobody asks its page and CLIENTS ask it as fast as
they get answers, each on one connection that it keeps, or on a new one for every request. Frames a
minute of both are compared within one run; a browser's requests are timed beside them.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import multiprocessing
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Event
from pathlib import Path

from tests.faults.page_station import Address, serving

PATHS = ("/", "/live.jpg", "/examined.jpg", "/metrics", "/static/htmx-2.0.11.min.js")
SOURCE = "demo://apl?seed=1&width=640&height=480&frames=100000"
BROWSER_REST_S = 0.2
"""Between the pictures that one page asks for."""


def flood(address: Address, keep: bool, stop: Event, sent: SimpleQueue[int]) -> None:
    """Ask one address after another until told to stop; gives how many answers came."""
    answers = 0
    paths = itertools.cycle(PATHS)
    host = f"{address[0]}:{address[1]}"
    while not stop.is_set():
        with (
            suppress(OSError, http.client.HTTPException),
            closing(http.client.HTTPConnection(host, timeout=30)) as connection,
        ):
            for path in paths:
                connection.request("GET", path)
                connection.getresponse().read()
                answers += 1
                if stop.is_set() or not keep:
                    break
    sent.put(answers)


class Browser(threading.Thread):
    """Asks for the live picture as one page does; keeps the seconds that each answer took."""

    def __init__(self, address: Address) -> None:
        super().__init__(daemon=True)
        self._host = f"{address[0]}:{address[1]}"
        self.stopped = threading.Event()
        self.seconds: list[float] = []
        self.refused = 0

    def run(self) -> None:
        while not self.stopped.is_set():
            start = time.monotonic()
            status = 0
            with (
                suppress(OSError, http.client.HTTPException),
                closing(http.client.HTTPConnection(self._host, timeout=10)) as connection,
            ):
                connection.request("GET", "/live.jpg")
                answer = connection.getresponse()
                answer.read()
                status = answer.status
            if status == 200:
                self.seconds.append(time.monotonic() - start)
            else:
                self.refused += 1
            self.stopped.wait(BROWSER_REST_S)

    @property
    def words(self) -> str:
        middle, longest = statistics.median(self.seconds), max(self.seconds)
        return f"picture {middle:.2f} s, longest {longest:.2f} s, {self.refused} refused"


class Frames(threading.Thread):
    """Reads what the station says with --json; `count` is the frames that it has examined."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        super().__init__(daemon=True)
        self._process = process
        self.count = 0

    def run(self) -> None:
        for line in self._process.stdout or ():
            with suppress(ValueError, KeyError):
                document = json.loads(line)
                self.count = document["frames_used"] + document["frames_rejected"]


@contextmanager
def flooding(address: Address, clients: int, *, keep: bool) -> Iterator[list[int]]:
    """Flood while inside; the answers of each client are given afterwards."""
    stop = multiprocessing.Event()
    sent: SimpleQueue[int] = multiprocessing.SimpleQueue()
    at_work = [
        multiprocessing.Process(target=flood, args=(address, keep, stop, sent))
        for _ in range(clients)
    ]
    for client in at_work:
        client.start()
    answers: list[int] = []
    try:
        yield answers
    finally:
        stop.set()
        answers += [sent.get() for _ in at_work]
        for client in at_work:
            client.join()


def window(
    address: Address, process: subprocess.Popen[str], frames: Frames, given: argparse.Namespace
) -> float:
    """Give the frames a minute of one window, and print what else there is to know."""
    browser = Browser(address)
    browser.start()
    time.sleep(1)
    before, busy, start = frames.count, cpu_s(process.pid), time.monotonic()
    time.sleep(given.seconds)
    took = time.monotonic() - start
    minute = 60 * (frames.count - before) / took
    cores = (cpu_s(process.pid) - busy) / took
    browser.stopped.set()
    browser.join()
    print(f"  {minute:.0f} frames/min, station {cores:.2f} cores; {browser.words}", flush=True)
    return minute


def cpu_s(pid: int) -> float:
    """Give the processor time of a process without its children, s."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--keep", action="store_true", help="one connection a client")
    given = parser.parse_args()
    quiet, flooded = list[float](), list[float]()
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder), SOURCE, "--json") as (address, process),
    ):
        frames = Frames(process)
        frames.start()
        while frames.count < 3:
            time.sleep(0.1)
        for _ in range(given.turns):
            print("quiet")
            quiet.append(window(address, process, frames, given))
            print("flooded")
            with flooding(address, given.clients, keep=given.keep) as answers:
                flooded.append(window(address, process, frames, given))
            print(f"  {sum(answers)} answers to {given.clients} clients")
    ratio = statistics.median(flooded) / statistics.median(quiet)
    print(f"frames a minute, flooded against quiet: {ratio:.2f}")


if __name__ == "__main__":
    main()
