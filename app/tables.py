"""Every table of the house in one import, for migrations and tests. It knows nothing else."""

from app.access import tables as _access
from app.adoptions import tables as _adoptions
from app.audit import tables as _audit
from app.baselines import tables as _baselines
from app.connections import tables as _connections
from app.costs import tables as _costs
from app.datasets import tables as _datasets
from app.deployments import tables as _deployments
from app.events import tables as _events
from app.exports import tables as _exports
from app.generation import tables as _generation
from app.http import tables as _http
from app.jobs import tables as _jobs
from app.jobs import untrained as _untrained
from app.kit.db import Base
from app.models import tables as _models
from app.retrieval import tables as _retrieval
from app.studies import tables as _studies
from app.triggers import tables as _triggers
from app.upkeep import tables as _upkeep

__all__ = ["Base"]
del _access, _adoptions, _audit, _connections, _costs, _datasets, _deployments, _events, _http, _jobs, _models
del _generation, _studies, _triggers, _upkeep
del _baselines, _exports, _retrieval, _untrained
