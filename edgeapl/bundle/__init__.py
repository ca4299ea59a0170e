"""The deployable model: one directory, one manifest, every file's SHA-256 in it."""
