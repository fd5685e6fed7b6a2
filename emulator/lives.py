"""What happens to a file, a job or a deployment when something is due; `schedule.py` says when that is."""

from emulator import deliveries, schedule
from emulator.ledger import Ledger, model_blob
from emulator.results import headline, metrics, results_csv
from emulator.state import ON_MACHINE, Change, Checkpoint, Deployment, File, Job, JobPhase, Recording, Row
from emulator.wire import new_id

CHECKPOINTS_KEPT = 3
"""Source: Microsoft Learn, openai/includes/fine-tuning-rest, 2026-10-05: the last three can be deployed."""

FEW_STEPS = 30
"""Up to this many steps every one gets a metrics event; above, the first and every tenth, as on Azure."""

INTERNAL_ERROR = "The job failed due to an internal error."

HONESTY = "Trained by the emulator's own small model: metrics are measured, but their levels are not those of GPT."


def process_file(ledger: Ledger, file: File) -> None:
    file.phase = "error" if file.status_details else "processed"
    ledger.pending_files.pop(file.id, None)
    ledger.touch("file", file)


def end_job(ledger: Ledger, job: Job, phase: JobPhase, at_v: float, error: dict[str, str] | None = None) -> None:
    """Bring a job to a terminal phase, free its place and write its results down."""
    if job.phase in ON_MACHINE:
        ledger.place_freed_v[job.account, job.is_developer] = at_v
    if phase != "succeeded":
        ledger.given_up.add(job.id)
    if job.result_file and job.result_file in ledger.files:
        content = results_csv(ledger.recordings[job.id].rows[: job.published], job.method_type)
        file = ledger.files[job.result_file]
        file.blob, file.size_bytes = file.id, len(content)
        ledger.store.write_blob(file.blob, content)
        ledger.touch("file", file)
    job.phase, job.hold, job.entered_v, job.error = phase, "", at_v, error
    ledger.active.pop(job.id, None)
    job.finished_at = ledger.stamp(at_v)
    deliveries.announce(ledger, job, at_v)
    for role in ("training", "validation", "parent"):
        ledger.store.drop_blob(f"{job.id}.{role}")
    ledger.touch("job", job)


def fail_job(ledger: Ledger, job: Job, at_v: float, error: dict[str, str]) -> None:
    ledger.say(job, at_v, error["message"], level="error")
    end_job(ledger, job, "failed", at_v, error)


def move_job(ledger: Ledger, job: Job, at_v: float, now_v: float) -> None:
    """Apply what is due for a job at `at_v`; training publishes every step due until `now_v` at once."""
    ledger.touch("job", job)
    if job.hold:
        move_hold(ledger, job, at_v)
        return
    recording = ledger.recordings[job.id]
    match job.phase:
        case "enqueued":
            job.phase, job.entered_v = "preprocessing", at_v
            ledger.say(job, at_v, "Preprocessing running for file training file.")
        case "preprocessing":
            finish_preprocessing(ledger, job, recording, at_v)
        case "queued":
            start(ledger, job, at_v)
        case "starting":
            begin_training(ledger, job, recording, at_v)
        case "training":
            train(ledger, job, recording, at_v, now_v)
        case "evaluating":
            finish(ledger, job, recording, at_v)


def move_hold(ledger: Ledger, job: Job, at_v: float) -> None:
    job.hold, job.entered_v = ("paused" if job.hold == "pausing" else ""), at_v
    job.last_step_v = max(job.last_step_v, at_v)
    ledger.say(job, at_v, "Job paused." if job.hold else "Job resumed.")


def finish_preprocessing(ledger: Ledger, job: Job, recording: Recording, at_v: float) -> None:
    if recording.problem:
        fail_job(ledger, job, at_v, recording.problem)
        return
    if harms := [*job.fate.get("data_refused", ()), *recording.data_harms]:
        names = ", ".join(map(str, harms))
        message = (
            f"The provided training data failed RAI checks for harm types: [{names}]."
            " Please fix the data and try again."
        )
        fail_job(ledger, job, at_v, {"code": "contentFilter", "message": message, "param": "training_file"})
        return
    job.phase, job.entered_v = "queued", at_v
    ledger.say(job, at_v, "Preprocessing completed for file training file.")
    if job.validation_file:
        ledger.say(job, at_v, "Preprocessing completed for file validation file.")


