"""What can go wrong?"""

from __future__ import annotations


class UntangleError(Exception):
    """A command failed, or a file is not what it should be; the text names the file, the place and the remedy."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        """The program's exit code: 2 usage, 3 bad input, 4 I/O or locked, 130 interrupted; None where none ran."""


class UntangleWarning(UserWarning):
    """A warning that a command printed."""
