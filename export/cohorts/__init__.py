"""Public cohorts: where they are, what they teach, and readers for how people download them."""
