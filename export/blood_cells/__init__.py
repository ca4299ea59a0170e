"""Train the embedded bundle `blood-cells` on the PBC set; anyone can run it again.

python -m edgeapl.export.blood_cells make --data pbc224 --out BUNDLE --cache CACHE
"""
