"""caps halt circuits and invariant checks

Revision: 9f2707290ef1, after b953132d6a0f. The code of the release before still runs while this
step is applied: only add here; take away one release later.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "9f2707290ef1"
down_revision: str | None = "b953132d6a0f"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "installation",
        sa.Column("id", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("halted", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("halted_reason", sa.String(length=500), nullable=True),
        sa.Column("halted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("changed_by_key_id", sa.String(length=40, collation="C"), nullable=True),
        sa.Column(
            "updated_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("id = 1", name=op.f("ck_installation_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_installation")),
    )
    op.execute("INSERT INTO installation (id) VALUES (1)")
    op.create_table(
        "invariant_checks",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("violations", sa.BigInteger(), nullable=False),
        sa.Column("found", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column(
            "checked_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_invariant_checks")),
    )
    op.add_column("budgets", sa.Column("day_cap_usd", sa.Numeric(precision=18, scale=6), nullable=True))
    op.add_column("budgets", sa.Column("deployments_max", sa.BigInteger(), nullable=True))
    op.add_column("budgets", sa.Column("unfinished_jobs_max", sa.BigInteger(), nullable=True))
    op.create_index("ix_ledger_key", "ledger", ["key_id"], unique=False)
    op.create_index(
        "ix_comparisons_running",
        "comparisons",
        ["project_id"],
        unique=False,
        postgresql_where=sa.text("status = 'running'"),
    )
    op.add_column("connections", sa.Column("stops_closed_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("connections", sa.Column("stop_failures", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("connections", sa.Column("read_history", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("connections", sa.Column("write_history", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("connections", sa.Column("reads_open_since", sa.DateTime(timezone=True), nullable=True))
    op.add_column("connections", sa.Column("writes_open_since", sa.DateTime(timezone=True), nullable=True))
    op.add_column("connections", sa.Column("reads_probe_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("connections", sa.Column("writes_probe_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("connections", sa.Column("reads_outage_told_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("connections", sa.Column("writes_outage_told_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_dataset_versions_checking",
        "dataset_versions",
        ["project_id"],
        unique=False,
        postgresql_where=sa.text("status = 'checking'"),
    )
    op.create_index(
        "ix_jobs_unfinished",
        "jobs",
        ["project_id"],
        unique=False,
        postgresql_where=sa.text("status NOT IN ('succeeded', 'failed', 'cancelled')"),
    )


def downgrade() -> None:
    op.drop_index("ix_ledger_key", table_name="ledger")
    op.drop_index(
        "ix_jobs_unfinished",
        table_name="jobs",
        postgresql_where=sa.text("status NOT IN ('succeeded', 'failed', 'cancelled')"),
    )
    op.drop_index(
        "ix_dataset_versions_checking",
        table_name="dataset_versions",
        postgresql_where=sa.text("status = 'checking'"),
    )
    op.drop_column("connections", "writes_outage_told_at")
    op.drop_column("connections", "reads_outage_told_at")
    op.drop_column("connections", "writes_probe_until")
    op.drop_column("connections", "reads_probe_until")
    op.drop_column("connections", "writes_open_since")
    op.drop_column("connections", "reads_open_since")
    op.drop_column("connections", "write_history")
    op.drop_column("connections", "read_history")
    op.drop_column("connections", "stop_failures")
    op.drop_column("connections", "stops_closed_until")
    op.drop_index(
        "ix_comparisons_running", table_name="comparisons", postgresql_where=sa.text("status = 'running'")
    )
    op.drop_column("budgets", "unfinished_jobs_max")
    op.drop_column("budgets", "deployments_max")
    op.drop_column("budgets", "day_cap_usd")
    op.drop_table("invariant_checks")
    op.drop_table("installation")
