"""Which task takes the steps of which rows. A task gets an id and nothing else: the row is the truth."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from app.adoptions.steps import AdoptionSteps
from app.adoptions.tables import Adoption
from app.baselines.steps import BaselineSteps
from app.baselines.tables import Baseline
from app.connections.tables import Connection
from app.datasets.service import DatasetService
from app.datasets.sources.steps import FetchSteps
from app.datasets.tables import DatasetFetch, DatasetTransform, DatasetVersion
from app.datasets.transforms import TransformService
from app.deployments.steps import ComparisonSteps, DeploymentSteps
from app.deployments.tables import Comparison, Deployment
from app.generation.steps import GenerationSteps
from app.generation.tables import Generation
from app.jobs.steps import JobSteps
from app.jobs.tables import Job
from app.jobs.watch import ConnectionWatch
from app.kit.care import CareColumns
from app.models.steps import CopySteps
from app.models.tables import ModelCopy
from app.studies.steps import StudySteps
from app.studies.tables import Study
from app.upkeep.janitor import JanitorSteps
from app.upkeep.steps import StraySteps, SweepSteps
from app.upkeep.tables import Janitor, Stray, Sweep
from app.workbench import Workbench


@dataclass(frozen=True, slots=True)
class Cared:
    """A kind of row that needs care, and what takes its steps."""

    table: type[CareColumns]
    take_steps: Callable[[Workbench, str], None]
    perpetual: bool = False
    """It is looked at again and again for ever; of the others none is left when all work is done."""


CARED: Final[Mapping[str, Cared]] = {
    "datasets.check": Cared(DatasetVersion, lambda bench, row_id: DatasetService(bench).check(row_id)),
    "datasets.transform": Cared(DatasetTransform, lambda bench, row_id: TransformService(bench).advance(row_id)),
    "datasets.fetch": Cared(DatasetFetch, lambda bench, row_id: FetchSteps(bench).advance(row_id)),
    "adoptions.advance": Cared(Adoption, lambda bench, row_id: AdoptionSteps(bench).advance(row_id)),
    "jobs.watch": Cared(Connection, lambda bench, row_id: ConnectionWatch(bench).watch(row_id)),
    "jobs.advance": Cared(Job, lambda bench, row_id: JobSteps(bench).advance(row_id)),
    "models.copy": Cared(ModelCopy, lambda bench, row_id: CopySteps(bench).advance(row_id)),
    "deployments.advance": Cared(Deployment, lambda bench, row_id: DeploymentSteps(bench).advance(row_id)),
    "comparisons.advance": Cared(Comparison, lambda bench, row_id: ComparisonSteps(bench).advance(row_id)),
    "generations.advance": Cared(Generation, lambda bench, row_id: GenerationSteps(bench).advance(row_id)),
    "studies.advance": Cared(Study, lambda bench, row_id: StudySteps(bench).advance(row_id)),
    "baselines.advance": Cared(Baseline, lambda bench, row_id: BaselineSteps(bench).advance(row_id)),
    "upkeep.sweep": Cared(Sweep, lambda bench, row_id: SweepSteps(bench).sweep(row_id), perpetual=True),
    "upkeep.clean": Cared(Janitor, lambda bench, row_id: JanitorSteps(bench).clean(row_id), perpetual=True),
    "upkeep.stray": Cared(Stray, lambda bench, row_id: StraySteps(bench).advance(row_id)),
}
"""Task name → rows, in the order of a tick. Services nudge by these names.

After a night without workers one watch, sent before them, spares a thousand jobs their own looks.
"""

TICK: Final = "care.tick"
"""The task that finds due rows and passes on news."""
