"""Built engines on disk: what each is, where it was built, and whether it may be used here."""
