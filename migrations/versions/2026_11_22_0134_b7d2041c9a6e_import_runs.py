"""import runs

Revision: b7d2041c9a6e, after 3f6a0d94b7c2. The code of the release before still runs while this
step is applied: only add here; take away one release later.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "b7d2041c9a6e"
down_revision: str | None = "3f6a0d94b7c2"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "imported_runs",
        sa.Column("id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("project_id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("key_id", sa.String(length=40, collation="C"), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("source_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("base_model", sa.String(), nullable=False),
        sa.Column("method", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("training_version_id", sa.String(length=40, collation="C"), nullable=True),
        sa.Column("validation_version_id", sa.String(length=40, collation="C"), nullable=True),
        sa.Column(
            "problems",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
        ),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_imported_runs_project_id")),
        sa.ForeignKeyConstraint(
            ["training_version_id"], ["dataset_versions.id"], name=op.f("fk_imported_runs_training_version_id")
        ),
        sa.ForeignKeyConstraint(
            ["validation_version_id"], ["dataset_versions.id"], name=op.f("fk_imported_runs_validation_version_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_imported_runs")),
        sa.UniqueConstraint("project_id", "digest", name=op.f("uq_imported_runs_project_id_digest")),
    )
    op.create_index("ix_imported_runs_project", "imported_runs", ["project_id", "id"], unique=False)


def downgrade() -> None:
    op.drop_table("imported_runs")
