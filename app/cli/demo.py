"""`kitae demo`: the main job on real data, through the public API of a private instance that ends with it."""

from pathlib import Path
from typing import Annotated

import typer

from app.cli import words
from app.cli.exits import Exit, Told

DEFAULT_DIRECTORY = Path("var/demo")


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel="Operate")(demo)


def demo(
    *,
    data: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Your own chat examples, JSON Lines.")
    ] = None,
    validation: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Examples that are kept out of training.")
    ] = None,
    set_: Annotated[str, typer.Option("--set", help="A shipped set: travel, character or all.")] = "all",
    model: Annotated[str, typer.Option(help="Base model.")] = "gpt-4.1-mini",
    directory: Annotated[Path, typer.Option(help="Where it works; wiped at every start.")] = DEFAULT_DIRECTORY,
    instant: Annotated[bool, typer.Option("--instant", help="As fast as it learns, nothing to watch.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="The last line on stdout is one JSON object.")] = False,
) -> None:
    """Take data through its whole life: check, plan, train, judge, deploy, compare with the base model, clean up.

    Without options the two shipped sets. It runs a Kitae of its own with a local Azure OpenAI, which really learns
    from the file; it needs no key, spends nothing and leaves nothing running. Exit code 4 when the data are
    rejected or the job fails.
    """
    from app.cli.demonstration import Demonstration, own_subject, shipped_subjects

    if validation is not None and data is None:
        raise Told("--validation goes with --data.", code=Exit.USAGE)
    if not json_:
        words.talk_on_stdout()
    subjects = [own_subject(data, validation)] if data is not None else shipped_subjects(set_)
    outcomes = Demonstration(directory, model=model, instant=instant).show(subjects)
    if json_:
        first, *others = [outcome.as_json() for outcome in outcomes]
        words.put_json_line(first | ({"also": others} if others else {}))
    if not all(outcome.good for outcome in outcomes):
        raise typer.Exit(Exit.BAD_OUTCOME)
