"""What a person did that we cannot carry out, said so that they know what to do next."""


class InputError(Exception):
    """A user's mistake: the command line prints the message without a traceback and exits with `status`."""

    def __init__(self, message: str, status: int = 1):
        super().__init__(message)
        self.status = status


def missing_extra(extra: str, module: str) -> InputError:
    """Say which extra to install when `module` is not there."""
    return InputError(f'{module} is not installed; it comes with: pip install "pfvit[{extra}]"')
