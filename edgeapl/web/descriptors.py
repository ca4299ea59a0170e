"""File descriptors, shared with the station: its journal, results, camera and networks."""

from __future__ import annotations

import resource

RESERVED = 256
"""Reserved for the station; with three networks and a camera it uses about 100."""


def descriptors_for_page(wanted: int) -> int:
    """Raise this process's limit as needed and allowed; return how many the page may use."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = wanted + RESERVED
    if soft != resource.RLIM_INFINITY and soft < need:
        soft = need if hard == resource.RLIM_INFINITY else min(need, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft == resource.RLIM_INFINITY else min(wanted, soft - RESERVED)
