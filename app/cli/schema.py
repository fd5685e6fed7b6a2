"""Brings a database to this release's schema; safe to run by several at once, and again."""

from importlib.resources import files
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.engine import Engine

from app.access.service import AccessService
from app.bootstrap import open_engine, open_workbench
from app.events.log import heal_after_restore
from app.settings import Settings

LOCK_NUMBER: Final = 0x4B495441
"""Advisory lock that one migration at a time holds: "KITA" in ASCII."""


def migrations_directory() -> Path:
    """Where the migrations lie, in a checkout and in an installed wheel."""
    return Path(str(files("migrations")))


def alembic_config(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(migrations_directory()))
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
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
            if not (migrations_directory() / "env.py").exists():  # TEMPORARY until there are migrations
                from app.tables import Base

                Base.metadata.create_all(engine)
                return None, None
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
