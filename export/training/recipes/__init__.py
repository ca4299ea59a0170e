"""One module per system that can be trained."""
