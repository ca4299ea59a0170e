"""Compares engines with the FP32 networks, and finds the layers that make the difference."""
