"""The life of a deployment, as law."""

from enum import StrEnum
from typing import Final

from app.kit.law import Law


class DeploymentStatus(StrEnum):
    """Our word; ARM's provisioning state is kept beside it."""

    CREATING = "creating"
    """The PUT was, or is about to be, sent. It is idempotent by name, so a crash here only means asking again."""
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
    """Azure refused to make it; nothing runs."""


DEPLOYMENT_LAW: Final = Law(
    "deployment",
    {
        DeploymentStatus.CREATING: frozenset(
            {
                DeploymentStatus.WARMING,
                DeploymentStatus.DELETING,
                DeploymentStatus.FAILED,
                DeploymentStatus.REMOVED_BY_AZURE,
            }
        ),
        DeploymentStatus.WARMING: frozenset(
            {
                DeploymentStatus.READY,
                DeploymentStatus.CREATING,
                DeploymentStatus.DELETING,
                DeploymentStatus.FAILED,
                DeploymentStatus.REMOVED_BY_AZURE,
            }
        ),
        DeploymentStatus.READY: frozenset(
            {DeploymentStatus.DELETING, DeploymentStatus.REMOVED_BY_AZURE, DeploymentStatus.WARMING}
        ),
        DeploymentStatus.DELETING: frozenset({DeploymentStatus.DELETED, DeploymentStatus.EXPIRED}),
        DeploymentStatus.DELETED: frozenset(),
        DeploymentStatus.EXPIRED: frozenset(),
        DeploymentStatus.REMOVED_BY_AZURE: frozenset({DeploymentStatus.CREATING}),
        DeploymentStatus.FAILED: frozenset(),
    },
)
