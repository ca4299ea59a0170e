"""What `import edgeapl` offers to programs and notebooks; see `edgeapl.__all__`.

Import the names from `edgeapl` itself. Research use only. Not for diagnosis.
"""
