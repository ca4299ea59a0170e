"""Build engines from a bundle, prove them, time them, keep the best."""
