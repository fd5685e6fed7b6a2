"""Every table of the house in one import, for migrations and tests. It knows nothing else."""

from app.events import tables as _events
from app.kit.db import Base

__all__ = ["Base"]
del _events
