"""`kitae adopt …`: jobs that the portal or other clients made on a resource."""

from typing import TYPE_CHECKING, Annotated

import typer

from app.cli import words
from app.cli.options import Json, Limit

if TYPE_CHECKING:
    from app.adoptions.schemas import AdoptionRead

group = typer.Typer(no_args_is_help=True, help="Jobs that others made at Azure: see them, and follow one.")

Connection = Annotated[str, typer.Argument(help="A connection's name or id.")]


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="adopt")


@group.command("remote")
def list_remote(
    connection: Connection,
    *,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100, help="Most jobs that Azure is asked for.")] = 20,
    after: Annotated[str | None, typer.Option(help="Azure's id of the job behind which to go on.")] = None,
    json_: Json = False,
) -> None:
    """List the jobs that Azure has on this resource, newest first."""
    from app.cli.door import connect

    with connect() as client:
        found = client.adoptions.there(connection, limit=limit, after=after)
    if json_:
        words.put_json(found)
        return
    words.table(
        ["AT AZURE", "STATUS", "MODEL", "SUFFIX", "CREATED", "HERE"],
        [
            (
                item.remote_id,
                item.status,
                item.model,
                item.suffix,
                words.moment(item.created_at),
                item.job or item.state,
            )
            for item in found.data
        ],
    )
    if found.left_out:
        words.note(f"{found.left_out} of other projects are not shown.")
    if found.next_after:
        words.note(f"More: --after {found.next_after}")


@group.command()
def job(
    connection: Connection,
    remote_job: Annotated[str, typer.Argument(help="Azure's id of the job.")],
    *,
    training: Annotated[
        str | None, typer.Option(help="The dataset version it was trained on, if it is here.")
    ] = None,
    validation: Annotated[str | None, typer.Option(help="Its validation version, if it is here.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Dataset that gets its training file as a version.")] = None,
    validation_dataset: Annotated[str | None, typer.Option(help="The same for its validation file.")] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is a job here.")] = True,
    json_: Json = False,
) -> None:
    """Follow a job that was made elsewhere: its files, events, checkpoints and results come in."""
    from app.adoptions.schemas import AdoptRemoteJob
    from app.cli import waiting
    from app.cli.door import connect

    given = {
        "training": training,
        "validation": validation,
        "dataset": dataset,
        "validation_dataset": validation_dataset,
    }
    wanted = AdoptRemoteJob.model_validate({name: value for name, value in given.items() if value is not None})
    with connect() as client:
        begun = client.adoptions.adopt(connection, remote_job, wanted)
        ended = waiting.adopted(client, begun) if wait else begun
    _tell(ended, json_=json_)


@group.command("list")
def list_adoptions(
    *,
    connection: Annotated[str | None, typer.Option(help="Only those through this connection.")] = None,
    limit: Limit = 20,
    json_: Json = False,
) -> None:
    """List adoptions, newest first."""
    from app.cli.door import connect

    with connect() as client:
        found = list(client.adoptions.list(limit=limit, connection=connection))
    if json_:
        words.put_json(found)
        return
    words.table(
        ["AT AZURE", "STATUS", "JOB", "ID"], [(item.remote_id, item.status, item.job, item.id) for item in found]
    )


@group.command()
def show(adoption: Annotated[str, typer.Argument(help="An adoption's id.")], *, json_: Json = False) -> None:
    """Show how far an adoption has come."""
    from app.cli.door import connect

    with connect() as client:
        found = client.adoptions.get(adoption)
    _tell(found, json_=json_)


def _tell(adoption: "AdoptionRead", *, json_: bool) -> None:
    if json_:
        words.put_json(adoption)
        return
    pairs: list[tuple[str, object]] = [
        ("id", adoption.id),
        ("at Azure", adoption.remote_id),
        ("status", adoption.status),
        ("job", adoption.job),
    ]
    for role, data in (("training", adoption.training), ("validation", adoption.validation)):
        if data is not None:
            pairs.append((role, data.version or f"not known: {(data.problem or {}).get('message')}"))
    problem = adoption.error or adoption.last_error or {}
    words.facts([*pairs, ("why", problem.get("message")), ("parked", adoption.parked_reason)])
