"""evaluate trials

Revision: 2c7e91f0b5d4, after b7d2041c9a6e. The code of the release before still runs while this
step is applied: only add here; take away one release later.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "2c7e91f0b5d4"
down_revision: str | None = "b7d2041c9a6e"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("studies", sa.Column("evaluation", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    for name, table in (("deployment_id", "deployments"), ("baseline_id", "baselines")):
        op.add_column("trials", sa.Column(name, sa.String(length=40, collation="C"), nullable=True))
        op.create_foreign_key(op.f(f"fk_trials_{name}"), "trials", table, [name], ["id"])


def downgrade() -> None:
    for name in ("baseline_id", "deployment_id"):
        op.drop_constraint(op.f(f"fk_trials_{name}"), "trials", type_="foreignkey")
        op.drop_column("trials", name)
    op.drop_column("studies", "evaluation")
