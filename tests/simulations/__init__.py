"""Scripts that play a rule through many drawn slides, on counts alone."""
