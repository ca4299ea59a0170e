"""Checkpoint to verified ONNX to bundle; the only code that imports torch."""

import sys
from importlib import import_module
from types import ModuleType

if __name__ != "edgeapl.export":
    raise ImportError(
        f"the folder 'export' is imported as {__name__!r}: import it as edgeapl.export, "
        "so that no module is ever loaded twice under two names"
    )


class _CallablePackage(ModuleType):
    """Calling the package calls the function `edgeapl.export`, whose name it has.

    On first import Python binds a package in its parent's namespace, replacing the function.
    """

    def __call__(self, *arguments: object, **options: object) -> object:
        return import_module("edgeapl.api.commands").export(*arguments, **options)


sys.modules[__name__].__class__ = _CallablePackage
