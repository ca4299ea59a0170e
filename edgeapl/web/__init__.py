"""The page of a station: one screen in a browser, served by the station itself."""

from __future__ import annotations
