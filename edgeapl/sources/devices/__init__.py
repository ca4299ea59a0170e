"""Cameras behind a driver or a network: one module per kind, each with its own heavy import."""
