"""Score a folder on many machines: workers examine slides, one program commits and writes.

Uses Dask `distributed`. Everybody who reaches its scheduler can run programs on every worker, so it
belongs on a network of its own, or behind TLS (Dask's own settings).
"""
