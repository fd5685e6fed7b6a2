"""`kitae jobs …`: plan, train, watch, judge."""

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from app.cli import words
from app.cli.exits import Exit, Told
from app.cli.options import Json, Limit, Wait, pair

if TYPE_CHECKING:
    from app.jobs.schemas import JobCreate, JobRead
    from app.jobs.watchdog import WatchPolicy

group = typer.Typer(no_args_is_help=True, help="Fine-tuning jobs.")

Job = Annotated[str, typer.Argument(help="A job's id.")]

Training = Annotated[str, typer.Argument(help="Dataset version to train on: travel@3, or travel.")]
Connection = Annotated[str, typer.Option("--connection", "-c", help="Azure OpenAI resource, by name or id.")]
BaseModel = Annotated[
    str | None, typer.Option("--model", "-m", help="Base model; gpt-4.1-mini, for reinforcement o4-mini.")
]
Validation = Annotated[str | None, typer.Option("--validation", "-v", help="Dataset version to validate on.")]
Goal = Annotated[
    str | None, typer.Option(help="balanced, fast, quality, low_overfit or reproducible: chooses for you.")
]
Epochs = Annotated[int | None, typer.Option(help="Passes over the data.")]
BatchSize = Annotated[int | None, typer.Option(help="Examples in one step.")]
Rate = Annotated[float | None, typer.Option(help="Learning rate multiplier.")]
Suffix = Annotated[str | None, typer.Option(help="Becomes part of the model's name at Azure.")]
Seed = Annotated[int | None, typer.Option(min=0)]
MaxCost = Annotated[float | None, typer.Option(help="Refuse if it is expected to cost more, in USD.")]
Metadata = Annotated[list[str] | None, typer.Option(help="name=value, up to 8; goes to Azure too.")]

Method = Annotated[str | None, typer.Option(help="supervised (the default), dpo or reinforcement.")]
GraderFile = Annotated[Path | None, typer.Option("--grader", help="JSON file; reinforcement needs one.")]
FormatFile = Annotated[Path | None, typer.Option("--response-format", help="JSON file; reinforcement only.")]
ContinueFrom = Annotated[
    str | None,
    typer.Option(help="A tuned model to train on: mdl_…, its name, ckp_…, job_… or Azure's name of it."),
]
TrainingTypes = Annotated[
    list[str] | None,
    typer.Option(
        "--training-type",
        help="Standard, GlobalStandard, DataZoneStandard or developerTier. Repeatable: the first that can be had "
        "is taken, the next are tried should Azure refuse it.",
    ),
]
Beta = Annotated[float | None, typer.Option(help="dpo: how firmly it is held near where it began.")]
Effort = Annotated[str | None, typer.Option(help="reinforcement: default, low, medium or high.")]
Compute = Annotated[float | None, typer.Option(help="reinforcement: how much is sampled.")]
EvalInterval = Annotated[int | None, typer.Option(help="reinforcement: steps between evaluations.")]
EvalSamples = Annotated[int | None, typer.Option(help="reinforcement: answers to each validation row.")]

Rules = Annotated[
    list[str] | None,
    typer.Option(
        "--watch",
        help="RULE=ACTION or RULE:MEASURE=VALUE=ACTION, as validation_rising=cancel or spend:usd=200=pause; "
        "notify, pause or cancel. Repeatable. `kitae jobs watchdog --help` lists the rules.",
    ),
]


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="jobs")


def _policy(rules: list[str] | None) -> "WatchPolicy | None":
    """The watch-dog's rules as they were typed; None when none were."""
    from app.jobs.watchdog import UnknownRule, WatchPolicy, rule_from_words

    if not rules:
        return None
    try:
        return WatchPolicy.model_validate({"rules": [rule_from_words(rule).model_dump() for rule in rules]})
    except UnknownRule as error:
        raise Told(str(error), code=Exit.USAGE) from error


