"""watch by marks

Revision: 5c1f0a7be2d4, after 5095eb5bf526. The code of the release before still runs while this
step is applied: only add here; take away one release later.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "5c1f0a7be2d4"
down_revision: str | None = "5095eb5bf526"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("connections", sa.Column("watch_after", sa.String(), nullable=True))
    op.add_column("jobs", sa.Column("remote_mark", sa.String(), nullable=True))
    op.add_column("jobs", sa.Column("events_read_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("jobs", "events_read_at")
    op.drop_column("jobs", "remote_mark")
    op.drop_column("connections", "watch_after")
