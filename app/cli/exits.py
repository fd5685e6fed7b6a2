"""Exit codes of `kitae`, as scripts see them."""

from enum import IntEnum


class Exit(IntEnum):
    """What the process says at its end."""

    OK = 0
    """Done as asked."""
    PROBLEM = 1
    """The service refused, or something went wrong; stderr says what and what to do.

    Of commands on files of this machine (`datasets check`, `convert`, `fix`, `split`, `transform` with -o): a file
    has findings that block; of `jobs analyse`: a verdict asks for something to be done. So scripts that check files
    before an upload tell it from a mistyped command (2) alone; what a service found is told as 4."""
    USAGE = 2
    """The command line itself was wrong; of `jobs analyse` also: a file is no results file."""
    UNREACHABLE = 3
    """No service answers at the URL."""
    BAD_OUTCOME = 4
    """The service did all as it should, and the outcome is bad: a rejected dataset, a failed job or fetch."""
    INTERRUPTED = 130
    """Ctrl-C."""


class Told(Exception):
    """End with this exit code after telling why.

    Attributes:
        hint: what to do about it.
    """

    def __init__(self, reason: str, *, hint: str = "", code: Exit = Exit.PROBLEM) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.code = code
