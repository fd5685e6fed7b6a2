"""Checks, plans, analyses and curves as a person reads them. Words only; it asks nobody for anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from app.cli import words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from app.costs.schemas import CostEstimate, TrainingOffer
    from app.datasets.schemas import FindingRead, VersionRead
    from app.jobs.analysis import Results
    from app.jobs.schemas import JobComparison, JobPlan, JobProgress, JobRead, Metrics, PlanChoice

MARKS: Final = {"error": ("✗", "red"), "warning": ("!", "yellow"), "note": ("·", "dim"), "ok": ("✓", "green")}
INDENT: Final = "    "
SIDE_BY_SIDE_COLUMNS: Final = 40
"""Narrower columns of prose are no longer easy to read."""


def findings(
    found: Sequence[FindingRead], *, examples: int = 2, to: Console | None = None, unit: str = "record"
) -> None:
    """Each with its lines, what it is, and what to do. `to` the data's console where this is what was asked for.

    Args:
        unit: what `records` count, in a file that was converted.
    """
    from rich.text import Text

    console = to or words.word_console()
    for item in found:
        mark, style = MARKS[item.severity]
        where = words.lines_in_words(item.lines, more=item.more_ranges)
        if item.records:
            where += f" ({words.lines_in_words(item.records, more=item.more_ranges, word=unit)} of the file)"
        title = Text.assemble((f"{mark} ", style), (item.code, f"bold {style}"), f"  {where}")
        title.rstrip()
        console.print(title, soft_wrap=True)
        words.say(f"{INDENT}{item.message}", to=console)
        for example in item.examples[:examples]:
            words.say(f"{INDENT}  {example}", style="dim", to=console)
        if item.remedy:
            words.say(f"{INDENT}→ {item.remedy}", to=console)


def operation(done: Mapping[str, Any]) -> str:
    """What one operation of a change did, in a line."""
    counts = ", ".join(f"{count:,} {name}" for name, count in done["did"].items())
    text = f"{done['type']}: {done['rows_in']:,} rows in, {done['rows_out']:,} out, {done['changed']:,} changed"
    return f"{text} ({counts})" if counts else text


def verdict(version: VersionRead, *, subject: str) -> None:
    """One line: what became of the check."""
    if version.status == "rejected":
        words.error(f"{subject} was rejected: Azure would refuse it.")
        return
    size = words.megabytes(version.bytes)
    words.done(f"{subject} is ready: {version.examples or 0:,} examples, {version.tokens or 0:,} tokens, {size}")


def token_facts(tokens: Mapping[str, Any]) -> list[tuple[str, object]]:
    """How many tokens, and how they are spread."""
    by_role = ", ".join(f"{role} {count:,}" for role, count in (tokens.get("by_role") or {}).items())
    spread = (
        f"{tokens['per_example_min']:,} shortest · {tokens['per_example_p50']:,} median · "
        f"{tokens['per_example_p95']:,} 95th percentile · {tokens['per_example_max']:,} longest"
    )
    return [
        ("tokens", f"{tokens['total']:,} ({tokens['trained']:,} of them answers that are learned)"),
        ("an example", spread),
        ("by role", by_role),
        ("counted with", tokens["tokenizer"]),
        ("estimated", "; ".join(tokens.get("estimated") or ())),
    ]


def plan(planned: JobPlan, *, to: Console | None = None) -> None:
    """Every setting with its reason, every check, then the cost."""
    console = to or words.word_console()
    if planned.choices:
        choices(planned.choices, to=console)
    for item in planned.checks:
        mark, style = MARKS[item.verdict]
        words.marked(mark, style, item.detail, to=console)
        if item.remedy and item.verdict != "ok":
            words.say(f"{INDENT}→ {item.remedy}", to=console)
    if planned.estimate is not None:
        words.say(f"  cost: {cost(planned.estimate)}", to=console)
        words.say(
            "  `kitae datasets estimate` compares all models, hosting and break-even.", style="dim", to=console
        )


_BY: Final = {"caller": "you", "goal": "the goal", "azure": "Azure"}


def choices(made: Sequence[PlanChoice], *, to: Console) -> None:
    """A table: each setting, its value, who chose it and why."""
    words.table(
        ["SETTING", "VALUE", "BY", "WHY"],
        [
            (
                choice.setting,
                "auto" if choice.value is None and choice.by == "azure" else choice.value,
                _BY[choice.by],
                choice.reason,
            )
            for choice in made
        ],
        to=to,
    )


def cost(estimate: CostEstimate) -> str:
    """A range of money with where it comes from."""
    if estimate.expected_usd is None:
        return "not known: there is no price for this training in the catalogue"
    if estimate.price_usd_per_hour is not None:
        return (
            f"${estimate.expected_usd:,.2f} expected (${estimate.low_usd:,.2f} to ${estimate.high_usd:,.2f}, where "
            f"Azure pauses it) at ${estimate.price_usd_per_hour:.2f} an hour, price of "
            f"{estimate.price_valid_from}: {estimate.price_source}"
        )
    spread = (
        "" if estimate.low_usd == estimate.high_usd else f" (${estimate.low_usd:.4f} to ${estimate.high_usd:.4f})"
    )
    per = f"${estimate.price_usd_per_million_tokens:.2f} per million tokens"
    return (
        f"${estimate.expected_usd:.4f}{spread} expected; {estimate.tokens:,} tokens × {estimate.epochs_expected} "
        f"epochs at {per}, price of {estimate.price_valid_from}: {estimate.price_source}"
    )


def cost_in_a_line(offer: TrainingOffer) -> str | None:
    """What a training may cost, with the price's day; None where no price is known."""
    if offer.cost is None or offer.price is None:
        return None
    low, expected, high = (
        f"${amount:,.2f}" if amount >= 1 else f"${amount:.4f}"
        for amount in (offer.cost.low_usd, offer.cost.expected_usd, offer.cost.high_usd)
    )
    return (
        f"about {expected} ({low} to {high}) on {offer.model}, {offer.training_type}; {offer.price.confidence} "
        f"price of {offer.price.valid_from}"
    )


