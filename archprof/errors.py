"""The errors that a user's mistake raises; the command line prints them and exits with status 2.

ArchprofError
├── Refusal            a value or shape that an operator does not take (no place known yet)
├── UsageError         an argument or option that cannot be served
└── spec.errors.SpecError   the mistakes of one spec file, each with its line and column
"""


class ArchprofError(Exception):
    """A mistake of the user's, told in one message."""


class Refusal(ArchprofError):
    """A value or a shape that an operator does not take.

    `code` names the kind of mistake (`archprof explain CODE`), `field` the field it concerns, if one.
    """

    def __init__(self, code: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field


class UsageError(ArchprofError):
    """An argument or option that cannot be served."""