def _wanted(
    *,
    training: str,
    connection: str,
    model: str | None,
    hyperparameters: dict[str, Any],
    metadata: list[str] | None,
    grader: Path | None,
    response_format: Path | None,
    training_types: list[str] | None,
    **optional: Any,
) -> "JobCreate":
    """Only what was given: the service chooses the rest."""
    from pydantic import ValidationError

    from app.cli.graders import json_object
    from app.jobs.schemas import JobCreate
    from app.kit.wire import in_words

    body: dict[str, Any] = {"training": training, "connection": connection}
    body |= {name: value for name, value in optional.items() if value is not None}
    if model is not None or "continue_from" not in body:
        body["model"] = model or ("o4-mini" if body.get("method") == "reinforcement" else "gpt-4.1-mini")
    if grader is not None:
        body["grader"] = json_object(grader, "grader")
    if response_format is not None:
        body["response_format"] = json_object(response_format, "response_format")
    if training_types:
        body |= (
            {"training_types": training_types} if len(training_types) > 1 else {"training_type": training_types[0]}
        )
    chosen = {name: value for name, value in hyperparameters.items() if value is not None}
    if chosen:
        body["hyperparameters"] = chosen
    if metadata:
        body["metadata"] = dict(pair(text, "metadata") for text in metadata)
    try:
        return JobCreate.model_validate(body)
    except ValidationError as error:
        raise Told("; ".join(in_words(problem) for problem in error.errors()), code=Exit.USAGE) from error


@group.command()
def plan(  # noqa: PLR0913  each is a choice about the training
    training: Training,
    *,
    connection: Connection = "emulator",
    model: BaseModel = None,
    method: Method = None,
    grader: GraderFile = None,
    response_format: FormatFile = None,
    continue_from: ContinueFrom = None,
    validation: Validation = None,
    goal: Goal = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    learning_rate: Rate = None,
    beta: Beta = None,
    reasoning_effort: Effort = None,
    compute_multiplier: Compute = None,
    eval_interval: EvalInterval = None,
    eval_samples: EvalSamples = None,
    training_type: TrainingTypes = None,
    suffix: Suffix = None,
    seed: Seed = None,
    max_cost: MaxCost = None,
    metadata: Metadata = None,
    json_: Json = False,
) -> None:
    """Show what a job would be, with every check and its cost; exit code 4 when it would be refused."""
    from app.cli import reports
    from app.cli.door import connect

    wanted = _wanted(
        training=training,
        connection=connection,
        model=model,
        validation=validation,
        goal=goal,
        method=method,
        grader=grader,
        response_format=response_format,
        continue_from=continue_from,
        hyperparameters={
            "n_epochs": epochs,
            "batch_size": batch_size,
            "learning_rate_multiplier": learning_rate,
            "beta": beta,
            "reasoning_effort": reasoning_effort,
            "compute_multiplier": compute_multiplier,
            "eval_interval": eval_interval,
            "eval_samples": eval_samples,
        },
        training_types=training_type,
        suffix=suffix,
        seed=seed,
        max_cost_usd=max_cost,
        metadata=metadata,
    )
    with connect() as client:
        planned = client.jobs.plan(wanted)
    if json_:
        words.put_json(planned)
    else:
        reports.plan(planned, to=words.data_console())
    if not planned.ok:
        raise typer.Exit(Exit.BAD_OUTCOME)


@group.command()
def create(  # noqa: PLR0913  as for plan
    training: Training,
    *,
    connection: Connection = "emulator",
    model: BaseModel = None,
    method: Method = None,
    grader: GraderFile = None,
    response_format: FormatFile = None,
    continue_from: ContinueFrom = None,
    validation: Validation = None,
    goal: Goal = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    learning_rate: Rate = None,
    beta: Beta = None,
    reasoning_effort: Effort = None,
    compute_multiplier: Compute = None,
    eval_interval: EvalInterval = None,
    eval_samples: EvalSamples = None,
    training_type: TrainingTypes = None,
    suffix: Suffix = None,
    seed: Seed = None,
    max_cost: MaxCost = None,
    metadata: Metadata = None,
    watch: Rules = None,
    wait: Wait = False,
    json_: Json = False,
) -> None:
    """Train a model. Spends money; `plan` tells how much. With --wait, exit code 4 when it does not succeed."""
    from app.cli import reports
    from app.cli.door import connect
    from app.cli.waiting import trained

    wanted = _wanted(
        training=training,
        connection=connection,
        model=model,
        validation=validation,
        goal=goal,
        method=method,
        grader=grader,
        response_format=response_format,
        continue_from=continue_from,
        hyperparameters={
            "n_epochs": epochs,
            "batch_size": batch_size,
            "learning_rate_multiplier": learning_rate,
            "beta": beta,
            "reasoning_effort": reasoning_effort,
            "compute_multiplier": compute_multiplier,
            "eval_interval": eval_interval,
            "eval_samples": eval_samples,
        },
        training_types=training_type,
        suffix=suffix,
        seed=seed,
        max_cost_usd=max_cost,
        metadata=metadata,
        watch=_policy(watch),
    )
    with connect() as client:
        job = client.jobs.create(wanted)
        if wait:
            words.note(f"{job.id} is on its way; `kitae jobs watch {job.id}` takes it up again after Ctrl-C.")
            job = trained(client, job)
    if json_:
        words.put_json(job)
    else:
        words.put(job.id)
    if wait:
        reports.job_end(job)
        _exit_for(job)


