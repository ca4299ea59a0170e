"""The picture of the newest examined frame."""

from __future__ import annotations

import asyncio

from edgeapl.station.access import StationAccess
from edgeapl.web.events import Feed
from edgeapl.web.station_calls import StationCalls


class FramePicture:
    """The newest examined frame, fetched once per frame because drawing it takes long.

    It gets a number of its own: frames of two slides may have the same.
    """

    def __init__(self, station: StationAccess, feed: Feed, call: StationCalls) -> None:
        self._station = station
        self._feed = feed
        self._call = call
        self._known: tuple[object, ...] = ()
        self._found: tuple[int, bytes] | None = None
        self._number = 0
        self._fetching = asyncio.Lock()

    async def newest(self) -> tuple[int, bytes] | None:
        """Return its number and its JPEG; None when there is none."""
        async with self._fetching:
            wanted = self._feed.state.examined
            if wanted != self._known:
                found = await self._call(self._station.examined_jpeg)
                self._number += 1
                self._known = wanted
                self._found = None if found is None else (self._number, found[1])
            return self._found
