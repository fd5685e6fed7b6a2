"""What one can do with copies of models: ask for one, and see how it goes."""

from sqlalchemy import func

from app.azure.port import ApiStyle
from app.connections.resources import ResourceService
from app.connections.service import ConnectionService
from app.connections.tables import Connection
from app.kit.errors import Conflict, FieldError, Invalid
from app.kit.ids import new_id
from app.models import repository
from app.models.schemas import ModelCopyList, ModelCopyRead
from app.models.service import ModelService
from app.models.states import CopyStatus
from app.models.tables import Model, ModelCopy
from app.workbench import Workbench


class CopyService:
    """The copies of a project's models."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._connections = ConnectionService(bench)
        self._models = ModelService(bench)

    def begin(self, project_id: str, ref: str, connection: str) -> ModelCopyRead:
        """Have a model, or a checkpoint, copied to another resource. Asking twice is no mistake: it is one copy.

        A copy that failed begins anew.

        Raises:
            NotFound: no such model, checkpoint or connection.
            Invalid: the destination names no account, or the source speaks no v1.
            Conflict: it is there already, Azure no longer lists the checkpoint, or would refuse the destination.
        """
        model = self._models.resolve(project_id, ref)
        destination = self._connections.get(project_id, connection)
        with self._bench.read() as session:
            known = next(
                (
                    row
                    for row in repository.copies(session, project_id, model.id)
                    if row.connection_id == destination.id
                ),
                None,
            )
        if known is None or known.status == CopyStatus.FAILED:
            self._refuse_hopeless(project_id, model, destination)
        with self._bench.begin() as work:
            copy_id = new_id("mcp")
            row = repository.add_copy(
                work.session,
                {
                    "id": copy_id,
                    "project_id": project_id,
                    "model_id": model.id,
                    "connection_id": destination.id,
                    "status": CopyStatus.REQUESTED,
                    "next_check_at": func.clock_timestamp(),
                },
            )
            begins = row.id == copy_id or row.status == CopyStatus.FAILED or row.parked_reason is not None
            if begins and row.id != copy_id:
                repository.begin_copy_again(work.session, row)
            if begins:
                anew = row.id == copy_id or row.status == CopyStatus.FAILED
                work.announce(
                    "model_copy.requested" if anew else "model_copy.retry_requested",
                    project_id=project_id,
                    subject_id=row.id,
                    model=model.id,
                    connection=destination.id,
                    remote_name=model.remote_name,
                )
                work.nudge("models.copy", row.id)
            work.session.refresh(row)
            return read(row)

    def _refuse_hopeless(self, project_id: str, model: Model, destination: Connection) -> None:
        """What Azure would refuse, said before it is asked.

        Source: Microsoft Learn, fine-tuning REST page, 2026-10-05 (copying a checkpoint).
        """
        source = self._connections.target_of(model.connection_id)
        target = self._connections.target(destination)
        if target.account_key == source.account_key or destination.id == model.connection_id:
            raise Conflict(
                f"{destination.name!r} is the resource that has the model already.", code="same_resource"
            )
        if not (target.subscription_id and target.resource_group and target.account and target.region):
            raise _invalid(
                "arm_not_configured",
                f"The connection {destination.name!r} does not say which ARM account it is and where.",
                hint="Give it subscription_id, resource_group, account and region.",
            )
        if source.api_style is not ApiStyle.V1:
            raise _invalid(
                "copy_needs_v1",
                "Only the v1 form copies checkpoints, and the model's own connection speaks another.",
                hint="Make a connection to the source with api_style v1 and adopt the job there.",
            )
        with self._bench.read() as session:
            listed = repository.remote_checkpoint(session, model)
            trained = repository.has_trained(session, destination.id)
        if listed is None:
            raise Conflict(
                f"Azure does not list the checkpoint {model.remote_name!r} any more, so it cannot be copied.",
                code="checkpoint_gone",
            )
        place = ResourceService(self._bench).places(project_id).get(destination.id)
        if not trained and place is not None and place.counts is not None and place.counts.jobs == 0:
            raise Conflict(
                f"No fine-tuning job was ever run on {destination.name!r}; Azure copies only to where one was.",
                code="destination_without_job",
                hint="Run a small training there once, then have it counted: POST /v1/connections/{id}/sweep.",
            )

    def of(self, project_id: str, ref: str) -> ModelCopyList:
        """Every copy of a model. Raises `NotFound`."""
        model = self._models.get(project_id, ref)
        with self._bench.read() as session:
            return ModelCopyList(data=[read(row) for row in repository.copies(session, project_id, model.id)])

    def to(self, model: Model, connection_id: str) -> ModelCopyRead | None:
        """The copy on one resource; None = it was never asked for."""
        found = self.of(model.project_id, model.id).data
        return next((copy for copy in found if copy.connection == connection_id), None)


def read(row: ModelCopy) -> ModelCopyRead:
    """The row as callers see it."""
    return ModelCopyRead(
        id=row.id,
        model=row.model_id,
        connection=row.connection_id,
        status=CopyStatus(row.status),
        remote_status=row.remote_status,
        error=row.error,
        parked_reason=row.parked_reason,
        last_error=row.last_error,
        created_at=row.created_at,
        finished_at=row.finished_at,
    )


def _invalid(code: str, detail: str, *, hint: str = "") -> Invalid:
    error = FieldError(pointer="/connection", detail=detail, code=code)
    return Invalid(detail, code=code, hint=hint, errors=[error])
