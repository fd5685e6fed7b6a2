"""`kitae projects …` and `kitae keys …`."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from app.cli import words
from app.cli.options import Json

projects = typer.Typer(no_args_is_help=True, help="Projects: who owns what, and the switch that stops spending.")
keys = typer.Typer(no_args_is_help=True, help="API keys.")

Project = Annotated[str, typer.Argument(help="A project, by name or id.")]


def add_to(app: typer.Typer) -> None:
    app.add_typer(projects, name="projects")
    app.add_typer(keys, name="keys")


@projects.command("create")
def create_project(name: str, *, json_: Json = False) -> None:
    """Make a project; needs an operator's key."""
    from app.cli.door import connect

    with connect() as client:
        made = client.projects.create(name)
    if json_:
        words.put_json(made)
    else:
        words.done(f"{made.name} is made ({made.id}).")


@projects.command("list")
def list_projects(*, json_: Json = False) -> None:
    """List projects that this key can see."""
    from app.cli.door import connect

    with connect() as client:
        found = list(client.projects.list())
    if json_:
        words.put_json(found)
        return
    words.table(
        ["NAME", "PAUSED", "CREATED", "ID"],
        [(item.name, "yes" if item.paused else "no", words.moment(item.created_at), item.id) for item in found],
    )


@projects.command("pause")
def pause_project(project: Project) -> None:
    """Throw the kill switch: nothing that costs money is begun until `resume`."""
    _set_paused(project, paused=True)


@projects.command("resume")
def resume_project(project: Project) -> None:
    """Let the project spend again."""
    _set_paused(project, paused=False)


def _set_paused(project: str, *, paused: bool) -> None:
    from app.access.schemas import ProjectPatch
    from app.cli.door import connect

    with connect() as client:
        found = client.projects.change(project, ProjectPatch(paused=paused))
    words.done(f"{found.name} is {'paused' if found.paused else 'not paused'}.")


@projects.command("archive")
def archive_project(project: Project) -> None:
    """Make all keys of a project stop working; nothing is deleted."""
    from app.cli.door import connect

    with connect() as client:
        client.projects.archive(project)
    words.done(f"{project} is archived.")


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    *,
    scope: Annotated[list[str] | None, typer.Option(help="E.g. datasets:write or jobs:*; left out: *.")] = None,
    project: Annotated[str | None, typer.Option(help="Needed with an operator's key.")] = None,
    spend_cap: Annotated[float | None, typer.Option(min=0, help="Most it may spend in all, in USD.")] = None,
    days: Annotated[int | None, typer.Option(min=1, help="Days until it expires; left out: never.")] = None,
    json_: Json = False,
) -> None:
    """Make a key. The secret is put on stdout, once, and cannot be read again."""
    from app.access.schemas import ApiKeyCreate
    from app.cli.door import connect

    body: dict[str, Any] = {"name": name, "scopes": scope or ["*"]}
    if project is not None:
        body["project"] = project
    if spend_cap is not None:
        body["spend_cap_usd"] = str(spend_cap)
    if days is not None:
        body["expires_at"] = datetime.now(UTC) + timedelta(days=days)
    with connect() as client:
        made = client.keys.create(ApiKeyCreate.model_validate(body))
    if json_:
        words.put_json(made)
        return
    words.put(made.secret)
    words.note(f"{made.id}: {', '.join(made.scopes)}. Keep the secret now; it is not shown again.")


@keys.command("list")
def list_keys(*, json_: Json = False) -> None:
    """List keys; never a secret."""
    from app.cli.door import connect

    with connect() as client:
        found = list(client.keys.list())
    if json_:
        words.put_json(found)
        return
    words.table(
        ["NAME", "KEY", "SCOPES", "CAP USD", "LAST USED", "REVOKED", "ID"],
        [
            (
                item.name,
                item.hint,
                ", ".join(item.scopes),
                item.spend_cap_usd,
                words.moment(item.last_used_at),
                words.moment(item.revoked_at),
                item.id,
            )
            for item in found
        ],
        right=["CAP USD"],
    )


@keys.command("revoke")
def revoke_key(key: Annotated[str, typer.Argument(help="The key's id.")]) -> None:
    """Make a key stop working, within seconds everywhere."""
    from app.cli.door import connect

    with connect() as client:
        client.keys.revoke(key)
    words.done(f"{key} is revoked.")