def analysis(told: Mapping[str, Any], *, to: Console | None = None) -> None:
    """The verdict, what it rests on, what to do next."""
    from rich.text import Text

    console = to or words.word_console()
    style = {"converged": "green", "too_short": "dim"}.get(told["verdict"], "yellow")
    word = told["verdict"].replace("_", "-")
    headline = Text.assemble((word, f"bold {style}"), ": ", words.clean(told["headline"]))
    console.print(headline, soft_wrap=True)
    for item in told["evidence"]:
        words.say(f"  · {item['text']}", to=console)
    if told["best_reason"]:
        words.say(f"  ▲ {told['best_reason']}", to=console)
    for item in told["advice"]:
        words.say(f"  → {item['action']} {item['why']}".rstrip(), to=console)
    if confidence := told.get("confidence"):
        words.say(f"  confidence: {confidence['level']}. {confidence['why']}", style="dim", to=console)
    if experiment := told.get("next_experiment"):
        words.say(f"  next: {experiment_in_words(experiment)}", to=console)


def comparison(found: JobComparison, *, everything: bool = False, to: Console) -> None:
    """What differs, group by group, a column a job; then which is best, and what must not be concluded."""
    groups = dict.fromkeys(row.group for row in found.table)
    for group in groups:
        rows = [row for row in found.table if row.group == group and (row.differs or everything)]
        if rows:
            words.heading(group, to=to)
            words.table(
                ["", *(job.name for job in found.jobs)],
                [(row.name.replace("_", " "), *(_told(value) for value in row.values)) for row in rows],
                right=[job.name for job in found.jobs],
            )
    words.say(to=to)
    words.say(f"▲ {found.why}", to=to)
    for caution in found.cautions:
        words.warn(caution, to=to)


def _told(value: str | float | None) -> str:
    if value is None:
        return "–"
    if isinstance(value, str):
        return f"{value[:12]}…" if len(value) == 64 else value  # a digest
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def experiment_in_words(experiment: Mapping[str, Any]) -> str:
    """The one change to try next, with the figures or operations that make it."""
    parts = [words.clean(experiment["action"])]
    for setting, change in experiment["changes"].items():
        was = "" if change["from"] is None else f"{change['from']:g} → "
        parts.append(f"({setting} {was}{change['to']:g})")
    if experiment["dataset"]:
        kinds = ", ".join(operation["type"] for operation in experiment["dataset"]["operations"])
        parts.append(f"(`kitae datasets transform`: {kinds})")
    return " ".join(parts)


def curve(metrics: Metrics, *, to: Console | None = None, width: int | None = None, height: int = 14) -> None:
    """The loss, drawn in the terminal."""
    from app.jobs.analysis import results_from_events

    console = to or words.word_console()
    rows = [
        {"step": step, **{name: values[index] for name, values in metrics.series.items()}}
        for index, step in enumerate(metrics.steps)
    ]
    drawn(results_from_events(rows), to=console, width=width, height=height)


def drawn(results: Results, *, to: Console, width: int | None = None, height: int = 14) -> None:
    """A curve, no wider than there is room for."""
    from app.jobs.analysis import chart_terminal

    console = to
    colour = console.is_terminal and not console.no_color
    columns = min(width or (console.width if console.is_terminal else 72), 100)
    console.file.write(chart_terminal(results, width=columns, height=height, colour=colour) + "\n")


