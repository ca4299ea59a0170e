"""Whether the station in this container is well: its page answers and its camera is live."""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request

ADDRESS = "http://127.0.0.1:8765/metrics"


def main() -> int:
    """Return 0 when the station is well, else 1 and one line that says why not."""
    request = urllib.request.Request(ADDRESS)
    if token := os.environ.get("EDGEAPL_TOKEN"):
        request.add_header("Authorization", f"Bearer {token}")
    try:
        # The address is ours; no proxy stands before the own machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=4) as answer:
            text = answer.read().decode()
    except (OSError, urllib.error.HTTPError) as error:
        sys.stdout.write(f"the page does not answer: {error}\n")
        return 1
    if "edgeapl_camera_live 1.0" not in text.splitlines():
        sys.stdout.write("the camera is not live\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
