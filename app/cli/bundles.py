"""`kitae models card` and `kitae bundles …`: a training told on a card, packed, and brought into another place."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli import models, words
from app.cli.options import Json, Limit

if TYPE_CHECKING:
    from app.exports.schemas import RunRead

group = typer.Typer(no_args_is_help=True, help="Trainings as archives: pack one, bring others in, read those.")

Model = Annotated[str, typer.Argument(help="A model's name or id, or an imported run's id (run_…).")]


def add_to(app: typer.Typer) -> None:
    models.group.command("card")(card)
    app.add_typer(group, name="bundles")


def card(
    model: Model,
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write it here; .html makes the page. Else to stdout.")
    ] = None,
    html: Annotated[bool, typer.Option("--html", help="The page that stands alone.")] = False,
) -> None:
    """The model card: data with hashes, parameters, curve, checkpoints, costs, limits, licences."""
    from app.cli.door import connect

    wants_page = html or (output is not None and output.suffix in {".html", ".htm"})
    with connect() as client:
        content = client.exports.card(model, html=wants_page)
    if output is None:
        sys.stdout.write(content.decode())
        return
    output.write_bytes(content)
    words.done(f"{output} ({len(content):,} bytes)")


@group.command("export")
def export_bundle(
    model: Model,
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to; MODEL.kitae.zip otherwise.")
    ] = None,
    content: Annotated[bool, typer.Option("--content", help="The content of the datasets too.")] = False,
) -> None:
    """Pack everything known of a model's training. The same state makes the same bytes."""
    from app.cli.door import connect

    to = output or Path(f"{model}.kitae.zip")
    with connect() as client:
        size = client.exports.pack(model, to, content=content)
    words.done(f"{to} ({size:,} bytes)")


@group.command("import")
def import_bundle(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A bundle.")], *, json_: Json = False
) -> None:
    """Bring in the runs of a bundle, after every hash in it was verified."""
    from app.cli.door import connect

    with connect() as client:
        found = client.exports.bring(file)
    if json_:
        words.put_json(found)
        return
    _table(found.data)
    for run in found.data:
        for problem in run.problems:
            words.warn(f"{run.name}: {problem.get('message')}")
    if found.known:
        words.note(f"{found.known} of them were here already.")


@group.command("list")
def list_runs(*, limit: Limit = 20, json_: Json = False) -> None:
    """List imported runs, newest first."""
    from app.cli.door import connect

    with connect() as client:
        found = list(client.exports.runs(limit=limit))
    if json_:
        words.put_json(found)
        return
    _table(found)


@group.command()
def show(run: Annotated[str, typer.Argument(help="An imported run's id.")], *, json_: Json = False) -> None:
    """Show an imported run."""
    from app.cli.door import connect

    with connect() as client:
        found = client.exports.run(run)
    if json_:
        words.put_json(found)
        return
    words.facts(
        [
            ("id", found.id),
            ("name", found.name),
            ("origin", f"{found.origin}, {found.source_id}"),
            ("base model", found.base_model),
            ("method", found.method),
            ("status", found.status),
            ("finished", words.moment(found.finished_at)),
            ("training", found.training or "not here"),
            ("validation", found.validation),
            ("verdict", (found.analysis or {}).get("headline")),
            ("documents", ", ".join(found.documents)),
            *(("not brought", problem.get("message")) for problem in found.problems),
        ]
    )


def _table(runs: "list[RunRead]") -> None:
    words.table(
        ["NAME", "ORIGIN", "BASE MODEL", "STATUS", "FINISHED", "ID"],
        [(run.name, run.origin, run.base_model, run.status, words.moment(run.finished_at), run.id) for run in runs],
    )
