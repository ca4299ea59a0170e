"""Engines: networks that are ready to run, one module per runtime."""

if __name__ != "edgeapl.engines":
    raise ImportError(
        f"the folder 'engines' is imported as {__name__!r}: import it as edgeapl.engines, "
        "so that no module is ever loaded twice under two names"
    )