def _exit_for(job: "JobRead") -> None:
    if job.status != "succeeded":
        raise typer.Exit(Exit.BAD_OUTCOME)


@group.command("list")
def list_jobs(
    *,
    status: Annotated[str | None, typer.Option(help="Only jobs in this status.")] = None,
    connection: Annotated[str | None, typer.Option(help="Only jobs of this connection.")] = None,
    limit: Limit = 20,
    json_: Json = False,
) -> None:
    """List jobs, newest first."""
    from app.cli.door import connect

    with connect() as client:
        found = list(client.jobs.list(status=status, connection=connection, limit=limit))
    if json_:
        words.put_json(found)
        return
    words.table(
        ["ID", "STATUS", "MODEL", "SUFFIX", "COST USD", "CREATED"],
        [
            (
                job.id,
                f"{job.status} (parked)" if job.parked_reason else job.status,
                job.base_model,
                job.suffix,
                job.cost_usd if job.cost_usd is not None else job.expected_cost_usd,
                words.moment(job.created_at),
            )
            for job in found
        ],
        right=["COST USD"],
    )


@group.command()
def show(job: Job, *, json_: Json = False) -> None:
    """Show a job."""
    from app.cli.door import connect

    with connect() as client:
        found = client.jobs.get(job)
    if json_:
        words.put_json(found)
        return
    chosen = ", ".join(f"{name} {value}" for name, value in found.hyperparameters.items() if value is not None)
    words.facts(
        [
            ("id", found.id),
            ("status", found.status),
            ("at Azure", f"{found.remote_id} ({found.remote_status})" if found.remote_id else None),
            ("base model", found.base_model),
            ("made", "elsewhere, and adopted" if found.origin == "elsewhere" else None),
            ("training", found.training or "not known"),
            ("validation", found.validation),
            ("hyperparameters", chosen or "chosen by Azure"),
            ("model", found.fine_tuned_model),
            ("trained tokens", found.trained_tokens),
            ("expected", f"${found.expected_cost_usd}" if found.expected_cost_usd is not None else None),
            ("cost", f"${found.cost_usd}" if found.cost_usd is not None else None),
            ("created", words.moment(found.created_at)),
            ("finished", words.moment(found.finished_at)),
            ("error", (found.error or {}).get("message")),
            ("parked", found.parked_reason),
        ]
    )


@group.command()
def watch(job: Job, *, json_: Json = False) -> None:
    """Follow a job until it has ended or is paused: its curve, how far it is, what it has cost.

    Exit code 4 when it does not succeed.
    """
    from app.cli import reports
    from app.cli.door import connect
    from app.cli.waiting import trained

    with connect() as client:
        found = trained(client, client.jobs.get(job))
        alarms = client.jobs.progress(job).alarms
    if json_:
        words.put_json(found)
    for alarm in alarms:
        words.say(f"watch-dog: {alarm['message']}", style="yellow")
    reports.job_end(found)
    _exit_for(found)


@group.command()
def progress(job: Job, *, json_: Json = False) -> None:
    """How far a job is, when it will be done, what it has cost."""
    from app.cli import reports
    from app.cli.door import connect

    with connect() as client:
        found = client.jobs.progress(job)
    if json_:
        words.put_json(found)
    else:
        reports.progress(found)


