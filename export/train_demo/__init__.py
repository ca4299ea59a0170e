"""Trains the embedded demonstration bundle on drawn smears, reproducibly.

python -m edgeapl.export.train_demo make --out edgeapl/models/apl-demo --cache CACHE
python -m edgeapl.export.train_demo evaluate --data DATA [--bundle BUNDLE]
"""
