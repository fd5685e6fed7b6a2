"""`kitae strays …`: what Azure has of ours without a row."""

from typing import TYPE_CHECKING, Annotated

import typer

from app.cli import words
from app.cli.options import Json, Limit

if TYPE_CHECKING:
    from app.upkeep.schemas import StrayRead

group = typer.Typer(no_args_is_help=True, help="What Azure has of ours and no row names.")

Stray = Annotated[str, typer.Argument(help="A stray's id.")]


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="strays")


@group.command("list")
def list_strays(
    *,
    status: Annotated[str | None, typer.Option(help="open, removing, adopted, removed, ignored or gone.")] = None,
    kind: Annotated[str | None, typer.Option(help="job, file or deployment.")] = None,
    limit: Limit = 20,
    json_: Json = False,
) -> None:
    """List strays, newest first."""
    from app.cli.door import connect

    with connect() as client:
        found = list(client.strays.list(limit=limit, status=status, kind=kind))
    if json_:
        words.put_json(found)
        return
    words.table(
        ["KIND", "AT AZURE", "STATUS", "USD/HOUR", "EXPIRES", "ID"],
        [
            (item.kind, item.remote_id, item.status, item.hourly_usd, words.moment(item.expires_at), item.id)
            for item in found
        ],
        right=["USD/HOUR"],
    )


@group.command()
def show(stray: Stray, *, json_: Json = False) -> None:
    """Show a stray: why it is one, and what it costs."""
    from app.cli.door import connect

    with connect() as client:
        found = client.strays.get(stray)
    _tell(found, json_=json_)


@group.command()
def adopt(
    stray: Stray,
    *,
    training: Annotated[str | None, typer.Option(help="Of a job: the dataset version it was trained on.")] = None,
    validation: Annotated[str | None, typer.Option(help="Of a job: its validation version.")] = None,
    hours: Annotated[
        float | None, typer.Option("--hours", min=0.02, max=720, help="Of a deployment: its life from now on.")
    ] = None,
    json_: Json = False,
) -> None:
    """Make a job or deployment of it again, under the id that its mark names. Its money is reserved."""
    from app.cli.door import connect
    from app.upkeep.schemas import StrayAdopt

    given = {
        "training": training,
        "validation": validation,
        "ttl_seconds": round(hours * 3600) if hours is not None else None,
    }
    wanted = StrayAdopt.model_validate({name: value for name, value in given.items() if value is not None})
    with connect() as client:
        found = client.strays.adopt(stray, wanted)
    _tell(found, json_=json_)


@group.command()
def remove(stray: Stray, *, json_: Json = False) -> None:
    """Have it cancelled or deleted at Azure."""
    from app.cli.door import connect

    with connect() as client:
        found = client.strays.remove(stray)
    _tell(found, json_=json_)


@group.command()
def ignore(stray: Stray, *, json_: Json = False) -> None:
    """Let it be, also at the end that stands in its tags."""
    from app.cli.door import connect

    with connect() as client:
        found = client.strays.ignore(stray)
    _tell(found, json_=json_)


def _tell(stray: "StrayRead", *, json_: bool) -> None:
    if json_:
        words.put_json(stray)
        return
    words.facts(
        [
            ("id", stray.id),
            ("kind", stray.kind),
            ("at Azure", f"{stray.remote_id} ({stray.remote_status})"),
            ("mark", stray.op_key),
            ("status", stray.status),
            ("why", stray.note),
            ("hosting", f"${stray.hourly_usd} an hour" if stray.hourly_usd is not None else None),
            ("expires", words.moment(stray.expires_at)),
            ("adoptable", "yes" if stray.adoptable else "no"),
            ("first seen", words.moment(stray.first_seen_at)),
            ("last seen", words.moment(stray.last_seen_at)),
            ("parked", stray.parked_reason),
        ]
    )
