"""The picture of the newest examined frame."""

from __future__ import annotations

import asyncio

from edgeapl.station.access import StationAccess
from edgeapl.web.events import Feed
from edgeapl.web.station_calls import StationCalls


class Examined:
    """The newest examined frame; asked for once per frame, because to draw it takes long.

    Its number is our own: those of two slides may be the same.
    """

    def __init__(self, station: StationAccess, feed: Feed, call: StationCalls) -> None:
        self._station = station
        self._feed = feed
        self._call = call
        self._known: tuple[object, ...] = ()
        self._found: tuple[int, bytes] | None = None
        self._number = 0
        self._asking = asyncio.Lock()

    async def newest(self) -> tuple[int, bytes] | None:
        """Give its number and its JPEG; None when there is none."""
        async with self._asking:
            wanted = self._feed.picture.examined
            if wanted != self._known:
                found = await self._call(self._station.examined_jpeg)
                self._number += 1
                self._known = wanted
                self._found = None if found is None else (self._number, found[1])
            return self._found
