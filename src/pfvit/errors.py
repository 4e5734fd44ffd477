"""What a person did that cannot be carried out, said so that they know what to do next.

`InputError` is the base: `except pfvit.InputError` catches them all. The command line prints the message without a
traceback and exits with `status`.
"""

from typing import TypeVar


class InputError(Exception):
    """An input cannot be used: a file, a folder, weights, data, a setting.

    `status` is the exit status of the command line: 1, or 2 for a wrong command line (`UsageError`).
    """

    def __init__(self, message: str, status: int = 1):
        super().__init__(message)
        self.status = status


class UsageError(InputError):
    """A setting or the command line itself is wrong, so that nothing is started: exit status 2."""

    def __init__(self, message: str):
        super().__init__(message, status=2)


class PictureError(InputError):
    """One picture cannot be read: it is missing, damaged, not a picture, too large or too small."""


class UnknownFormatError(PictureError):
    """A file is not a picture in a supported format."""


class TooLargeError(PictureError):
    """A picture takes too much memory or time: known from its header, before it is decoded."""


class TooSmallError(PictureError):
    """A picture is too small to hold a face."""


class OutputError(InputError):
    """A file or folder cannot be written: no room, no permission, or something is in the way."""


P = TypeVar("P", bound=BaseException)


def without_frames(problem: P) -> P:
    """Return a problem that is kept as a value, without what it holds in memory.

    A traceback holds the frames it went through, and these the picture that could not be read: 200 MB for one of 500
    bytes. As a frame may hold the problem too, only the garbage collector would find them, some time.
    """
    problem.__cause__ = problem.__context__ = None
    return problem.with_traceback(None)
