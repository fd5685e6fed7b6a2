"""Runs migrations: short locks, one transaction a step. Whoever runs them sees to it that nobody else does.

The URL is `sqlalchemy.url` of the configuration that `app.cli.schema` builds.
"""

from alembic import context
from sqlalchemy import text

from app.kit.db import make_engine
from app.tables import Base

LOCK_SECONDS = 10
"""How long a step may wait for a table that others use, before it gives up and changes nothing."""


def run() -> None:
    url = context.config.get_main_option("sqlalchemy.url")
    if url is None:
        raise RuntimeError("sqlalchemy.url is not set; use `kitae migrate`")
    engine = make_engine(url, pool_size=1, application_name="kitae-migrate")
    with engine.connect() as connection:
        connection.execute(text(f"SET lock_timeout = '{LOCK_SECONDS}s'"))
        connection.execute(text("SET statement_timeout = 0"))  # an index over millions of rows takes its time
        connection.commit()
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            transaction_per_migration=True,
            compare_type=True,
            compare_server_default=True,
        )
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


run()
