"""count sends of files

Revision: 5b1f0c7ad9e2, after 668f3252c827. The code of the release before still runs while this
step is applied: only add here; take away one release later.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "5b1f0c7ad9e2"
down_revision: str | None = "668f3252c827"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("remote_files", sa.Column("sends", sa.BigInteger(), server_default="0", nullable=False))


def downgrade() -> None:
    op.drop_column("remote_files", "sends")
