"""Options that many commands share, and what several of them do alike."""

from typing import Annotated, Final

import typer

Json = Annotated[bool, typer.Option("--json", help="Data as JSON on stdout.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="Most rows.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is done.")]
Force = Annotated[bool, typer.Option("--force", help="With -o: write over a file that is there.")]

OPERATIONS_HINT: Final = (
    'Write a list such as \'[{"type": "dedupe"}, {"type": "sample", "rows": 500}]\', or @FILE with one; '
    "docs/guides/changing-data.md has every operation with its members."
)


def pair(text: str, what: str) -> tuple[str, str]:
    """`name=value` as two texts."""
    name, found, value = text.partition("=")
    if not found or not name:
        raise typer.BadParameter(f"{text!r} is no {what}; write name=value")
    return name, value
