"""What the terminal shows: data on stdout, words on stderr, colour only where a person looks.

It knows no command. `NO_COLOR` and pipes are honoured by rich; text from elsewhere never reaches the terminal raw.
"""

from __future__ import annotations

import json
import re
import sys
import time
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pydantic import BaseModel
    from rich.console import Console
    from rich.progress import Progress

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
PIPE_COLUMNS: Final = 500
"""Width of tables that nobody looks at directly: wide enough that no cell is cut."""
DRAWN_EVERY_SECONDS: Final = 0.1
QUIET_SECONDS: Final = 5.0
"""Where progress cannot be drawn, how often it is told in a line."""


def clean(text: object) -> str:
    """Text that may be printed: without escape sequences and direction overrides, which could fake output."""
    return _CONTROL.sub("\ufffd", str(text))


@cache
def data_console() -> Console:
    """Where data goes."""
    from rich.console import Console

    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else PIPE_COLUMNS)


@cache
def word_console() -> Console:
    """Where words and progress go."""
    from rich.console import Console

    return Console(file=sys.stdout if _words_are_data else sys.stderr, highlight=False, markup=False)


_words_are_data = False


def talk_on_stdout() -> None:
    """For a command whose words are what was asked for."""
    global _words_are_data  # noqa: PLW0603  one terminal, one choice a process
    _words_are_data = True
    word_console.cache_clear()


def say(text: str = "", *, style: str | None = None, to: Console | None = None) -> None:
    """Words for a person; `to` the data's console where the words are what was asked for."""
    (to or word_console()).print(clean(text), style=style, soft_wrap=True)


def done(text: str, *, to: Console | None = None) -> None:
    """Something went well."""
    marked("✓", "green", text, to=to)


def note(text: str) -> None:
    marked("·", "dim", text)


def warn(text: str, *, to: Console | None = None) -> None:
    marked("!", "yellow", text, to=to)


def heading(text: str, *, to: Console | None = None) -> None:
    console = to or word_console()
    console.print()
    console.print(clean(text), style="bold", soft_wrap=True)


def marked(mark: str, style: str, text: str, *, to: Console | None = None) -> None:
    from rich.text import Text

    (to or word_console()).print(Text.assemble((mark, style), " ", clean(text)), soft_wrap=True)


def error(text: str, *, hint: str = "", to: Console | None = None) -> None:
    """What is wrong and what to do, in uv's manner."""
    from rich.text import Text

    console = to or word_console()
    console.print(Text.assemble(("error", "bold red"), ": ", clean(text)), soft_wrap=True)
    if hint:
        console.print(Text.assemble(("hint", "bold cyan"), ": ", clean(hint)), soft_wrap=True)


def put(text: str) -> None:
    """A line of data."""
    sys.stdout.write(clean(text) + "\n")
    sys.stdout.flush()


def put_json(value: BaseModel | Sequence[BaseModel] | Any) -> None:
    """Data for programs: indented for a person at a terminal, one line in a pipe."""
    sys.stdout.write(
        json.dumps(as_json(value), ensure_ascii=False, indent=2 if sys.stdout.isatty() else None) + "\n"
    )
    sys.stdout.flush()


def put_json_line(value: Any) -> None:
    """One object on one line, also at a terminal."""
    sys.stdout.write(json.dumps(as_json(value), ensure_ascii=False) + "\n")
    sys.stdout.flush()


