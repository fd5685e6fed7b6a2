"""The database's schema: bring it to the newest migration, and tell where it stands."""

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Engine

import migrations

SCRIPTS: Final = Path(migrations.__file__).parent


def configuration(url: str) -> Config:
    """Alembic's configuration for one database. New files are named by date, revision and what they do."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    config.set_main_option(
        "file_template", "%%(year)d_%%(month).2d_%%(day).2d_%%(hour).2d%%(minute).2d_%%(rev)s_%%(slug)s"
    )
    return config


def migrate(url: str) -> None:
    """Bring the database to the newest migration. Several at once go one after the other."""
    command.upgrade(configuration(url), "head")


def newest() -> str | None:
    """The newest migration this code knows."""
    return ScriptDirectory(str(SCRIPTS)).get_current_head()


def present(engine: Engine) -> str | None:
    """The migration the database stands at; None = none."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()
