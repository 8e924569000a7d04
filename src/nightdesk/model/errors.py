"""The one tree of errors. Each says what was attempted, on what, why it failed, and what to do next."""

from __future__ import annotations


class NightdeskError(Exception):
    """A failure that the user can understand: one sentence, one next step.

    ``exit_code`` is what the command line ends with: 1 failure, 2 bad usage or configuration,
    3 no engine is running.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class ConfigError(NightdeskError):
    """The configuration can't be used. ``problems`` holds one sentence for each fault, all at once."""

    exit_code = 2

    def __init__(self, message: str, problems: tuple[str, ...] = (), hint: str = "") -> None:
        super().__init__(message, hint)
        self.problems = problems


class UsageError(NightdeskError):
    """The user asked for something that can't be: an unknown job, a missing item."""

    exit_code = 2


class EngineUnavailableError(NightdeskError):
    """No engine answers on the desk's socket."""

    exit_code = 3


class CaptureError(NightdeskError):
    """A capture source can't be opened or a capture file can't be read."""


class StoreError(NightdeskError):
    """The database can't be opened, read or written."""
