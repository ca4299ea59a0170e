"""Compare what was said with what is known: slides, patients, cells, or a confusion matrix."""
