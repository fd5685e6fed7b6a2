"""The life of a deployment, as law."""

from enum import StrEnum
from typing import Final

from app.kit.law import Law


class DeploymentStatus(StrEnum):
    """Our word; ARM's provisioning state is kept beside it."""

    CREATING = "creating"
    """The PUT was, or is about to be, sent. It is idempotent by name, so a crash here only means asking again.
    Parked in this status: it never answered, twice; it was deleted at Azure and waits for a person's `retry`."""
    WARMING = "warming"
    """ARM says Succeeded; the model does not answer yet."""
    READY = "ready"
    """It answered a probe."""
    DELETING = "deleting"
    """The DELETE was, or is about to be, sent; hosting is still paid until Azure answers 404."""
    DELETED = "deleted"
    EXPIRED = "expired"
    """Deleted because its time was up."""
    REMOVED_BY_AZURE = "removed_by_azure"
    """Gone without us: 15 idle days, 24 hours of the Developer tier, or somebody in the portal."""
    FAILED = "failed"
    """Azure refused to make it, or could not; nothing runs."""


_GOING: Final = frozenset({DeploymentStatus.DELETING, DeploymentStatus.REMOVED_BY_AZURE})
"""What may befall a deployment at any time: somebody wants it gone, or somebody has removed it."""

DEPLOYMENT_LAW: Final = Law(
    "deployment",
    {
        DeploymentStatus.CREATING: _GOING | {DeploymentStatus.WARMING, DeploymentStatus.FAILED},
        DeploymentStatus.WARMING: _GOING | {DeploymentStatus.READY, DeploymentStatus.CREATING},
        DeploymentStatus.READY: _GOING | {DeploymentStatus.CREATING},
        DeploymentStatus.DELETING: frozenset(
            {
                DeploymentStatus.DELETED,
                DeploymentStatus.EXPIRED,
                DeploymentStatus.FAILED,
                DeploymentStatus.CREATING,
            }
        ),
        DeploymentStatus.DELETED: frozenset(),
        DeploymentStatus.EXPIRED: frozenset(),
        DeploymentStatus.REMOVED_BY_AZURE: frozenset(),
        DeploymentStatus.FAILED: frozenset(),
    },
)
"""Two ways lead back to `creating`: deletion, when it never answered and is made once more; and the sight that
Azure has removed it, when its `on_removal` says `recreate`. Deletion also clears away what a failed one left."""


class OnRemoval(StrEnum):
    """What follows when Azure, or somebody there, removes a deployment before its end."""

    PARK = "park"
    """It becomes `removed_by_azure`; nothing more is done, nothing more is paid."""
    RECREATE = "recreate"
    """It is made again under the same name, for the rest of its time and of its reservation; not without end."""


class DeleteReason(StrEnum):
    """Why a deployment is being deleted; it decides what it becomes when it is gone."""

    ASKED = "asked"
    EXPIRED = "expired"
    NEVER_WARMED = "never_warmed"
    """Made again once; after that it waits, deleted, for a person."""
    FAILED = "failed"
    """Azure said that the creation failed; what is left of it is removed."""


class ComparisonStatus(StrEnum):
    RUNNING = "running"
    """Answers are being asked for; those that are recorded are never asked for again."""
    SUCCEEDED = "succeeded"
    """Every candidate was asked everything; single answers may hold an error."""
    FAILED = "failed"
    """Not one answer came."""


COMPARISON_LAW: Final = Law(
    "comparison",
    {
        ComparisonStatus.RUNNING: frozenset({ComparisonStatus.SUCCEEDED, ComparisonStatus.FAILED}),
        ComparisonStatus.SUCCEEDED: frozenset(),
        ComparisonStatus.FAILED: frozenset(),
    },
)