def as_json(value: Any) -> Any:
    """Schemas as the values they cross the wire as."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    return value


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    right: Sequence[str] = (),
    to: Console | None = None,
) -> None:
    """Rows as columns of text, without frames, so that `awk` and eyes both read them."""
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        shown.add_column(
            column, justify="right" if column in right else "left", overflow="fold", no_wrap=column == "ID"
        )
    for row in rows:
        shown.add_row(*[_cell(value) for value in row])
    (to or data_console()).print(shown if rows else Text("Nothing yet.", style="dim"))


def _cell(value: object) -> Any:
    from rich.text import Text

    if value is None or value == "":
        return Text("–", style="dim")
    text = clean(value)
    return Text(text, style=STATUS_STYLES.get(text, ""))


STATUS_STYLES: Final = {
    "ready": "green",
    "succeeded": "green",
    "ok": "green",
    "rejected": "red",
    "failed": "red",
    "error": "red",
    "warning": "yellow",
    "running": "cyan",
    "queued": "cyan",
    "checking": "cyan",
    "creating": "cyan",
    "warming": "cyan",
    "deleting": "cyan",
}


def facts(pairs: Sequence[tuple[str, object]]) -> None:
    """One thing, a line for each of its facts."""
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    shown.add_column(style="dim", no_wrap=True)
    shown.add_column(overflow="fold")
    for name, value in pairs:
        if value is not None and value != "":
            shown.add_row(Text(name), _cell(value))
    data_console().print(shown)


@contextmanager
def progress(
    text: str, *, total: float | None = None, unit: str = ""
) -> Iterator[Callable[[float | None, str], None]]:
    """A bar on stderr while something long goes on; in a pipe a line now and then.

    The function it gives takes how far things are (None = no change) and words about the moment.
    """
    console = word_console()
    if not console.is_terminal:
        yield _told_in_lines(text, total)
        return
    with _bar(console, unit) as bar:
        task = bar.add_task(clean(text), total=total, words="")
        drawn_at = 0.0

        def draw(completed: float | None, words: str = "") -> None:
            nonlocal drawn_at
            now = time.monotonic()
            is_due = now - drawn_at >= DRAWN_EVERY_SECONDS
            drawn_at = now if is_due else drawn_at
            bar.update(task, completed=completed, words=clean(words), refresh=is_due)

        yield draw


@contextmanager
def course(text: str) -> Iterator[Callable[[float | None, str, Callable[[int], str]], None]]:
    """A picture above a bar on stderr while a training goes on; in a pipe a line now and then.

    The function it gives takes the share done (0 to 1, None = not known), words, and what draws a picture of so
    many columns.
    """
    console = word_console()
    if not console.is_terminal:
        tell = _told_in_lines(text, 1.0)
        yield lambda share, words, _picture: tell(share, words)
        return
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    bar = _bar(console, "")
    task = bar.add_task(clean(text), total=None, words="")
    with Live(bar, console=console, transient=True, refresh_per_second=4) as live:

        def draw(share: float | None, words: str, picture: Callable[[int], str]) -> None:
            bar.update(task, completed=share or 0.0, total=None if share is None else 1.0, words=clean(words))
            live.update(Group(Text.from_ansi(picture(min(console.width, 100))), bar))

        yield draw


def _bar(console: Console, unit: str) -> Progress:
    from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    amount = DownloadColumn() if unit == "bytes" else TextColumn("")
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        amount,
        TimeElapsedColumn(),
        TextColumn("{task.fields[words]}", style="dim", markup=False),
        console=console,
        transient=True,
        auto_refresh=unit != "bytes",  # a thread that draws would keep the check from forking; see `may_fork`
    )


def _told_in_lines(text: str, total: float | None) -> Callable[[float | None, str], None]:
    last_words = ""
    last = time.monotonic() - QUIET_SECONDS

    def tell(completed: float | None, words: str = "") -> None:
        nonlocal last, last_words
        if words == last_words or time.monotonic() - last < QUIET_SECONDS:
            return
        last, last_words = time.monotonic(), words
        share = f" {completed / total:.0%}" if completed is not None and total else ""
        say(f"  {text}{share} {words}".rstrip())

    return tell


def megabytes(count: int) -> str:
    """A size in words: 12.3 MB."""
    size = float(count)
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} GB"


def counted(count: int, noun: str) -> str:
    """`1 note`, `1,200 notes`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """A time in words: 40 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def moment(value: Any) -> str:
    """A time in UTC, to the second."""
    return value.strftime("%Y-%m-%d %H:%M:%SZ") if value is not None else ""


def lines_in_words(ranges: Sequence[Sequence[int]], *, more: int = 0, shown: int = 8, word: str = "line") -> str:
    """`lines 3, 7–9, 50 and 12 more ranges`."""
    if not ranges:
        return ""
    parts = [f"{first}" if first == last else f"{first}–{last}" for first, last in ranges[:shown]]
    rest = len(ranges) - shown + more if len(ranges) > shown else more
    single = len(ranges) == 1 and ranges[0][0] == ranges[0][1] and not rest
    text = f"{word}{'' if single else 's'} {', '.join(parts)}"
    return f"{text} and {rest:,} more" if rest > 0 else text