def start(ledger: Ledger, job: Job, at_v: float) -> None:
    """Import the data.

    Source: Microsoft's fine-tuning notes, large file uploads, 2026-08: a plain upload of more than 150 MB is taken
    and ends in an internal error during the job. Files may be deleted while a job needs them (Files_Delete and
    FileState `deleted`, 2025-04-01-preview): the job keeps what it began with, unless its fate is to need them.
    """
    job.phase, job.entered_v = "starting", at_v
    for message in ("Job started.", "Data Import started."):
        ledger.say(job, at_v, message)
    gone = [name for name in (job.training_file, job.validation_file) if name and name not in ledger.files]
    if job.fate.get("import_fails"):
        fail_job(ledger, job, at_v, {"code": "internalFailure", "message": INTERNAL_ERROR})
        return
    if gone and job.fate.get("needs_files"):
        message = f"The file '{gone[0]}' of the job does not exist any more."
        fail_job(ledger, job, at_v, {"code": "notFound", "message": message, "param": "training_file"})
        return
    for message in ("Finetuning started.", "Job queued, waiting for GPUs."):
        ledger.say(job, at_v, message)


def begin_training(ledger: Ledger, job: Job, recording: Recording, at_v: float) -> None:
    job.phase, job.entered_v, job.last_step_v = "training", at_v, at_v
    job.hyperparameters_known = recording.n_epochs > 0
    result = File(
        job.account,
        new_id("file-"),
        "results.csv",
        "fine-tune-results",
        0,
        ledger.stamp(at_v),
        at_v,
        phase="processed",
        job=job.id,
    )
    ledger.files[result.id] = result
    ledger.touch("file", result)
    job.result_file = result.id
    ledger.say(job, at_v, "Training started.")
    ledger.say(job, at_v, f"Created results file: {result.id}")
    for notice in (HONESTY, *recording.notices):
        ledger.say(job, at_v, notice, level="warn")


def train(ledger: Ledger, job: Job, recording: Recording, at_v: float, now_v: float) -> None:
    due: float | None = at_v
    while due is not None and due <= now_v and job.phase == "training" and not job.hold:
        if job.published == len(recording.rows):
            end_training(ledger, job, recording, due)
            return
        job.published += 1
        charge(ledger, job, recording, due)
        job.last_step_v = due
        publish(ledger, job, recording, recording.rows[job.published - 1], due)
        due = schedule.job_due(job, recording, ledger.stage_pace())


HOUR_USD = 100.0
"""An hour of reinforcement training. Source: Microsoft Learn, fine-tuning cost management, 2026-03-19 (o4-mini)."""

GRADER_TOKEN_USD = 5e-6
"""A token of a model grader, input and output alike: about gpt-4o's data-zone rates, 2026-11 (2.75 and 11 USD a
million)."""


def charge(ledger: Ledger, job: Job, recording: Recording, at_v: float) -> None:
    """Add what the last step cost, and pause the job once it has spent what it may without asking.

    Source: Microsoft Learn, fine-tuning cost management, 2026-03-19: a reinforcement job is paused at 5,000 USD of
    training and grading; once resumed, nothing holds it any more.
    """
    if not job.is_native:
        return
    hours = (at_v - job.last_step_v) / 3600
    job.spent_usd += hours * HOUR_USD + recording.rows[job.published - 1].grader_tokens * GRADER_TOKEN_USD
    last = job.published == recording.total_steps
    if job.spent_usd >= ledger.limits.rft_usd and not job.cap_lifted and not last:
        job.hold, job.entered_v, job.cap_lifted = "pausing", at_v, True


