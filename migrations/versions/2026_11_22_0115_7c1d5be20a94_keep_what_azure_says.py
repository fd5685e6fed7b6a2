"""keep what Azure says of resources, copies of models and notices of retirement

Revision: 7c1d5be20a94, after a44cfe938056. The code of the release before still runs while this
step is applied: only add here; take away one release later.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "7c1d5be20a94"
down_revision: str | None = "a44cfe938056"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_ID = sa.String(length=40, collation="C")
_JSON = postgresql.JSONB(astext_type=sa.Text())
_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "resource_facts",
        sa.Column("connection_id", _ID, nullable=False),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("models", _JSON, nullable=True),
        sa.Column("capacity", _JSON, nullable=True),
        sa.Column("models_read_at", _MOMENT, nullable=True),
        sa.Column("models_asked_at", _MOMENT, nullable=True),
        sa.Column("models_error", _JSON, nullable=True),
        sa.Column("files", sa.BigInteger(), nullable=True),
        sa.Column("file_bytes", sa.BigInteger(), nullable=True),
        sa.Column("jobs", sa.BigInteger(), nullable=True),
        sa.Column("jobs_running", sa.BigInteger(), nullable=True),
        sa.Column("jobs_running_developer", sa.BigInteger(), nullable=True),
        sa.Column("jobs_queued", sa.BigInteger(), nullable=True),
        sa.Column("counted_at", _MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["connection_id"], ["connections.id"], name=op.f("fk_resource_facts_connection_id")
        ),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_resource_facts_project_id")),
        sa.PrimaryKeyConstraint("connection_id", name=op.f("pk_resource_facts")),
    )
    op.create_index("ix_resource_facts_project", "resource_facts", ["project_id"], unique=False)
    op.create_table(
        "model_copies",
        sa.Column("id", _ID, nullable=False),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("model_id", _ID, nullable=False),
        sa.Column("connection_id", _ID, nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("status_changed_at", _MOMENT, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("remote_status", sa.String(), nullable=True),
        sa.Column("sent_at", _MOMENT, nullable=True),
        sa.Column("asks", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("error", _JSON, nullable=True),
        sa.Column("finished_at", _MOMENT, nullable=True),
        sa.Column("created_at", _MOMENT, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("updated_at", _MOMENT, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("next_check_at", _MOMENT, nullable=True),
        sa.Column("lease_owner", sa.String(), nullable=True),
        sa.Column("lease_until", _MOMENT, nullable=True),
        sa.Column("fence", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("fail_count", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("failing_since", _MOMENT, nullable=True),
        sa.Column("last_error", _JSON, nullable=True),
        sa.Column("parked_reason", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["connection_id"], ["connections.id"], name=op.f("fk_model_copies_connection_id")),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_model_copies_model_id")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_model_copies_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_copies")),
        sa.UniqueConstraint("model_id", "connection_id", name=op.f("uq_model_copies_model_id_connection_id")),
    )
    op.create_index(
        "ix_model_copies_care",
        "model_copies",
        ["next_check_at"],
        unique=False,
        postgresql_where=sa.text("next_check_at IS NOT NULL"),
    )
    op.create_index("ix_model_copies_project", "model_copies", ["project_id", "id"], unique=False)
    op.create_table(
        "retirement_notices",
        sa.Column("subject_id", _ID, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("ends_on", sa.Date(), nullable=False),
        sa.Column("level", sa.String(), nullable=False),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("told_at", _MOMENT, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_retirement_notices_project_id")),
        sa.PrimaryKeyConstraint("subject_id", "kind", "ends_on", "level", name=op.f("pk_retirement_notices")),
    )
    op.create_index("ix_retirement_notices_project", "retirement_notices", ["project_id"], unique=False)


def downgrade() -> None:
    op.drop_table("retirement_notices")
    op.drop_table("model_copies")
    op.drop_table("resource_facts")