def first(metrics: Metrics, name: str) -> float | None:
    return next((value for value in metrics.series.get(name, []) if value is not None), None)


def far(at: JobProgress) -> str:
    """How far a job is, in a line."""
    told = [at.status]
    if at.step:
        told.append(f"step {at.step:,}" + (f" of {at.total_steps:,}" if at.total_steps else ""))
    if at.epoch is not None:
        told.append(f"epoch {at.epoch:g}")
    if at.queued_seconds is not None:
        usual = f", usually {words.duration(at.usual_queue.median_seconds)}" if at.usual_queue else ""
        told.append(f"waiting for {words.duration(at.queued_seconds)}{usual}")
    if at.finish_at is not None:
        told.append(f"done about {words.moment(at.finish_at)} ({_whose(at)})")
    if at.spent_usd is not None:
        told.append(f"${at.spent_usd:.4f} so far")
    told += [f"! {alarm['message']}" for alarm in at.alarms]
    return " · ".join(told)


def _whose(at: JobProgress) -> str:
    return "Azure's word" if at.finish_from == "azure" else "by its steps"


def progress(at: JobProgress) -> None:
    """How far a job is, a line for each fact."""
    step = f"{at.step:,}" + (f" of {at.total_steps:,} ({at.total_from})" if at.total_steps else "")
    words.facts(
        [
            ("status", at.status),
            ("step", step),
            ("epoch", at.epoch),
            ("seconds a step", f"{at.seconds_per_step:.2f}" if at.seconds_per_step is not None else None),
            ("done about", f"{words.moment(at.finish_at)} ({_whose(at)})" if at.finish_at else None),
            ("by its steps", words.moment(at.finish_by_steps_at) if at.finish_from == "azure" else None),
            ("in the queue for", words.duration(at.queued_seconds) if at.queued_seconds is not None else None),
            (
                "usually",
                f"{words.duration(at.usual_queue.median_seconds)}, at most "
                f"{words.duration(at.usual_queue.longest_seconds)}, in {at.usual_queue.jobs} jobs"
                if at.usual_queue
                else None,
            ),
            ("cost so far", f"${at.spent_usd:.4f}" if at.spent_usd is not None else None),
            ("reckoned from", at.spent_basis),
            ("what is left", f"about ${at.further_usd:.4f}" if at.further_usd is not None else None),
            *(("watch-dog", alarm["message"]) for alarm in at.alarms),
        ]
    )
    if at.paused_because is not None:
        decision(at.paused_because)


def decision(because: Mapping[str, Any]) -> None:
    """Why a training is paused, and what can be decided."""
    words.say(f"paused by {because['by']}: {because['message']}", style="yellow")
    for choice in because.get("choices", ()):
        further = choice.get("may_cost_further_usd")
        about = f" About ${further} more." if further else ""
        words.say(f"  → {choice['action']}: {choice['detail']}{about}")


def job_end(job: JobRead) -> None:
    """What became of a job."""
    if job.paused_because is not None:
        words.error(f"{job.id} is {job.status}")
        decision(job.paused_because)
        return
    if job.status == "succeeded":
        words.done(f"{job.id} succeeded: {job.fine_tuned_model}")
        return
    reason = (job.error or {}).get("message") or job.parked_reason or ""
    words.error(f"{job.id} is {job.status}" + (f": {reason}" if reason else ""))
    hint = (job.error or {}).get("hint") or (job.last_error or {}).get("hint")
    if hint:
        words.say(f"hint: {hint}", style="cyan")


def side_by_side(
    names: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]], *, to: Console | None = None
) -> None:
    """Each question with its answers in columns; below one another where there is no room for columns."""
    from rich.table import Table
    from rich.text import Text

    console = to or words.word_console()
    wide = console.is_terminal and console.width >= SIDE_BY_SIDE_COLUMNS * len(names)
    for question, answers in rows:
        console.print()
        console.print(Text.assemble(("? ", "bold"), (words.clean(question), "bold")), soft_wrap=not wide)
        if wide:
            grid = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), expand=True, header_style="dim")
            for name in names:
                grid.add_column(Text(words.clean(name)), ratio=1, overflow="fold")
            grid.add_row(*[Text(words.clean(answer)) for answer in answers])
            console.print(grid)
            continue
        for name, answer in zip(names, answers, strict=True):
            console.print(Text.assemble((f"  {words.clean(name)}: ", "dim"), words.clean(answer)), soft_wrap=True)
