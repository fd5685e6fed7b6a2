"""`kitae audit …`: whether anybody has touched the record of who did what. It reads the
database that KITAE_DATABASE_URL names.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import words
from app.cli.exits import Exit, Told
from app.cli.options import Json

if TYPE_CHECKING:
    from app.audit.chain import Head
    from app.audit.service import AuditService, Checked

audit = typer.Typer(no_args_is_help=True, help="The record of deeds: one chain a project and the installation's.")

Project = Annotated[
    str | None,
    typer.Option(help="Only this project's chain, by name or id, or `installation`."),
]


def add_to(app: typer.Typer) -> None:
    app.add_typer(audit, name="audit", rich_help_panel="Operate")


@contextmanager
def _opened(project: str | None) -> Iterator[tuple["AuditService", str | None]]:
    from app.access.service import AccessService
    from app.audit.service import AuditService
    from app.bootstrap import SettingMissing, open_workbench
    from app.cli.operate import read_settings
    from app.kit.caller import Operator
    from app.kit.errors import NotFound
    from app.workbench import INSTALLATION

    try:
        with open_workbench(read_settings(), pool_size=1) as bench:
            chain = project
            if project not in {None, INSTALLATION}:
                anybody = Operator(key_id="cli", scopes=frozenset({"admin"}))
                chain = AccessService(bench).get_project(anybody, str(project)).id
            yield AuditService(bench), chain
    except SettingMissing as error:
        raise Told(str(error), code=Exit.USAGE) from error
    except NotFound as error:
        raise Told(error.detail) from error


@audit.command("head")
def head(*, project: Project = None) -> None:
    """Print the end of every chain as JSON, to be kept where nobody who can write to the database can write.

    `kitae audit verify --against FILE` then finds also what was cut off the end.
    """
    with _opened(project) as (service, chain):
        ends = [end for end in service.heads() if chain in {None, end.chain}]
    words.put_json([{"chain": end.chain, "number": end.number, "hash": end.hash} for end in ends])


@audit.command("verify")
def verify(
    *,
    project: Project = None,
    against: Annotated[
        Path | None, typer.Option(help="What `kitae audit head` printed before.", exists=True, dir_okay=False)
    ] = None,
    json_: Json = False,
) -> None:
    """Recompute the chains and name the first record of each that is not as it was written; then exit code 4."""
    witnesses = _witnesses(against) if against is not None else {}
    with _opened(project) as (service, chain):
        found = service.check(chain=chain, witnesses=witnesses)
    if json_:
        words.put_json([_as_json(checked) for checked in found])
    else:
        words.table(
            ["CHAIN", "SOUND RECORDS", "VERDICT"],
            [
                (item.chain, item.records, "sound" if item.flaw is None else f"BROKEN: {item.flaw.what}")
                for item in found
            ],
            right=["SOUND RECORDS"],
        )
    if any(item.flaw is not None for item in found):
        raise typer.Exit(Exit.BAD_OUTCOME)


def _as_json(checked: "Checked") -> dict[str, Any]:
    flaw = checked.flaw
    return {
        "chain": checked.chain,
        "sound": flaw is None,
        "records": checked.records,
        "first_bad": None if flaw is None else {"number": flaw.number, "id": flaw.record_id, "what": flaw.what},
    }


def _witnesses(file: Path) -> dict[str, "Head"]:
    from app.audit.chain import Head

    try:
        known = json.loads(file.read_text())
        return {item["chain"]: Head(str(item["chain"]), int(item["number"]), str(item["hash"])) for item in known}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Told(f"{file} is not what `kitae audit head` prints: {error}", code=Exit.USAGE) from error