@group.command()
def watchdog(
    job: Job,
    rules: Annotated[
        list[str] | None,
        typer.Argument(help="RULE=ACTION or RULE:MEASURE=VALUE=ACTION; none shows what is in force."),
    ] = None,
    *,
    json_: Json = False,
) -> None:
    """Show or change what the watch-dog of a job looks out for.

    RULES: validation_rising (evaluations, min_rise), not_a_number, diverging (given_back), reward_gap (gap,
    evaluations), spend (usd), token_growth (factor), stalled (minutes). ACTIONS: notify, pause, cancel.
    """
    from app.cli.door import connect

    policy = _policy(rules)
    with connect() as client:
        found = client.jobs.set_watch(job, policy) if policy is not None else client.jobs.get(job)
    if json_:
        words.put_json(found)
        return
    if found.watch is None:
        words.say("The default rules: it is told of trouble, and nothing is done.")
        return
    rows = []
    for rule in found.watch["rules"]:
        measures = {name: value for name, value in rule.items() if name not in {"rule", "action"}}
        rows.append((rule["rule"], ", ".join(f"{n}={v}" for n, v in measures.items()), rule["action"]))
    words.table(["RULE", "MEASURES", "ACTION"], rows)


@group.command()
def events(
    job: Job,
    *,
    remote: Annotated[bool, typer.Option("--remote", help="Azure's own job events instead of our log.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    limit: Limit = 50,
    json_: Json = False,
) -> None:
    """What happened to a job, oldest first."""
    from app.cli.door import connect
    from app.cli.events import put_event

    with connect() as client:
        if remote:
            for told in reversed(list(client.jobs.remote_events(job, limit=limit))):
                if json_:
                    words.put_json(told)
                else:
                    words.put(f"{words.moment(told.created_at)}  {told.level:<5}  {told.message}")
            return
        if follow:
            for event in client.events.follow(job=job):
                put_event(event, as_json=json_)
            return
        for event in reversed(list(client.jobs.events(job, limit=limit))):
            put_event(event, as_json=json_)


@group.command()
def checkpoints(job: Job, *, json_: Json = False) -> None:
    """All checkpoints of a training, oldest first: which is best and why, and which can be deployed now."""
    from app.cli.door import connect

    with connect() as client:
        found = client.jobs.checkpoints(job)
    if json_:
        words.put_json(found)
        return
    rows = [
        (
            f"{item.step}{' ← best' if item.best else ''}",
            item.metrics.get("full_valid_loss", item.metrics.get("valid_loss")),
            {True: "yes", False: "no", None: "perhaps"}[item.deployable],
            item.id,
            item.deployable_reason,
        )
        for item in found.data
    ]
    words.table(["STEP", "VALIDATION LOSS", "DEPLOYABLE", "ID", "WHY"], rows, right=["VALIDATION LOSS"])
    words.say(found.best_reason)


@group.command()
def metrics(
    job: Job,
    *,
    csv: Annotated[bool, typer.Option("--csv", help="Azure's results file, byte by byte.")] = False,
    json_: Json = False,
) -> None:
    """The measured series of a training."""
    import sys

    from app.cli.door import connect

    with connect() as client:
        if csv:
            sys.stdout.buffer.write(client.jobs.results_csv(job))
            return
        found = client.jobs.metrics(job)
    if json_:
        words.put_json(found)
        return
    names = list(found.series)
    rows = [
        (step, *(_number(found.series[name][index]) for name in names)) for index, step in enumerate(found.steps)
    ]
    words.table(["STEP", *names], rows, right=["STEP", *names])


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


@group.command()
def analysis(job: Job, *, json_: Json = False) -> None:
    """What the curve says, and what to do next."""
    from app.cli import reports
    from app.cli.door import connect

    with connect() as client:
        found = client.jobs.analysis(job)
    if json_:
        words.put_json(found)
    else:
        reports.analysis(found.analysis, to=words.data_console())


@group.command()
def analyse(
    files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="results.csv of a training.")],
    *,
    examples: Annotated[int | None, typer.Option(min=1, help="Training examples.")] = None,
    epochs: Epochs = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", "--batch", min=1, max=256)] = None,
    learning_rate: Rate = None,
    training: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="What was trained on: its copies are counted.")
    ] = None,
    validation: Annotated[
        Path | None,
        typer.Option(
            "--validation", "-v", exists=True, dir_okay=False, help="What was validated on: leaks are found."
        ),
    ] = None,
    json_: Json = False,
) -> None:
    """Judge results files on this machine: no service, no key. Reads every spelling Azure and OpenAI have used.

    Exit code 0 when each training converged, 1 when a verdict asks for something to be done, 2 when a file is no
    results file.
    """
    from app.cli.analysing import Known, analyse_files

    known = Known(examples, epochs, batch_size, learning_rate, training, validation)
    raise typer.Exit(analyse_files(files, known, as_json=json_))


