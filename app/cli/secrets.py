"""`kitae secrets …`: the keys that seal what is stored of others' credentials."""

from typing import Annotated

import typer

from app.cli import words
from app.cli.exits import Exit, Told
from app.cli.options import Json

secrets = typer.Typer(no_args_is_help=True, help="The keys that seal stored credentials.")

BATCH_DEFAULT = 100


def add_to(app: typer.Typer) -> None:
    app.add_typer(secrets, name="secrets", rich_help_panel="Operate")


@secrets.command("new-key")
def new_key() -> None:
    """Put a fresh key for KITAE_SECRET_KEYS on stdout."""
    from app.kit.secrets import Vault

    words.put(Vault.new_key())


@secrets.command("rotate")
def rotate(
    *,
    batch: Annotated[int, typer.Option(help="Rows in one transaction.", min=1, max=10_000)] = BATCH_DEFAULT,
    json_: Json = False,
) -> None:
    """Seal every stored credential with the first key of KITAE_SECRET_KEYS.

    Put the new key in front (`new,old`), restart every process, then run this; it may be stopped and run again, and
    the service goes on meanwhile. When it ends with code 0 the old key may be taken out.
    """
    from app.bootstrap import SettingMissing, open_workbench
    from app.cli.desk import on_this_machine
    from app.cli.operate import read_settings
    from app.cli.rotation import rotate as run

    try:
        with open_workbench(read_settings(), pool_size=1) as bench, on_this_machine("secrets rotate"):
            done = run(bench, batch=batch)
    except SettingMissing as error:
        raise Told(str(error), code=Exit.USAGE) from error
    if json_:
        words.put_json({"resealed": done.resealed, "total": done.total, "unreadable": list(done.unreadable)})
    else:
        words.done(f"{done.resealed} of {done.total} stored secrets were sealed anew; all others were already.")
        for place in done.unreadable:
            words.warn(f"{place} opens with none of the keys; store that credential anew.")
    if done.unreadable:
        raise typer.Exit(Exit.BAD_OUTCOME)
