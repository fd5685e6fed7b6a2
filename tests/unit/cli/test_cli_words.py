"""What the terminal shows: ranges in words, and nothing that could fake output."""

import io

import pytest
from rich.console import Console

from app.cli import reports, words
from app.datasets.schemas import FindingRead


@pytest.mark.parametrize(
    ("ranges", "more", "told"),
    [
        ([], 0, ""),
        ([(3, 3)], 0, "line 3"),
        ([(3, 3)], 2, "lines 3 and 2 more"),
        ([(3, 9)], 0, "lines 3–9"),
        ([(1, 1), (4, 6)], 0, "lines 1, 4–6"),
        ([(n, n) for n in range(1, 11)], 0, "lines 1, 2, 3, 4, 5, 6, 7, 8 and 2 more"),
        ([(n, n) for n in range(1, 11)], 5, "lines 1, 2, 3, 4, 5, 6, 7, 8 and 7 more"),
    ],
)
def test_line_ranges_read_as_words(ranges: list[tuple[int, int]], more: int, told: str) -> None:
    assert words.lines_in_words(ranges, more=more) == told


@pytest.mark.parametrize("trick", ["\x1b[2J", "\x1b]0;title\x07", "\r", "\u202e", "\x9b31m", "\x00"])
def test_text_from_elsewhere_cannot_command_the_terminal(trick: str) -> None:
    shown = words.clean(f"before{trick}after")
    assert trick not in shown
    assert shown.startswith("before")
    assert shown.endswith("after")


def test_lines_and_tabs_of_an_answer_stay() -> None:
    assert words.clean("one\n\ttwo") == "one\n\ttwo"


@pytest.mark.parametrize(
    ("count", "told"), [(0, "0 bytes"), (999, "999 bytes"), (114_100, "114.1 kB"), (512_000_000, "512.0 MB")]
)
def test_sizes_read_as_words(count: int, told: str) -> None:
    assert words.megabytes(count) == told


def _finding(**changes: object) -> FindingRead:
    body: dict[str, object] = {
        "code": "over-long-example",
        "severity": "error",
        "message": "An example is too long.",
        "remedy": "Drop it.",
        "lines": [(2, 4)],
        "count": 3,
        "pointer": None,
        "examples": ["line 2: 70,000 tokens"],
        "fixable": True,
    }
    return FindingRead.model_validate(body | changes)


def _shown(found: list[FindingRead]) -> str:
    console = Console(file=io.StringIO(), width=200, highlight=False, markup=False)
    reports.findings(found, to=console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_finding_is_shown_with_its_lines_its_words_and_its_remedy() -> None:
    assert _shown([_finding()]).splitlines() == [
        "✗ over-long-example  lines 2–4",
        "    An example is too long.",
        "      line 2: 70,000 tokens",
        "    → Drop it.",
    ]


def test_square_brackets_in_a_finding_are_text_and_no_markup() -> None:
    shown = _shown([_finding(message="[red]not a colour[/red]", examples=["[link=http://x]y"])])
    assert "[red]not a colour[/red]" in shown
    assert "[link=http://x]y" in shown


def test_a_finding_of_the_whole_file_names_no_line() -> None:
    assert _shown([_finding(lines=[])]).splitlines()[0] == "✗ over-long-example"


def test_one_thing_is_told_in_the_singular() -> None:
    assert [words.counted(count, "note") for count in (0, 1, 1200)] == ["0 notes", "1 note", "1,200 notes"]
