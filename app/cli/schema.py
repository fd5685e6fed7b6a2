"""Brings a database to this release's schema; safe to run by several at once, and again.

python -m app.cli.schema check          every migration goes up, down and up again; nothing is missing in them
python -m app.cli.schema write NAME     a new migration from what the tables have become
"""

import sys
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Final

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.engine import Engine

from app.access.service import AccessService
from app.bootstrap import open_engine, open_workbench
from app.cli import words
from app.cli.exits import Exit
from app.cli.postgres import embedded_postgres
from app.events.log import heal_after_restore
from app.kit.db import make_engine
from app.settings import Settings
from app.tables import Base

LOCK_NUMBER: Final = 0x4B495441
"""Advisory lock that one migration at a time holds: "KITA" in ASCII."""

FILE_NAME: Final = "%%(year)d_%%(month).2d_%%(day).2d_%%(hour).2d%%(minute).2d_%%(rev)s_%%(slug)s"


def migrations_directory() -> Path:
    """Where the migrations lie, in a checkout and in an installed wheel."""
    return Path(str(files("migrations")))


def alembic_config(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(migrations_directory()))
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    config.set_main_option("file_template", FILE_NAME)
    return config


def newest() -> str | None:
    """The revision that this release needs."""
    return ScriptDirectory(str(migrations_directory())).get_current_head()


def current(engine: Engine) -> str | None:
    """The revision that the database has had; None for an empty one."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def migrate(settings: Settings) -> tuple[str | None, str | None]:
    """Upgrade to the newest revision, mend the log after a restore, and store the operator's key.

    Returns:
        The revisions before and after.

    Raises:
        ValueError: KITAE_ADMIN_KEY is no API key.
    """
    engine = open_engine(settings, pool_size=1)
    try:
        with engine.connect() as guard:
            guard.execute(text("SELECT pg_advisory_lock(:number)"), {"number": LOCK_NUMBER})
            guard.commit()
            before = current(engine)
            url = engine.url.render_as_string(hide_password=False)
            command.upgrade(alembic_config(url), "head")
            after = current(engine)
            guard.execute(text("SELECT pg_advisory_unlock(:number)"), {"number": LOCK_NUMBER})
    finally:
        engine.dispose()
    with open_workbench(settings, pool_size=1) as bench:
        with bench.begin() as work:
            heal_after_restore(work.session)
        if settings.admin_key is not None:
            AccessService(bench).ensure_operator_key(settings.admin_key.get_secret_value())
    return before, after


# ── for those who change the tables ─────────────────────────────────────────


def check(url: str) -> list[str]:
    """What is wrong with the migrations, tried on an empty database; empty when nothing is."""
    heads = ScriptDirectory(str(migrations_directory())).get_heads()
    if len(heads) != 1:
        return [f"there are {len(heads)} newest migrations ({', '.join(heads)}); there must be one"]
    config = alembic_config(url)
    command.upgrade(config, "head")
    command.downgrade(config, "base")
    command.upgrade(config, "head")
    engine = make_engine(url, pool_size=1)
    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(connection)
            drift = compare_metadata(context, Base.metadata)
    finally:
        engine.dispose()
    return [f"the tables have what no migration makes: {difference}" for difference in drift]


def write(url: str, name: str) -> None:
    """A migration from the difference between an up-to-date database and the tables."""
    config = alembic_config(url)
    command.upgrade(config, "head")
    command.revision(config, message=name, autogenerate=True)


def _main(arguments: list[str]) -> Exit:
    with tempfile.TemporaryDirectory() as directory:
        here = Path(directory)
        with embedded_postgres(here / "postgres", log=here / "postgres.log") as url:
            match arguments:
                case ["check"]:
                    found = check(url)
                case ["write", name] if name:
                    write(url, name)
                    found = []
                case _:
                    words.error("Say `check`, or `write` and a name for the migration.")
                    return Exit.USAGE
    for problem in found:
        words.error(problem)
    return Exit.PROBLEM if found else Exit.OK


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
