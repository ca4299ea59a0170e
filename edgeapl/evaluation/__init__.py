"""Compares results with the truth: slides, patients, cells, or a confusion matrix."""
