"""Cameras behind a driver or a network; one file for each kind, each with its own heavy import."""
