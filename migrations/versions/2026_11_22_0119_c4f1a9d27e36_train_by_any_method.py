"""train by any method

Revision: c4f1a9d27e36, after e83b60d5f217. The code of the release before still runs while this
step is applied: only add here; take away one release later.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "c4f1a9d27e36"
down_revision: str | None = "e83b60d5f217"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    for name, default in (("method_settings", "{}"), ("training_types", "[]"), ("refusals", "[]")):
        op.add_column(
            "jobs",
            sa.Column(name, postgresql.JSONB(astext_type=sa.Text()), server_default=default, nullable=False),
        )
    op.add_column("jobs", sa.Column("parent_job_id", sa.String(length=40, collation="C"), nullable=True))
    op.create_foreign_key(op.f("fk_jobs_parent_job_id"), "jobs", "jobs", ["parent_job_id"], ["id"])


def downgrade() -> None:
    op.drop_column("jobs", "parent_job_id")
    for name in ("refusals", "training_types", "method_settings"):
        op.drop_column("jobs", name)
