"""Every error that EdgeAPL raises on purpose.

    EdgeAplError              exit code
    ├── UsageError                2   the command line asks for something that cannot be
    │   └── IdentifierUsed        2   a slide of this name has a record already
    ├── ConfigError               2   a station file, a slide list or a source address is wrong
    │   └── CodeError             8   a user's factory or module fails, or cannot be exported
    ├── InputError                3   one image or folder could not be examined
    ├── ProofError                1   an exported network does not answer like its checkpoint
    ├── ModelError                4   a bundle, network or engine was refused
    │   ├── BundleError           4   the bundle is damaged, incomplete or not of this version
    │   └── EngineError           4   the runtime is missing, or a run failed
    │       └── DeviceError       4   a GPU failed: its process cannot go on with it
    ├── StorageError              5   journal or result folder could not be written or verified
    ├── CameraError               6   a live source failed
    │   └── SourceStalled         6   no frame came in time; reading again may work
    └── DeadlineError             7   no answer within the budget

`EndOfSource` is not an error: it ends a source that has given its last frame.
"""

from __future__ import annotations


class EdgeAplError(Exception):
    """Base of all errors: one line that says what, which and how to mend it.

    Parameters
    ----------
    what : what is wrong, e.g. ``"image is cut off"``.
    which : the thing it is wrong with: a file, a setting, a value.
    mend : what the reader can do about it.
    """

    exit_code: int = 1

    def __init__(self, what: str, which: object = "", mend: str = "") -> None:
        self.what = what
        self.which = str(which)
        self.mend = mend
        super().__init__(": ".join(part for part in (what, self.which, mend) if part))


class UsageError(EdgeAplError):
    """The command line asks for something that cannot be done."""

    exit_code = 2


class IdentifierUsed(UsageError):  # noqa: N818 - a question more than an error
    """A slide of this name has a record already, and nobody has said that another one is meant."""


class ConfigError(EdgeAplError):
    """A station file, a slide list or a source address is wrong."""

    exit_code = 2


class CodeError(ConfigError):
    """A user's own code fails: a factory or a module that a recipe names."""

    exit_code = 8


class InputError(EdgeAplError):
    """One image, crop or folder could not be examined."""

    exit_code = 3


class ProofError(EdgeAplError):
    """An exported or built network does not answer like the one it was made from."""

    exit_code = 1


class ModelError(EdgeAplError):
    """A bundle, a network or an engine was refused."""

    exit_code = 4


class BundleError(ModelError):
    """The bundle is damaged, incomplete, or written for another version."""


class EngineError(ModelError):
    """A runtime is missing, or running a network failed."""


class DeviceError(EngineError):
    """A GPU or its driver failed: nothing in this process may rely on it any more."""


class StorageError(EdgeAplError):
    """The journal or the result folder could not be read, written or verified."""

    exit_code = 5


class CameraError(EdgeAplError):
    """A live source could not be opened or failed for good."""

    exit_code = 6


class SourceStalled(CameraError):  # noqa: N818 - the word of the design
    """No frame arrived within the time allowed; another read may succeed."""


class DeadlineError(EdgeAplError):
    """No answer was ready within the budget."""

    exit_code = 7


class EndOfSource(Exception):  # noqa: N818 - an end, not an error
    """The source has given its last frame."""
