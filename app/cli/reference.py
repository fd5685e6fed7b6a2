"""The command reference, written from the commands themselves."""

from collections.abc import Iterator
from typing import Any, Final

import typer

from app.cli.exits import Exit
from app.cli.main import HELP, app

_EXITS: Final = {
    Exit.OK: "Done as asked.",
    Exit.PROBLEM: "The service refused, or something went wrong; stderr says what, where and what to do."
    " Of `datasets check`: a file has findings that block.",
    Exit.USAGE: "The command line itself was wrong, or a setting cannot be used.",
    Exit.UNREACHABLE: "No service answers at the URL.",
    Exit.BAD_OUTCOME: "All went as it should and the outcome is bad: a rejected version, a failed job or check.",
    Exit.INTERRUPTED: "Ctrl-C.",
}

_VARIABLES: Final = (
    ("KITAE_URL", "Where the service is; left out: the one that `kitae up` runs in the data directory."),
    ("KITAE_API_KEY", "The key to ask with; left out: that instance's own."),
    ("KITAE_DATA_DIR", "Data directory of `kitae up`, and where the other commands look for it (`var`)."),
    ("AZURE_OPENAI_API_KEY", "The resource's key for `kitae connections create --auth api_key`."),
    ("NO_COLOR", "Set to anything: no colour."),
)


def render_cli_markdown() -> str:
    """The page `docs/reference/cli.md`."""
    root: Any = typer.main.get_command(app)
    lines = ["# Command line", "", *_sentences(HELP.split("Exit codes:")[0]), ""]
    lines += ["Every command that shows data takes `--json`."]
    lines += ["Settings of the service are on [another page](../operate/configuration.md).", ""]
    lines += ["| exit code | means |", "|---|---|"]
    lines += [f"| {code.value} | {told} |" for code, told in _EXITS.items()]
    lines += ["", "| variable | means |", "|---|---|", *(f"| `{name}` | {told} |" for name, told in _VARIABLES)]
    for name, command in root.commands.items():
        lines += ["", f"## kitae {name}", ""]
        lines += list(_command(f"kitae {name}", command))
    return "\n".join(lines) + "\n"


def _command(path: str, command: Any) -> Iterator[str]:
    yield from _sentences(command.help or "")
    children = getattr(command, "commands", None)
    if children is None:
        yield from _usage(path, command)
        return
    for name, child in children.items():
        yield from ("", f"### {path} {name}", "", *_command(f"{path} {name}", child))


def _usage(path: str, command: Any) -> Iterator[str]:
    context = command.context_class(command, info_name=path)
    pieces = " ".join(command.collect_usage_pieces(context))
    yield from ("", "```console", f"$ {path} {pieces}".rstrip(), "```")
    records = [record for parameter in command.params if (record := parameter.get_help_record(context))]
    if records:
        yield from ("", "| argument or option | means |", "|---|---|")
        yield from (f"| `{_cell(name)}` | {_cell(told)} |" for name, told in records)


def _sentences(text: str) -> list[str]:
    """Paragraphs on one line each."""
    paragraphs = [" ".join(paragraph.split()) for paragraph in text.strip().split("\n\n")]
    return [line for paragraph in paragraphs if paragraph for line in (paragraph, "")][:-1]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
