"""What a person did that we cannot carry out, said so that they know what to do next."""


class InputError(Exception):
    """A user's mistake: the command line prints the message without a traceback and exits with `status`."""

    def __init__(self, message: str, status: int = 1):
        super().__init__(message)
        self.status = status


def printable(text: str) -> str:
    """Return text that any terminal takes: file names may hold bytes that are no UTF-8, and control characters."""
    text = text.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
