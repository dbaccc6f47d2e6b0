"""The errors that a caller of this package can act on; each message is one sentence that says what to do."""

from __future__ import annotations


class PerceptionError(Exception):
    """Base of every error that this package raises on purpose; the commands print it and exit with 2."""


class InvalidInputError(PerceptionError, ValueError):
    """An argument has the wrong shape, dtype, range or content; the message names the field."""

    @classmethod
    def for_field(cls, field: str, expected: str, actual: object) -> InvalidInputError:
        """Build the message in the one form that all validation in this package uses."""
        return cls(f"{field}: expected {expected}, got {actual}")


class FrameNotHeldError(PerceptionError, LookupError):
    """No frame with the requested stamp is held; the message lists the ages of those that are."""


class ModelUnavailableError(PerceptionError, RuntimeError):
    """A model, device, precision or optional dependency cannot be used here; the message says why."""


class UnsupportedPromptError(PerceptionError, ValueError):
    """The model does not answer this kind of prompt; the message names one that does."""


class CheckpointError(PerceptionError, RuntimeError):
    """A checkpoint is missing, corrupt, of another hash or of an unknown layout."""


def in_one_sentence(error: BaseException) -> str:
    """What to tell a person: our own errors are sentences already, others need their kind."""
    return str(error) if isinstance(error, PerceptionError) else f"{type(error).__name__}: {error}"
