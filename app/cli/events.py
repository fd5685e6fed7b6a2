"""`kitae events`: the log of what happened."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli import words
from app.cli.options import Json, Limit

if TYPE_CHECKING:
    from app.events.schemas import EventRead


def add_to(app: typer.Typer) -> None:
    app.command()(events)


def events(
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
    limit: Limit = 20,
    json_: Json = False,
) -> None:
    """What happened in the project, oldest first."""
    from app.cli.door import connect

    with connect() as client:
        shown = list(client.events.list(limit=limit))
        for event in reversed(shown):
            put_event(event, as_json=json_)
        if follow:
            for event in client.events.follow(after=shown[0].id if shown else None):
                put_event(event, as_json=json_)


def put_event(event: "EventRead", *, as_json: bool) -> None:
    """One event as a line."""
    if as_json:
        words.put(json.dumps(event.model_dump(mode="json"), ensure_ascii=False))
        return
    told = json.dumps(event.data, ensure_ascii=False) if event.data else ""
    words.put(f"{words.moment(event.created_at)}  {event.type:<28}  {event.subject_id}  {told[:300]}".rstrip())
