"""leave room in pages of jobs

Revision: a94e07d3c615, after 5c1f0a7be2d4. The code of the release before still runs while this
step is applied: only add here; take away one release later.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "a94e07d3c615"
down_revision: str | None = "5c1f0a7be2d4"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.execute("ALTER TABLE jobs SET (fillfactor = 80)")


def downgrade() -> None:
    op.execute("ALTER TABLE jobs RESET (fillfactor)")
