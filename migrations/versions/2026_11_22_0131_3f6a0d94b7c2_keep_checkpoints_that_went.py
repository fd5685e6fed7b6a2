"""keep checkpoints that Azure no longer lists

Revision: 3f6a0d94b7c2, after 089c9fac9744. The code of the release before still runs while this
step is applied: only add here; take away one release later.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "3f6a0d94b7c2"
down_revision: str | None = "089c9fac9744"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("checkpoints", sa.Column("gone_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("checkpoints", "gone_at")
