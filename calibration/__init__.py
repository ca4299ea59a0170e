"""Chooses the calibration set, measures ranges and fingerprints the domain."""

if __name__ != "edgeapl.calibration":
    raise ImportError(
        f"the folder 'calibration' is imported as {__name__!r}: import it as edgeapl.calibration, "
        "so that no module is ever loaded twice under two names"
    )