def publish(ledger: Ledger, job: Job, recording: Recording, row: Row, at_v: float) -> None:
    if row.step == 1 or row.step % 10 == 0 or recording.total_steps <= FEW_STEPS:
        ledger.say(job, at_v, headline(row), data=metrics(row))
    if row.step in recording.epochs:
        checkpoint = Checkpoint(new_id("ftchkpt-"), ledger.stamp(at_v), row.step, metrics(row))
        job.checkpoints.append(checkpoint)
        for old in job.checkpoints[:-CHECKPOINTS_KEPT]:
            ledger.store.drop_blob(model_blob(job.id, old.step))
        del job.checkpoints[:-CHECKPOINTS_KEPT]
    if row.step == job.fate.get("fail_at_step"):
        fail_job(ledger, job, at_v, {"code": "internalFailure", "message": INTERNAL_ERROR})


def end_training(ledger: Ledger, job: Job, recording: Recording, at_v: float) -> None:
    if recording.problem:
        fail_job(ledger, job, at_v, recording.problem)
        return
    job.phase, job.entered_v = "evaluating", at_v
    ledger.say(job, at_v, "Job succeeded.")


def finish(ledger: Ledger, job: Job, recording: Recording, at_v: float) -> None:
    if harms := [*job.fate.get("model_refused", ()), *recording.model_harms]:
        message = (
            "This model is unable to be deployed. Model evaluation identified that this fine tuned model scores"
            f" above acceptable thresholds for [{', '.join(map(str, harms))}]."
            " Please review your training data set and resubmit the job."
        )
        fail_job(ledger, job, at_v, {"code": "contentFilter", "message": message, "param": "training_file"})
        return
    job.fine_tuned_model = job.tuned_name
    job.trained_tokens = None if job.is_native else recording.billed_tokens
    ledger.say(job, at_v, "Model Evaluation Passed.")
    ledger.say(job, at_v, f"Completed results file: {job.result_file}")
    if job.is_native:
        hours = job.spent_usd / HOUR_USD
        ledger.say(job, at_v, f"Training hours billed: {hours:.3f}")
    else:
        ledger.say(job, at_v, f"Training tokens billed: {recording.billed_tokens}")
    end_job(ledger, job, "succeeded", at_v)


def move_deployment(ledger: Ledger, deployment: Deployment, at_v: float) -> None:
    """Apply what is due for a deployment at `at_v`."""
    ledger.touch("deployment", deployment)
    match deployment.phase:
        case "creating" if deployment.fate.get("provision_fails"):
            deployment.phase, deployment.entered_v = "failed", at_v
            message = "The deployment failed because of an internal error. Please try again later."
            ledger.end_operation(deployment, at_v, {"code": "InternalServerError", "message": message})
        case "creating":
            deployment.phase, deployment.entered_v, deployment.hosted_from_v = "warming", at_v, at_v
            ledger.end_operation(deployment, at_v)
        case "deleting" if deployment.fate.pop("delete_fails", False):
            deployment.phase = deployment.phase_before_delete
            message = "The deployment could not be deleted because of an internal error. Please try again later."
            ledger.end_operation(deployment, at_v, {"code": "InternalServerError", "message": message})
        case "deleting":
            ledger.remove_deployment(deployment, at_v, "deleted")
            ledger.end_operation(deployment, at_v)
        case _ if schedule.is_removal_due(deployment, at_v):
            ledger.remove_deployment(deployment, at_v, "removed by Azure")
        case _ if deployment.change and schedule.is_update_due(deployment, at_v, ledger.stage_pace()):
            finish_update(ledger, deployment, deployment.change, at_v)
        case "warming":
            deployment.phase, deployment.entered_v = "ready", at_v


def finish_update(ledger: Ledger, deployment: Deployment, change: Change, at_v: float) -> None:
    deployment.change = None
    if deployment.fate.pop("update_fails", False):
        message = "The deployment could not be updated because of an internal error. Please try again later."
        ledger.end_operation(deployment, at_v, {"code": "InternalServerError", "message": message})
        return
    deployment.change_sku(change.sku_name, change.capacity, change.quota, at_v)
    deployment.properties, deployment.tags = change.properties, change.tags
    deployment.modified_at = ledger.stamp(at_v)
    ledger.end_operation(deployment, at_v)
