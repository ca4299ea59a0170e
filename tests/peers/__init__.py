"""Comparisons with other tools; run by hand."""
