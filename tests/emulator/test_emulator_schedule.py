"""When things are due: pure arithmetic over records, recordings and the pace."""

import pytest

from emulator.schedule import INSTANT, Pace, deployment_due, job_due
from emulator.state import Deployment, Job, Recording, Row

DAY = 86_400


def _job(**changes: object) -> Job:
    job = Job(
        account="",
        id="ftjob-1",
        model="m",
        base="m",
        training_file="f",
        validation_file=None,
        method=None,
        method_type="supervised",
        asked={},
        default_multiplier=1.0,
        suffix=None,
        seed=1,
        metadata=None,
        integrations=None,
        training_type=None,
        parent=None,
        created_at=0,
        created_v=0.0,
        entered_v=100.0,
        order=1,
        estimated_finish=0,
    )
    for name, value in changes.items():
        setattr(job, name, value)
    return job


def _row(step: int, arrival_v: float) -> Row:
    return Row(step, {"train_loss": 1.0}, arrival_v)


def test_a_job_waits_for_its_files_to_be_read():
    job, pace = _job(phase="preprocessing"), Pace(validate=10)
    assert job_due(job, Recording(), pace) is None
    assert job_due(job, Recording(checked_v=50), pace) == 107
    assert job_due(job, Recording(checked_v=200), pace) == 200


def test_a_step_is_due_after_the_last_one_but_never_before_it_was_measured():
    job = _job(phase="training", published=1, last_step_v=110.0)
    pace = Pace(step=5)
    assert job_due(job, Recording(rows=[_row(1, 0)], total_steps=2), pace) is None
    assert job_due(job, Recording(rows=[_row(1, 0), _row(2, 3)], total_steps=2), pace) == 115
    assert job_due(job, Recording(rows=[_row(1, 0), _row(2, 300)], total_steps=2), pace) == 300
    assert job_due(job, Recording(rows=[_row(1, 0), _row(2, 300)], total_steps=2), INSTANT) == 300


def test_training_ends_only_when_the_learner_is_done():
    job = _job(phase="training", published=1, last_step_v=110.0)
    recording = Recording(rows=[_row(1, 0)], total_steps=1)
    assert job_due(job, recording, INSTANT) is None
    recording.finished_v = 130
    assert job_due(job, recording, INSTANT) == 130


def test_a_paused_job_has_nothing_due():
    job = _job(phase="training", hold="paused", published=1)
    assert job_due(job, Recording(rows=[_row(1, 0), _row(2, 0)], total_steps=2), INSTANT) is None


@pytest.mark.parametrize("phase", ["succeeded", "failed", "cancelled"])
def test_a_finished_job_has_nothing_due(phase: str):
    assert job_due(_job(phase=phase), Recording(checked_v=1, prepared_v=1, finished_v=1), INSTANT) is None


def test_steps_share_twenty_minutes_unless_their_length_is_given():
    assert Pace().step_of(100) == 12
    assert Pace().step_of(1_000_000) == 0.5
    assert Pace(step=3).step_of(100) == 3


@pytest.mark.parametrize(
    ("seconds", "words"), [({"sleep": 1}, "unknown stage"), ({"queue": -1}, "queue"), ({"step": "x"}, "step")]
)
def test_a_wrong_pace_is_refused(seconds: dict, words: str):
    with pytest.raises(ValueError, match=words):
        Pace().changed(seconds)


def _deployment(model: str, sku: str, **changes: object) -> Deployment:
    deployment = Deployment(
        "", "/d", "", "d", {"name": model}, sku, 1, {}, None, 0, 0.0, phase="ready", hosted_from_v=0.0
    )
    for name, value in changes.items():
        setattr(deployment, name, value)
    return deployment


def test_idle_tuned_deployments_go_after_fifteen_days_and_use_puts_it_off():
    tuned = _deployment("base.ft-1", "Standard")
    assert deployment_due(tuned, Pace()) == 15 * DAY
    tuned.last_used_v = 10 * DAY
    assert deployment_due(tuned, Pace()) == 25 * DAY


def test_developer_deployments_go_after_a_day_used_or_not():
    assert deployment_due(_deployment("base.ft-1", "DeveloperTier", last_used_v=DAY - 1.0), Pace()) == DAY


def test_deployments_of_base_models_stay():
    assert deployment_due(_deployment("gpt-4.1", "Standard"), Pace()) is None
