"""Rewrites a network in eight or sixteen bits."""
