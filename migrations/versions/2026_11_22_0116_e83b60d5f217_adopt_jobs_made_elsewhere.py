"""adopt jobs made elsewhere

Revision: e83b60d5f217, after 484eec6db6fe. The code of the release before still runs while this
step is applied: only add here; take away one release later.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "e83b60d5f217"
down_revision: str | None = "484eec6db6fe"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("origin", sa.String(), server_default="kitae", nullable=False))
    op.alter_column("jobs", "training_version_id", existing_type=sa.String(length=40, collation="C"), nullable=True)
    op.create_table(
        "job_adoptions",
        sa.Column("id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("project_id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("connection_id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("key_id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("remote_id", sa.String(), nullable=False),
        sa.Column("wanted", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("remote", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column(
            "data", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("job_id", sa.String(length=40, collation="C"), nullable=True),
        sa.Column("error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_check_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_owner", sa.String(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("fence", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("fail_count", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("parked_reason", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["connection_id"], ["connections.id"], name=op.f("fk_job_adoptions_connection_id")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_job_adoptions_job_id")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_job_adoptions_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_adoptions")),
        sa.UniqueConstraint("connection_id", "remote_id", name=op.f("uq_job_adoptions_connection_id_remote_id")),
    )
    op.create_index(
        "ix_job_adoptions_care",
        "job_adoptions",
        ["next_check_at"],
        unique=False,
        postgresql_where=sa.text("next_check_at IS NOT NULL"),
    )
    op.create_index("ix_job_adoptions_project", "job_adoptions", ["project_id", "id"], unique=False)


def downgrade() -> None:
    op.drop_table("job_adoptions")
    op.alter_column(
        "jobs", "training_version_id", existing_type=sa.String(length=40, collation="C"), nullable=False
    )
    op.drop_column("jobs", "origin")
