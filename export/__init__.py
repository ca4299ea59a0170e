"""Checkpoint to verified ONNX to bundle; the only code that imports torch."""

if __name__ != "edgeapl.export":
    raise ImportError(
        f"the folder 'export' is imported as {__name__!r}: import it as edgeapl.export, "
        "so that no module is ever loaded twice under two names"
    )
