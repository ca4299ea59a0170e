"""`python -m edgeapl`: the same as the command `edgeapl`."""

from __future__ import annotations

from edgeapl.cli.main import main

if __name__ == "__main__":
    main()
