"""What the jobs room counts for Prometheus, by SQL at scrape time."""

from typing import Final

from app.jobs.tables import UNFINISHED_JOB
from app.kit.measures import Measure

MEASURES: Final = (
    Measure(
        name="kitae_jobs",
        meaning="Fine-tuning jobs by status.",
        labels=("status",),
        sql="SELECT status, count(*) FROM jobs GROUP BY status",
    ),
    Measure(
        name="kitae_jobs_parked",
        meaning="Jobs that wait for a person.",
        labels=(),
        sql="SELECT count(*) FROM jobs WHERE parked_reason IS NOT NULL",
    ),
    Measure(
        name="kitae_jobs_awaiting_decision",
        meaning="Trainings that Azure or the watch-dog paused and that wait for somebody to resume or cancel them.",
        labels=(),
        sql="SELECT count(*) FROM jobs WHERE status = 'paused' AND paused_because->>'by' <> 'user'",
    ),
    Measure(
        name="kitae_jobs_unresolved",
        meaning="Jobs whose creation at Azure has not been confirmed or ruled out yet.",
        labels=(),
        sql="SELECT count(*) FROM jobs WHERE status = 'submitting' AND send_state = 'sent'",
    ),
    Measure(
        name="kitae_jobs_uncared",
        meaning="Unfinished jobs that nobody will look at again; anything but 0 is a defect.",
        labels=(),
        sql=(
            f"SELECT count(*) FROM jobs WHERE next_check_at IS NULL AND parked_reason IS NULL AND {UNFINISHED_JOB}"  # noqa: S608  only our own words
        ),
    ),
    Measure(
        name="kitae_jobs_overdue",
        meaning="Jobs that should have been looked at two minutes ago: no worker or no tick is running.",
        labels=(),
        sql=(
            "SELECT count(*) FROM jobs WHERE next_check_at < now() - interval '2 minutes' "
            "AND parked_reason IS NULL AND (lease_until IS NULL OR lease_until < now())"
        ),
    ),
)
