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
        name="kitae_files_at_azure",
        meaning="Files that we uploaded and have not deleted; a resource holds 100.",
        labels=(),
        sql="SELECT count(*) FROM remote_files WHERE deleted_at IS NULL",
    ),
)
