"""Measures a bundle's speed here: per stage, against a budget, another bundle, and a floor."""
