"""Cameras for tests: real servers and drivers, and programs that stand in for a camera."""
