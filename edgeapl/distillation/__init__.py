"""Teaches a small network the answers of a bundle, and proves that it gives them."""
