"""watch trainings

Revision: a44cfe938056, after 5b1f0c7ad9e2. The code of the release before still runs while this
step is applied: only add here; take away one release later.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "a44cfe938056"
down_revision: str | None = "5b1f0c7ad9e2"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("job_events", sa.Column("revision", sa.BigInteger(), server_default="0", nullable=False))
    op.create_index("ix_job_events_live", "job_events", ["job_id", "revision", "id"], unique=False)
    op.add_column("job_points", sa.Column("revision", sa.BigInteger(), server_default="0", nullable=False))
    op.create_index("ix_job_points_live", "job_points", ["job_id", "revision", "step"], unique=False)
    op.add_column("jobs", sa.Column("watch", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.add_column(
        "jobs",
        sa.Column("watch_fired", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
    )
    op.add_column("jobs", sa.Column("pause_reason", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.add_column("jobs", sa.Column("paused_because", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.add_column("jobs", sa.Column("accepted_usd", sa.Numeric(precision=18, scale=6), nullable=True))
    op.add_column("jobs", sa.Column("live_revision", sa.BigInteger(), server_default="0", nullable=False))


def downgrade() -> None:
    op.drop_column("jobs", "live_revision")
    op.drop_column("jobs", "accepted_usd")
    op.drop_column("jobs", "paused_because")
    op.drop_column("jobs", "pause_reason")
    op.drop_column("jobs", "watch_fired")
    op.drop_column("jobs", "watch")
    op.drop_index("ix_job_points_live", table_name="job_points")
    op.drop_column("job_points", "revision")
    op.drop_index("ix_job_events_live", table_name="job_events")
    op.drop_column("job_events", "revision")
