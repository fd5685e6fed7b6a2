"""One job's whole life against the emulator, step by step as workers take them."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from lives import Emulator, Life, quick, until
from servers import Project, make_project

from app.bootstrap import open_workbench
from app.events.log import read_page
from app.jobs.service import JobService
from app.jobs.states import JOB_LAW, JobStatus
from app.jobs.watch import ConnectionWatch
from app.settings import Settings


@pytest.fixture
def life(settings: Settings, emulator_url: str) -> Iterator[Life]:
    with open_workbench(quick(settings, emulator_url)) as bench:
        project: Project = make_project(bench, "life")
        Emulator(emulator_url).reset()
        yield Life.begin(bench, project.id, emulator_url)


@pytest.mark.parametrize("style", ["v1", "dated"])
def test_a_job_goes_from_draft_to_succeeded_and_leaves_no_file(life: Life, style: str) -> None:
    connection = life.connect(style=style)
    training, validation = life.example()
    job_id = life.job(connection, training, validation, suffix="travel")

    job = life.drive(job_id, until_status=set(JOB_LAW.terminal))

    assert job.status == JobStatus.SUCCEEDED, (job.error, job.parked_reason, job.last_error)
    assert job.fine_tuned_model is not None
    assert job.fine_tuned_model.startswith("gpt-4.1-mini-2025-04-14.ft-")
    assert job.trained_tokens
    service = JobService(life.bench)
    metrics = service.metrics(life.caller.project_id, job_id)
    losses = [value for value in metrics.series["train_loss"] if value is not None]
    assert len(losses) >= 20
    assert sum(losses[-5:]) < sum(losses[:5])
    assert service.checkpoints(life.caller.project_id, job_id)
    assert service.analysis(life.caller.project_id, job_id).analysis["verdict"]
    assert service.results_csv(life.caller.project_id, job_id).startswith(b"step,train_loss")
    assert service.chart_svg(life.caller.project_id, job_id).startswith("<svg")

    life.tidy(job_id)
    state = Emulator(life.emulator_url).state()
    assert len(state["jobs"]) == 1
    left = [file for file in state["files"] if file["purpose"] == "fine-tune"]
    assert left == []


def test_every_status_of_the_history_follows_the_law(life: Life) -> None:
    connection = life.connect()
    training, _ = life.example()
    job_id = life.job(connection, training)
    life.drive(job_id, until_status=set(JOB_LAW.terminal))

    with life.bench.read() as session:
        events = read_page(
            session,
            project_id=life.caller.project_id,
            subject_id=job_id,
            event_type=None,
            after=None,
            before=None,
            descending=False,
            limit=200,
        )
    moves = [(event.data["from"], event.data["to"]) for event in events if "from" in event.data]
    assert moves[0][0] == "draft"
    assert moves[-1][1] == "succeeded"
    for (_, reached), (left, _) in pairwise(moves):
        assert reached == left
    for current, wanted in moves:
        JOB_LAW.check(JobStatus(current), JobStatus(wanted))


def test_the_watch_takes_in_an_end_once_and_leaves_the_rest_to_the_jobs_own_task(life: Life) -> None:
    connection = life.connect()
    training, _ = life.example()
    job_id = life.job(connection, training)
    job = life.drive(job_id, until_status={JobStatus.QUEUED, JobStatus.RUNNING})
    emulator = Emulator(life.emulator_url)
    until(lambda: emulator.state()["jobs"][0]["phase"] == "succeeded" or None)

    ConnectionWatch(life.bench).watch(job.connection_id)

    seen = life.read(job_id)
    assert seen.status == JobStatus.COLLECTING
    assert seen.fence == job.fence + 1