@group.command()
def compare(
    jobs: Annotated[list[str], typer.Argument(help="Two to ten jobs.")],
    *,
    svg: Annotated[Path | None, typer.Option(help="Write their curves over one another to this file, too.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also what is the same in all of them.")] = False,
    json_: Json = False,
) -> None:
    """In what jobs differ: data, parameters, outcome, cost; and which has the best validation."""
    from app.cli import reports
    from app.cli.door import connect

    with connect() as client:
        found = client.jobs.compare(jobs)
        if svg is not None:
            svg.write_bytes(client.jobs.compare_svg(jobs))
            words.done(f"{svg}")
    if json_:
        words.put_json(found)
    else:
        reports.comparison(found, everything=everything, to=words.data_console())


@group.command()
def report(
    job: Annotated[str, typer.Argument(help="A job's id, or a results.csv on this machine.")],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="The page to write.")],
) -> None:
    """A page that stands alone: verdict, curve, evidence, next experiment, data, parameters, cost."""
    if Path(job).is_file():
        from app.cli.analysing import page_of

        output.write_text(page_of(Path(job)), encoding="utf-8")
    else:
        from app.cli.door import connect

        with connect() as client:
            output.write_bytes(client.jobs.report_html(job))
    words.done(f"{output}")


@group.command()
def chart(
    job: Job,
    *,
    svg: Annotated[Path | None, typer.Option(help="Write the picture as SVG to this file instead.")] = None,
) -> None:
    """The loss curve, drawn in the terminal."""
    from app.cli import reports
    from app.cli.door import connect

    with connect() as client:
        if svg is not None:
            svg.write_bytes(client.jobs.chart_svg(job))
            words.done(f"{svg}")
            return
        reports.curve(client.jobs.metrics(job), to=words.data_console())


@group.command()
def cancel(job: Job, *, json_: Json = False) -> None:
    """Ask for a job to end. Possible at any moment."""
    _act(job, "cancel", json_=json_)


@group.command()
def pause(job: Job, *, json_: Json = False) -> None:
    """Ask for a running training to pause."""
    _act(job, "pause", json_=json_)


@group.command()
def resume(
    job: Job,
    *,
    accept: Annotated[
        float | None,
        typer.Option(
            "--accept-further-cost", min=0.01, help="How much more it may cost, in USD; it is paused again there."
        ),
    ] = None,
    json_: Json = False,
) -> None:
    """Ask for a paused training to go on. Spends money."""
    from app.cli.door import connect
    from app.jobs.schemas import JobResume

    wanted = JobResume(accept_further_cost_usd=Decimal(str(accept))) if accept is not None else None
    with connect() as client:
        found = client.jobs.resume(job, wanted)
    if json_:
        words.put_json(found)
    else:
        words.done(f"resume asked for; {found.id} is {found.status}.")


@group.command()
def retry(job: Job, *, json_: Json = False) -> None:
    """Look again at a parked job. Nothing is sent to Azure twice."""
    _act(job, "retry", json_=json_)


def _act(job: str, verb: Literal["cancel", "pause", "retry"], *, json_: bool) -> None:
    from app.cli.door import connect

    with connect() as client:
        found = client.jobs.act(job, verb)
    if json_:
        words.put_json(found)
    else:
        words.done(f"{verb} asked for; {found.id} is {found.status}.")
