"""Create every table.

Revision: 244c0cd616a3, the first.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "244c0cd616a3"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


class Xid8(sa.types.UserDefinedType[int]):
    """PostgreSQL's 64-bit transaction id."""

    cache_ok = True

    def get_col_spec(self, **_kw: object) -> str:
        return "xid8"


def upgrade() -> None:
    op.create_table(
        "account_locks",
        sa.Column("account_key", sa.String(), nullable=False),
        sa.Column("holder", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("account_key", name=op.f("pk_account_locks")),
    )
    op.create_table(
        "event_cursors",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("transaction", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_event_cursors")),
    )
    op.create_table(
        "events",
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("transaction", Xid8(), server_default=sa.text("pg_current_xact_id()"), nullable=False),
        sa.Column("project_id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("subject_id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_events")),
        sa.UniqueConstraint("id", name=op.f("uq_events_id")),
    )
    op.create_index("ix_events_order", "events", ["transaction", "seq"], unique=False)
    op.create_index("ix_events_project", "events", ["project_id", "transaction", "seq"], unique=False)
    op.create_index("ix_events_subject", "events", ["subject_id", "transaction", "seq"], unique=False)
    op.create_table(
        "idempotency_keys",
        sa.Column("principal", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("reservation_id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("locked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("status", sa.BigInteger(), nullable=True),
        sa.Column("headers", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("principal", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"], unique=False)
    op.create_table(
        "projects",
        sa.Column("id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("paused", sa.Boolean(), server_default="false", nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column(
            "updated_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_projects")),
        sa.UniqueConstraint("name", name=op.f("uq_projects_name")),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("project_id", sa.String(length=40, collation="C"), nullable=True),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("public_id", sa.String(length=8), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("last4", sa.String(length=4), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.String()), nullable=False),
        sa.Column("spend_cap_usd", sa.Numeric(precision=18, scale=6), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("spend_cap_usd >= 0", name=op.f("ck_api_keys_spend_cap")),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_api_keys_project_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("sha256", name=op.f("uq_api_keys_sha256")),
    )
    op.create_index("ix_api_keys_project", "api_keys", ["project_id", "id"], unique=False)
    op.create_table(
        "budgets",
        sa.Column("project_id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("month_cap_usd", sa.Numeric(precision=18, scale=6), nullable=True),
        sa.Column("job_cap_usd", sa.Numeric(precision=18, scale=6), nullable=True),
        sa.Column(
            "updated_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_budgets_project_id")),
        sa.PrimaryKeyConstraint("project_id", name=op.f("pk_budgets")),
    )
    op.create_table(
        "comparisons",
        sa.Column("id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("project_id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("key_id", sa.String(length=40, collation="C"), nullable=True),
        sa.Column("reservation_id", sa.String(length=40, collation="C"), nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("candidates", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("prompts", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("max_tokens", sa.BigInteger(), nullable=True),
        sa.Column("temperature", sa.Double(), nullable=True),
        sa.Column("cost_usd", sa.Numeric(precision=18, scale=6), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column(
            "updated_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_check_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_owner", sa.String(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("fence", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("fail_count", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("parked_reason", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_comparisons_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_comparisons")),
        sa.UniqueConstraint("reservation_id", name=op.f("uq_comparisons_reservation_id")),
    )
    op.create_index(
        "ix_comparisons_care",
        "comparisons",
        ["next_check_at"],
        unique=False,
        postgresql_where=sa.text("next_check_at IS NOT NULL"),
    )
    op.create_index("ix_comparisons_project", "comparisons", ["project_id", "id"], unique=False)
    op.create_table(
        "connections",
        sa.Column("id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("project_id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("endpoint", sa.String(), nullable=False),
        sa.Column("region", sa.String(), nullable=True),
        sa.Column("api_style", sa.String(), nullable=False),
        sa.Column("api_version", sa.String(), nullable=True),
        sa.Column("auth", sa.String(), nullable=False),
        sa.Column("api_key_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("entra_scope", sa.String(), nullable=True),
        sa.Column("arm_endpoint", sa.String(), nullable=False),
        sa.Column("arm_api_version", sa.String(), nullable=False),
        sa.Column("arm_token_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("subscription_id", sa.String(), nullable=True),
        sa.Column("resource_group", sa.String(), nullable=True),
        sa.Column("account", sa.String(), nullable=True),
        sa.Column("last_check", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("reads_closed_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("writes_closed_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("read_failures", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("write_failures", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column(
            "updated_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_check_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_owner", sa.String(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("fence", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("fail_count", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("parked_reason", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_connections_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_connections")),
    )
    op.create_index(
        "ix_connections_care",
        "connections",
        ["next_check_at"],
        unique=False,
        postgresql_where=sa.text("next_check_at IS NOT NULL"),
    )
    op.create_index("ix_connections_project", "connections", ["project_id", "id"], unique=False)
    op.create_index(
        "uq_connections_name",
        "connections",
        ["project_id", "name"],
        unique=True,
        postgresql_where=sa.text("archived_at IS NULL"),
    )
    op.create_table(
        "datasets",
        sa.Column("id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("project_id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("method", sa.String(), nullable=False),
        sa.Column("description", sa.String(), server_default="", nullable=False),
        sa.Column(
            "labels", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("version_count", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column(
            "updated_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_datasets_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_datasets")),
    )
    op.create_index("ix_datasets_project", "datasets", ["project_id", "id"], unique=False)
    op.create_index(
        "uq_datasets_name",
        "datasets",
        ["project_id", "name"],
        unique=True,
        postgresql_where=sa.text("archived_at IS NULL"),
    )
    op.create_table(
        "ledger",
        sa.Column("id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("project_id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("key_id", sa.String(length=40, collation="C"), nullable=True),
        sa.Column("subject_id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("category", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("amount_usd", sa.Numeric(precision=18, scale=6), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("kind IN ('reserve', 'release', 'settle')", name=op.f("ck_ledger_kind")),
        sa.CheckConstraint("amount_usd >= 0", name=op.f("ck_ledger_amount")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_ledger_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger")),
    )
    op.create_index("ix_ledger_project", "ledger", ["project_id", "created_at"], unique=False)
    op.create_index("ix_ledger_subject", "ledger", ["subject_id"], unique=False)
    op.create_table(
        "comparison_answers",
        sa.Column("comparison_id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("prompt", sa.BigInteger(), nullable=False),
        sa.Column("candidate", sa.BigInteger(), nullable=False),
        sa.Column("text", sa.String(), nullable=True),
        sa.Column("finish_reason", sa.String(), nullable=True),
        sa.Column("error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=True),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=True),
        sa.Column("latency_seconds", sa.Double(), nullable=True),
        sa.Column("cost_usd", sa.Numeric(precision=18, scale=6), nullable=True),
        sa.ForeignKeyConstraint(
            ["comparison_id"], ["comparisons.id"], name=op.f("fk_comparison_answers_comparison_id")
        ),
        sa.PrimaryKeyConstraint("comparison_id", "prompt", "candidate", name=op.f("pk_comparison_answers")),
    )
    op.create_table(
        "dataset_versions",
        sa.Column("id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("project_id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("dataset_id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("original_name", sa.String(), nullable=True),
        sa.Column("base_model", sa.String(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("content_bytes", sa.BigInteger(), nullable=True),
        sa.Column("content_sha256", sa.String(), nullable=True),
        sa.Column("examples", sa.BigInteger(), nullable=True),
        sa.Column("tokens", sa.BigInteger(), nullable=True),
        sa.Column("checked_bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("report", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column(
            "lineage",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_check_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_owner", sa.String(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("fence", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("fail_count", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("parked_reason", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_dataset_versions_dataset_id")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_dataset_versions_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dataset_versions")),
        sa.UniqueConstraint("dataset_id", "number", name=op.f("uq_dataset_versions_dataset_id_number")),
    )
    op.create_index(
        "ix_dataset_versions_care",
        "dataset_versions",
        ["next_check_at"],
        unique=False,
        postgresql_where=sa.text("next_check_at IS NOT NULL"),
    )
    op.create_index("ix_dataset_versions_project", "dataset_versions", ["project_id", "id"], unique=False)
    op.create_table(
        "dataset_uploads",
        sa.Column("id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("project_id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("dataset_id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=True),
        sa.Column("original_name", sa.String(), nullable=True),
        sa.Column("base_model", sa.String(), nullable=False),
        sa.Column("version_id", sa.String(length=40, collation="C"), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_dataset_uploads_dataset_id")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_dataset_uploads_project_id")),
        sa.ForeignKeyConstraint(
            ["version_id"], ["dataset_versions.id"], name=op.f("fk_dataset_uploads_version_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dataset_uploads")),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("project_id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("connection_id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("key_id", sa.String(length=40, collation="C"), nullable=True),
        sa.Column("reservation_id", sa.String(length=40, collation="C"), nullable=True),
        sa.Column("training_version_id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("validation_version_id", sa.String(length=40, collation="C"), nullable=True),
        sa.Column("base_model", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("method", sa.String(), nullable=False),
        sa.Column("training_type", sa.String(), nullable=False),
        sa.Column("hyperparameters", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("suffix", sa.String(), nullable=True),
        sa.Column("seed", sa.BigInteger(), nullable=True),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("plan", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column(
            "status_changed_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancel_sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("pause_wanted", sa.Boolean(), nullable=True),
        sa.Column("send_state", sa.String(), server_default="idle", nullable=False),
        sa.Column("attempt", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("fenced_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("remote_id", sa.String(), nullable=True),
        sa.Column("remote_status", sa.String(), nullable=True),
        sa.Column("remote", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("remote_seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("missing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("fine_tuned_model", sa.String(), nullable=True),
        sa.Column("trained_tokens", sa.BigInteger(), nullable=True),
        sa.Column("estimated_finish_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("analysis", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("cost_usd", sa.Numeric(precision=18, scale=6), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
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
        sa.ForeignKeyConstraint(["connection_id"], ["connections.id"], name=op.f("fk_jobs_connection_id")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_jobs_project_id")),
        sa.ForeignKeyConstraint(
            ["training_version_id"], ["dataset_versions.id"], name=op.f("fk_jobs_training_version_id")
        ),
        sa.ForeignKeyConstraint(
            ["validation_version_id"], ["dataset_versions.id"], name=op.f("fk_jobs_validation_version_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.UniqueConstraint("reservation_id", name=op.f("uq_jobs_reservation_id")),
    )
    op.create_index(
        "ix_jobs_care",
        "jobs",
        ["next_check_at"],
        unique=False,
        postgresql_where=sa.text("next_check_at IS NOT NULL"),
    )
    op.create_index(
        "ix_jobs_in_flight",
        "jobs",
        ["connection_id"],
        unique=False,
        postgresql_where=sa.text("status IN ('queued', 'running', 'paused')"),
    )
    op.create_index("ix_jobs_project", "jobs", ["project_id", "id"], unique=False)
    op.create_index("ix_jobs_remote", "jobs", ["connection_id", "remote_id"], unique=True)
    op.create_table(
        "remote_files",
        sa.Column("id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("project_id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("connection_id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("version_id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("owner_id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("op_key", sa.String(), nullable=False),
        sa.Column(
            "sent_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("remote_id", sa.String(), nullable=True),
        sa.Column("remote_status", sa.String(), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.ForeignKeyConstraint(["connection_id"], ["connections.id"], name=op.f("fk_remote_files_connection_id")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_remote_files_project_id")),
        sa.ForeignKeyConstraint(["version_id"], ["dataset_versions.id"], name=op.f("fk_remote_files_version_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_remote_files")),
        sa.UniqueConstraint("op_key", name=op.f("uq_remote_files_op_key")),
    )
    op.create_index("ix_remote_files_owner", "remote_files", ["owner_id"], unique=False)
    op.create_table(
        "checkpoints",
        sa.Column("id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("job_id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("remote_id", sa.String(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("model_name", sa.String(), nullable=False),
        sa.Column("metrics", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_checkpoints_job_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_checkpoints")),
        sa.UniqueConstraint("job_id", "remote_id", name=op.f("uq_checkpoints_job_id_remote_id")),
    )
    op.create_table(
        "dataset_upload_parts",
        sa.Column("id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("upload_id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.Column("sha256", sa.String(), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["upload_id"], ["dataset_uploads.id"], name=op.f("fk_dataset_upload_parts_upload_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dataset_upload_parts")),
    )
    op.create_index("ix_dataset_upload_parts_upload", "dataset_upload_parts", ["upload_id", "number"], unique=False)
    op.create_table(
        "job_events",
        sa.Column("id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("job_id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("remote_id", sa.String(), nullable=False),
        sa.Column("level", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("message", sa.String(), nullable=False),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_job_events_job_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_events")),
        sa.UniqueConstraint("job_id", "remote_id", name=op.f("uq_job_events_job_id_remote_id")),
    )
    op.create_table(
        "job_points",
        sa.Column("job_id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("values", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_job_points_job_id")),
        sa.PrimaryKeyConstraint("job_id", "step", name=op.f("pk_job_points")),
    )
    op.create_table(
        "models",
        sa.Column("id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("project_id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("connection_id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("job_id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("remote_name", sa.String(), nullable=False),
        sa.Column("base_model", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.ForeignKeyConstraint(["connection_id"], ["connections.id"], name=op.f("fk_models_connection_id")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_models_job_id")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_models_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_models")),
        sa.UniqueConstraint("job_id", "remote_name", name=op.f("uq_models_job_id_remote_name")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_models_project_id_name")),
    )
    op.create_index("ix_models_project", "models", ["project_id", "id"], unique=False)
    op.create_table(
        "deployments",
        sa.Column("id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("project_id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("connection_id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("key_id", sa.String(length=40, collation="C"), nullable=True),
        sa.Column("reservation_id", sa.String(length=40, collation="C"), nullable=True),
        sa.Column("model_id", sa.String(length=40, collation="C"), nullable=True),
        sa.Column("base_model", sa.String(), nullable=False),
        sa.Column("remote_model", sa.String(), nullable=False),
        sa.Column("model_format", sa.String(), nullable=False),
        sa.Column("model_version", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("sku", sa.String(), nullable=False),
        sa.Column("capacity", sa.BigInteger(), nullable=False),
        sa.Column("capacity_wanted", sa.BigInteger(), nullable=True),
        sa.Column("hourly_usd", sa.Numeric(precision=18, scale=6), nullable=True),
        sa.Column("reserved_usd", sa.Numeric(precision=18, scale=6), server_default="0", nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column(
            "status_changed_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("provisioning_state", sa.String(), nullable=True),
        sa.Column("operation_url", sa.String(), nullable=True),
        sa.Column("put_sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("remote_seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("missing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("warm_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("recreated", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("delete_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delete_reason", sa.String(), nullable=True),
        sa.Column("delete_sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("hosting_started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("hosting_ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("hosted_seconds", sa.Double(), server_default="0", nullable=False),
        sa.Column("cost_usd", sa.Numeric(precision=18, scale=6), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
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
        sa.ForeignKeyConstraint(["connection_id"], ["connections.id"], name=op.f("fk_deployments_connection_id")),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_deployments_model_id")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_deployments_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deployments")),
        sa.UniqueConstraint("reservation_id", name=op.f("uq_deployments_reservation_id")),
    )
    op.create_index(
        "ix_deployments_care",
        "deployments",
        ["next_check_at"],
        unique=False,
        postgresql_where=sa.text("next_check_at IS NOT NULL"),
    )
    op.create_index("ix_deployments_project", "deployments", ["project_id", "id"], unique=False)
    op.create_index("ix_deployments_project_name", "deployments", ["project_id", "name"], unique=False)
    op.create_index(
        "uq_deployments_name",
        "deployments",
        ["connection_id", "name"],
        unique=True,
        postgresql_where=sa.text("status NOT IN ('deleted', 'expired', 'failed', 'removed_by_azure')"),
    )


def downgrade() -> None:
    op.drop_index(
        "uq_deployments_name",
        table_name="deployments",
        postgresql_where=sa.text("status NOT IN ('deleted', 'expired', 'failed', 'removed_by_azure')"),
    )
    op.drop_index("ix_deployments_project_name", table_name="deployments")
    op.drop_index("ix_deployments_project", table_name="deployments")
    op.drop_index(
        "ix_deployments_care", table_name="deployments", postgresql_where=sa.text("next_check_at IS NOT NULL")
    )
    op.drop_table("deployments")
    op.drop_index("ix_models_project", table_name="models")
    op.drop_table("models")
    op.drop_table("job_points")
    op.drop_table("job_events")
    op.drop_index("ix_dataset_upload_parts_upload", table_name="dataset_upload_parts")
    op.drop_table("dataset_upload_parts")
    op.drop_table("checkpoints")
    op.drop_index("ix_remote_files_owner", table_name="remote_files")
    op.drop_table("remote_files")
    op.drop_index("ix_jobs_remote", table_name="jobs")
    op.drop_index("ix_jobs_project", table_name="jobs")
    op.drop_index(
        "ix_jobs_in_flight",
        table_name="jobs",
        postgresql_where=sa.text("status IN ('queued', 'running', 'paused')"),
    )
    op.drop_index("ix_jobs_care", table_name="jobs", postgresql_where=sa.text("next_check_at IS NOT NULL"))
    op.drop_table("jobs")
    op.drop_table("dataset_uploads")
    op.drop_index("ix_dataset_versions_project", table_name="dataset_versions")
    op.drop_index(
        "ix_dataset_versions_care",
        table_name="dataset_versions",
        postgresql_where=sa.text("next_check_at IS NOT NULL"),
    )
    op.drop_table("dataset_versions")
    op.drop_table("comparison_answers")
    op.drop_index("ix_ledger_subject", table_name="ledger")
    op.drop_index("ix_ledger_project", table_name="ledger")
    op.drop_table("ledger")
    op.drop_index("uq_datasets_name", table_name="datasets", postgresql_where=sa.text("archived_at IS NULL"))
    op.drop_index("ix_datasets_project", table_name="datasets")
    op.drop_table("datasets")
    op.drop_index("uq_connections_name", table_name="connections", postgresql_where=sa.text("archived_at IS NULL"))
    op.drop_index("ix_connections_project", table_name="connections")
    op.drop_index(
        "ix_connections_care", table_name="connections", postgresql_where=sa.text("next_check_at IS NOT NULL")
    )
    op.drop_table("connections")
    op.drop_index("ix_comparisons_project", table_name="comparisons")
    op.drop_index(
        "ix_comparisons_care", table_name="comparisons", postgresql_where=sa.text("next_check_at IS NOT NULL")
    )
    op.drop_table("comparisons")
    op.drop_table("budgets")
    op.drop_index("ix_api_keys_project", table_name="api_keys")
    op.drop_table("api_keys")
    op.drop_table("projects")
    op.drop_index("ix_idempotency_keys_created_at", table_name="idempotency_keys")
    op.drop_table("idempotency_keys")
    op.drop_index("ix_events_subject", table_name="events")
    op.drop_index("ix_events_project", table_name="events")
    op.drop_index("ix_events_order", table_name="events")
    op.drop_table("events")
    op.drop_table("event_cursors")
    op.drop_table("account_locks")
