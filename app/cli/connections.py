"""`kitae connections …`: Azure OpenAI resources."""

import os
from typing import Annotated, Any

import typer

from app.cli import words
from app.cli.exits import Exit
from app.cli.options import Json, Wait

group = typer.Typer(no_args_is_help=True, help="Azure OpenAI resources.")

Connection = Annotated[str, typer.Argument(help="A connection, by name or id.")]

KEY_VARIABLE = "AZURE_OPENAI_API_KEY"
"""A key on the command line would stay in the shell's history."""


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="connections")


@group.command()
def create(  # noqa: PLR0913  each is a fact about the resource
    name: str,
    endpoint: Annotated[str, typer.Argument(help="https://NAME.openai.azure.com")],
    *,
    region: Annotated[str | None, typer.Option(help="E.g. swedencentral.")] = None,
    auth: Annotated[str, typer.Option(help=f"entra, or api_key with {KEY_VARIABLE} set.")] = "entra",
    subscription: Annotated[str | None, typer.Option(help="Needed for deployments, with the next two.")] = None,
    resource_group: Annotated[str | None, typer.Option()] = None,
    account: Annotated[str | None, typer.Option(help="The resource's name.")] = None,
    api_style: Annotated[str | None, typer.Option(help="v1, or dated for older resources.")] = None,
    arm_endpoint: Annotated[str | None, typer.Option(help="Other than https://management.azure.com.")] = None,
    json_: Json = False,
) -> None:
    """Keep a resource. Nothing is called yet; `check` does that."""
    from app.cli.door import connect
    from app.connections.schemas import ConnectionCreate

    given: dict[str, Any] = {
        "region": region,
        "subscription_id": subscription,
        "resource_group": resource_group,
        "account": account,
        "api_style": api_style,
        "arm_endpoint": arm_endpoint,
        "api_key": os.environ.get(KEY_VARIABLE) if auth == "api_key" else None,
    }
    body = {"name": name, "endpoint": endpoint, "auth": auth}
    body |= {field: value for field, value in given.items() if value is not None}
    with connect() as client:
        made = client.connections.create(ConnectionCreate.model_validate(body))
    if json_:
        words.put_json(made)
    else:
        words.done(f"{made.name} is kept ({made.id}). Try it: kitae connections check {made.name}")


@group.command("list")
def list_connections(*, json_: Json = False) -> None:
    """List connections."""
    from app.cli.door import connect

    with connect() as client:
        found = list(client.connections.list())
    if json_:
        words.put_json(found)
        return
    words.table(
        ["NAME", "ENDPOINT", "REGION", "AUTH", "ID"],
        [(item.name, item.endpoint, item.region, item.auth, item.id) for item in found],
    )


@group.command()
def show(connection: Connection, *, json_: Json = False) -> None:
    """Show a connection; never a secret."""
    from app.cli.door import connect

    with connect() as client:
        found = client.connections.get(connection)
    if json_:
        words.put_json(found)
        return
    words.facts(
        [
            ("name", found.name),
            ("id", found.id),
            ("endpoint", found.endpoint),
            ("region", found.region),
            ("api", f"{found.api_style} {found.api_version or ''}".strip()),
            ("auth", found.auth),
            ("ARM", found.arm_endpoint),
            ("account", found.account),
            ("resource group", found.resource_group),
            ("subscription", found.subscription_id),
            ("created", words.moment(found.created_at)),
        ]
    )


@group.command()
def check(connection: Connection, *, json_: Json = False) -> None:
    """Try what the resource lets us do; exit code 4 when something needed does not work."""
    from app.cli.door import connect

    with connect() as client:
        found = client.connections.check(connection)
    if json_:
        words.put_json(found)
    else:
        words.table(
            ["CHECK", "VERDICT", "DETAIL"], [(item.name, item.verdict, item.detail) for item in found.results]
        )
        for item in found.results:
            if item.hint:
                words.say(f"hint: {item.name}: {item.hint}", style="cyan")
    if not found.ok:
        raise typer.Exit(Exit.BAD_OUTCOME)


@group.command()
def quota(connection: Connection, *, json_: Json = False) -> None:
    """What is used and left at the resource, live."""
    from app.cli.door import connect

    with connect() as client:
        found = client.connections.quota(connection)
    if json_:
        words.put_json(found)
        return
    words.table(
        ["NAME", "USED", "LIMIT"],
        [(item.name, f"{item.current:g}", f"{item.limit:g}") for item in found.data],
        right=["USED", "LIMIT"],
    )


@group.command()
def sweep(
    connection: Connection,
    *,
    wait: Wait = True,
    json_: Json = False,
) -> None:
    """Compare everything on the resource with what is known of it, now; exit code 4 when something is amiss."""
    from app.cli.door import connect
    from app.cli.waiting import swept

    with connect() as client:
        asked = client.connections.sweep_now(connection)
        found = swept(client, asked) if wait else asked
    if json_:
        words.put_json(found)
    elif found.report is not None and wait:
        report = found.report
        words.table(
            ["KIND", "SEEN", "OURS", "FOREIGN"],
            [
                (name, part.seen, part.ours, part.foreign) if part else (name, "not listed", "", "")
                for name, part in (
                    ("jobs", report.jobs),
                    ("files", report.files),
                    ("deployments", report.deployments),
                )
            ],
            right=["SEEN", "OURS", "FOREIGN"],
        )
        for item in report.drift:
            words.warn(f"{item.kind} {item.id}: {item.detail}")
        for problem in report.problems:
            words.warn(f"{problem.part}s could not be listed: {problem.message}")
        if report.strays.open:
            words.warn(f"{report.strays.open} stray(s) wait: kitae strays list")
    if wait and found.report and (found.report.drift or found.report.strays.open or not found.report.complete):
        raise typer.Exit(Exit.BAD_OUTCOME)


@group.command()
def archive(connection: Connection) -> None:
    """Put a connection away; what already runs through it is still looked after."""
    from app.cli.door import connect

    with connect() as client:
        client.connections.archive(connection)
    words.done(f"{connection} is archived.")
