"""Add sweeps, strays, the janitor, and what follows when a deployment is removed.

Revision: 5095eb5bf526, after 86c8bf8d2f4f. The code of the release before still runs while this
step is applied: only add here; take away one release later.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "5095eb5bf526"
down_revision: str | None = "86c8bf8d2f4f"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "janitors",
        sa.Column("id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("cleaned_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("removed_objects", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("removed_bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("report", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("next_check_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_owner", sa.String(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("fence", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("fail_count", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("parked_reason", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_janitors")),
    )
    op.create_index(
        "ix_janitors_care",
        "janitors",
        ["next_check_at"],
        unique=False,
        postgresql_where=sa.text("next_check_at IS NOT NULL"),
    )
    op.create_table(
        "strays",
        sa.Column("id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("project_id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("connection_id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("resource", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("remote_id", sa.String(), nullable=False),
        sa.Column("op_key", sa.String(), nullable=False),
        sa.Column("owner_id", sa.String(), nullable=False),
        sa.Column("tags", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("remote", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("remote_status", sa.String(), nullable=False),
        sa.Column("hourly_usd", sa.Numeric(precision=18, scale=6), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column(
            "status_changed_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("decided_by", sa.String(length=40, collation="C"), nullable=True),
        sa.Column("removal_sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "first_seen_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column(
            "last_seen_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column(
            "updated_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("next_check_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_owner", sa.String(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("fence", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("fail_count", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("parked_reason", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["connection_id"], ["connections.id"], name=op.f("fk_strays_connection_id")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_strays_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_strays")),
        sa.UniqueConstraint(
            "resource", "kind", "remote_id", "op_key", name=op.f("uq_strays_resource_kind_remote_id_op_key")
        ),
    )
    op.create_index(
        "ix_strays_care",
        "strays",
        ["next_check_at"],
        unique=False,
        postgresql_where=sa.text("next_check_at IS NOT NULL"),
    )
    op.create_index(
        "ix_strays_open",
        "strays",
        ["connection_id"],
        unique=False,
        postgresql_where=sa.text("status IN ('open', 'removing', 'ignored')"),
    )
    op.create_index("ix_strays_project", "strays", ["project_id", "id"], unique=False)
    op.create_table(
        "sweeps",
        sa.Column("id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("project_id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("connection_id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("swept_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("report", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("next_check_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_owner", sa.String(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("fence", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("fail_count", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("parked_reason", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["connection_id"], ["connections.id"], name=op.f("fk_sweeps_connection_id")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_sweeps_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sweeps")),
        sa.UniqueConstraint("connection_id", name=op.f("uq_sweeps_connection_id")),
    )
    op.create_index(
        "ix_sweeps_care",
        "sweeps",
        ["next_check_at"],
        unique=False,
        postgresql_where=sa.text("next_check_at IS NOT NULL"),
    )
    op.add_column("deployments", sa.Column("on_removal", sa.String(), server_default="park", nullable=False))
    op.add_column("deployments", sa.Column("removals", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("deployments", sa.Column("drift", postgresql.JSONB(astext_type=sa.Text()), nullable=True))


def downgrade() -> None:
    op.drop_column("deployments", "drift")
    op.drop_column("deployments", "removals")
    op.drop_column("deployments", "on_removal")
    op.drop_index("ix_sweeps_care", table_name="sweeps", postgresql_where=sa.text("next_check_at IS NOT NULL"))
    op.drop_table("sweeps")
    op.drop_index("ix_strays_project", table_name="strays")
    op.drop_index(
        "ix_strays_open", table_name="strays", postgresql_where=sa.text("status IN ('open', 'removing', 'ignored')")
    )
    op.drop_index("ix_strays_care", table_name="strays", postgresql_where=sa.text("next_check_at IS NOT NULL"))
    op.drop_table("strays")
    op.drop_index("ix_janitors_care", table_name="janitors", postgresql_where=sa.text("next_check_at IS NOT NULL"))
    op.drop_table("janitors")
