"""What the datasets room counts for Prometheus, by SQL at scrape time."""

from typing import Final

from app.kit.measures import Measure

MEASURES: Final = (
    Measure(
        name="kitae_dataset_versions",
        meaning="Dataset versions by status.",
        labels=("status",),
        sql="SELECT status, count(*) FROM dataset_versions GROUP BY status",
    ),
    Measure(
        name="kitae_dataset_fetches",
        meaning="Fetches from sources by status; a parked one counts as `parked`.",
        labels=("status",),
        sql=(
            "SELECT CASE WHEN parked_reason IS NULL THEN status ELSE 'parked' END AS status, count(*) "
            "FROM dataset_fetches GROUP BY 1"
        ),
    ),
    Measure(
        name="kitae_files_at_azure",
        meaning="Files that we uploaded and have not deleted; a resource holds 100.",
        labels=(),
        sql="SELECT count(*) FROM remote_files WHERE deleted_at IS NULL",
    ),
    Measure(
        name="kitae_dataset_versions_overdue",
        meaning="Versions that should have been looked at two minutes ago: no worker or no tick is running.",
        labels=(),
        sql=(
            "SELECT count(*) FROM dataset_versions WHERE next_check_at < now() - interval '2 minutes' "
            "AND parked_reason IS NULL AND (lease_until IS NULL OR lease_until < now())"
        ),
    ),
)
