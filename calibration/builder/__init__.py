"""Builds engines from a bundle, proves them, times them and keeps the best."""
