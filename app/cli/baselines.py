"""`kitae baselines …` and `kitae search-indexes …`: what a base model reaches before anything is trained."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import words
from app.cli.exits import Exit, Told
from app.cli.options import Json, Limit, Wait

if TYPE_CHECKING:
    from app.baselines.schemas import BaselineEstimate, BaselineRead, BaselineReport, IntervalRead

group = typer.Typer(
    no_args_is_help=True, help="What the base model reaches without training: look before you tune."
)
indexes = typer.Typer(no_args_is_help=True, help="Indexes of Azure AI Search that a baseline may search.")

Baseline = Annotated[str, typer.Argument(help="A baseline, by id.")]
Index = Annotated[str, typer.Argument(help="A search index, by name or id.")]
KEY_VARIABLE = "AZURE_SEARCH_API_KEY"
"""A key on the command line would stay in the shell's history."""


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="baselines")
    app.add_typer(indexes, name="search-indexes")


# ── baselines ───────────────────────────────────────────────────────────────


@group.command()
def run(  # noqa: PLR0913  one option each
    validation: Annotated[
        str, typer.Argument(help="Dataset version whose rows are the cases: travel-validation@1.")
    ],
    *,
    deployment: Annotated[str, typer.Option("--deployment", "-d", help="Of a base model, by name or id.")],
    training: Annotated[
        str | None, typer.Option("--training", "-t", help="Dataset version from which examples are shown.")
    ] = None,
    prompt: Annotated[
        list[Path] | None,
        typer.Option(exists=True, dir_okay=False, help="File with a better system message; may be repeated."),
    ] = None,
    shots: Annotated[
        list[int] | None, typer.Option(min=1, max=20, help="So many examples before each case; may be repeated.")
    ] = None,
    search_index: Annotated[
        list[str] | None, typer.Option(help="Search passages there for each case; may be repeated.")
    ] = None,
    passages: Annotated[int, typer.Option(min=1, max=20, help="Of each search.")] = 3,
    grader: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="JSON file with a grader in OpenAI's schema."),
    ] = None,
    cases: Annotated[
        int | None, typer.Option(min=1, max=200, help="So many are drawn of a larger version.")
    ] = None,
    good_enough: Annotated[float | None, typer.Option(help="Mean score from which no tuning is needed.")] = None,
    calls_per_month: Annotated[int | None, typer.Option(min=1, help="To be held against the break-even.")] = None,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    connection: Annotated[
        str | None, typer.Option("--connection", "-c", help="Where the deployment is, if it was not made here.")
    ] = None,
    base_model: Annotated[
        str | None, typer.Option(help="With --connection: the base model it runs, for the price.")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Most tokens of one answer.")] = None,
    temperature: Annotated[float | None, typer.Option(min=0, max=2)] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, max=16, help="Requests at the same time.")] = None,
    max_cost: Annotated[str | None, typer.Option(help="Refuse it if it may cost more, in USD.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what it may cost and ask nothing.")] = False,
    wait: Wait = True,
    json_: Json = False,
) -> None:
    """Ask every case in every way and grade the answers; exit code 4 when it does not succeed.

    Ways: the cases as they are, with each --prompt, with each number of --shots (3 when only --training is given),
    with each --search-index.
    """
    from app.baselines.schemas import BaselineCreate
    from app.cli.door import connect
    from app.cli.waiting import judged

    given = {
        "training": training,
        "grader": _json(grader) if grader is not None else None,
        "cases_max": cases,
        "good_enough": good_enough,
        "calls_per_month": calls_per_month,
        "seed": seed,
        "connection": connection,
        "base_model": base_model,
        "max_tokens": max_tokens,
        "temperature": temperature,
        "concurrency": concurrency,
        "max_cost_usd": max_cost,
    }
    counts = shots or ([3] if training is not None else [])
    ways = _ways(prompt or [], counts, search_index or [], passages)
    body: dict[str, Any] = {"validation": validation, "deployment": deployment, "ways": ways}
    body |= {name: value for name, value in given.items() if value is not None}
    wanted = BaselineCreate.model_validate(body)
    with connect() as client:
        estimate = client.baselines.estimate(wanted)
        _tell_estimate(estimate)
        if dry_run:
            if json_:
                words.put_json(estimate)
            return
        made = client.baselines.create(wanted)
        if wait:
            made = judged(client, made)
    if json_:
        words.put_json(made)
    else:
        words.put(made.id)
        if made.report is not None:
            _tell_report(made.report)
    if wait and made.status != "succeeded":
        _tell_trouble(made)


def _ways(prompts: list[Path], shots: list[int], searched: list[str], passages: int) -> list[dict[str, Any]]:
    return [
        {"type": "zero_shot"},
        *({"type": "prompt", "system": _text(file), "name": file.stem[:40]} for file in prompts),
        *({"type": "few_shot", "examples": count} for count in shots),
        *({"type": "retrieval", "search_index": name, "passages": passages} for name in searched),
    ]


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise Told(f"{file} is not UTF-8: {error}", hint="Save it as UTF-8 text.", code=Exit.USAGE) from error


def _json(file: Path) -> Any:
    try:
        return json.loads(_text(file))
    except ValueError as error:
        raise Told(f"{file} is not JSON: {error}", code=Exit.USAGE) from error


def _tell_estimate(estimate: "BaselineEstimate") -> None:
    money = (
        f"about ${estimate.expected_usd:.4f}, at most ${estimate.high_usd:.4f}"
        if estimate.expected_usd is not None and estimate.high_usd is not None
        else "price not known"
    )
    words.note(f"{estimate.cases} cases in {len(estimate.ways)} ways, {estimate.requests} requests: {money}.")
    for warning in estimate.warnings:
        words.warn(warning)


def _tell_report(report: "BaselineReport") -> None:
    words.table(
        ["WAY", "SCORE", "95 %", "PASSED", "BEHIND", "TOKENS", "SECONDS", "USD", "PAYS FROM"],
        [
            (
                way.name,
                f"{way.score.mean:.2f}" if way.score else None,
                _between(way.score),
                f"{way.pass_rate:.0%}" if way.pass_rate is not None else None,
                f"{way.behind_best.mean:.2f} ({_between(way.behind_best)})" if way.behind_best else None,
                f"{way.prompt_tokens_mean:.0f} + {way.completion_tokens_mean:.0f}"
                if way.prompt_tokens_mean is not None and way.completion_tokens_mean is not None
                else None,
                f"{way.latency_seconds_mean:.2f}" if way.latency_seconds_mean is not None else None,
                f"{way.cost_usd:.4f}" if way.cost_usd is not None else None,
                f"{way.break_even_calls_per_month:,}/month" if way.break_even_calls_per_month else None,
            )
            for way in report.ways
        ],
        right=["SCORE", "PASSED", "SECONDS", "USD"],
    )
    words.put(report.headline)
    for sentence in report.advice:
        words.put(f"→ {sentence}")


def _between(interval: "IntervalRead | None") -> str | None:
    return f"{interval.low:.2f} to {interval.high:.2f}" if interval else None


def _tell_trouble(made: "BaselineRead") -> None:
    why = (made.error or made.last_error or {}).get("message") or made.parked_reason or ""
    words.error(f"The baseline is {'parked' if made.parked_reason else made.status}" + (f": {why}" if why else ""))
    raise typer.Exit(Exit.BAD_OUTCOME)


@group.command("list")
def list_baselines(*, limit: Limit = 20, json_: Json = False) -> None:
    """List baselines, newest first."""
    from app.cli.door import connect

    with connect() as client:
        found = list(client.baselines.list(limit=limit))
    if json_:
        words.put_json(found)
        return
    words.table(
        ["STATUS", "MODEL", "CASES", "WAYS", "ANSWERED", "USD", "VERDICT", "ID"],
        [
            (
                one.status,
                one.base_model,
                one.cases,
                len(one.ways),
                f"{one.requests_answered}/{one.requests}",
                one.cost_usd if one.cost_usd is not None else one.spent_usd,
                one.report.verdict if one.report else None,
                one.id,
            )
            for one in found
        ],
        right=["CASES", "WAYS", "ANSWERED", "USD"],
    )


@group.command()
def show(baseline: Baseline, *, json_: Json = False) -> None:
    """Show how far a baseline is, what each way reached, and what that means."""
    from app.cli.door import connect

    with connect() as client:
        found = client.baselines.get(baseline)
    if json_:
        words.put_json(found)
        return
    words.facts(
        [
            ("id", found.id),
            ("status", found.status),
            ("asked", f"{found.deployment} ({found.base_model})"),
            ("cases", f"{found.cases} of {found.validation or 'the request'}"),
            ("grader", f"{found.grader.get('name')} ({found.grader.get('type')})"),
            ("good enough", found.good_enough),
            ("answered", f"{found.requests_answered} of {found.requests}, {found.requests_failed} by an error"),
            ("graded", found.graded),
            ("reserved", f"${found.reserved_usd}"),
            ("spent", f"${found.spent_usd}" + (f", and ${found.lost_usd} lost" if found.lost_usd else "")),
            ("parked", found.parked_reason),
            ("error", (found.error or found.last_error or {}).get("message")),
        ]
    )
    if found.report is not None:
        _tell_report(found.report)


@group.command()
def answers(
    baseline: Baseline,
    *,
    way: Annotated[str | None, typer.Option(help="Only of this way, by its name.")] = None,
    limit: Limit = 50,
    json_: Json = False,
) -> None:
    """What was answered, and its score."""
    from app.cli.door import connect

    with connect() as client:
        found = list(client.baselines.answers(baseline, way=way, limit=limit))
    if json_:
        words.put_json(found)
        return
    words.table(
        ["CASE", "WAY", "SCORE", "QUESTION", "ANSWER", "REFERENCE"],
        [
            (
                one.case,
                one.way,
                f"{one.score:.2f}" if one.score is not None else None,
                str(one.messages[-1].get("content", ""))[:120],
                (one.text or (one.error or {}).get("message") or "")[:120],
                (one.reference or "")[:120],
            )
            for one in found
        ],
        right=["CASE", "SCORE"],
    )


@group.command()
def cancel(baseline: Baseline) -> None:
    """Ask nothing more; what was answered stays readable."""
    from app.cli.door import connect

    with connect() as client:
        found = client.baselines.cancel(baseline)
    words.done(f"{found.id} asks nothing more.")


@group.command()
def retry(baseline: Baseline) -> None:
    """Look again at a parked baseline."""
    from app.cli.door import connect

    with connect() as client:
        found = client.baselines.retry(baseline)
    words.done(f"{found.id} is looked after again.")


# ── search indexes ──────────────────────────────────────────────────────────


@indexes.command("create")
def create_index(
    name: str,
    endpoint: Annotated[str, typer.Argument(help="https://NAME.search.windows.net")],
    index: Annotated[str, typer.Argument(help="Name of the index there.")],
    *,
    auth: Annotated[str, typer.Option(help=f"entra, or api_key with {KEY_VARIABLE} set.")] = "entra",
    content_field: Annotated[
        str | None, typer.Option(help="The field that holds the text; content if left out.")
    ] = None,
    title_field: Annotated[str | None, typer.Option(help="A field with a title.")] = None,
    semantic: Annotated[
        str | None, typer.Option(help="A semantic configuration; left out: keyword search.")
    ] = None,
    json_: Json = False,
) -> None:
    """Keep an index. Nothing is called yet; `check` does that."""
    from app.cli.door import connect
    from app.retrieval.schemas import SearchIndexCreate

    given: dict[str, Any] = {
        "content_field": content_field,
        "title_field": title_field,
        "semantic_configuration": semantic,
        "api_key": os.environ.get(KEY_VARIABLE) if auth == "api_key" else None,
    }
    body = {"name": name, "endpoint": endpoint, "index": index, "auth": auth}
    body |= {field: value for field, value in given.items() if value is not None}
    with connect() as client:
        made = client.search_indexes.create(SearchIndexCreate.model_validate(body))
    if json_:
        words.put_json(made)
    else:
        words.done(f"{made.name} is kept ({made.id}). Try it: kitae search-indexes check {made.name}")


@indexes.command("list")
def list_indexes(*, json_: Json = False) -> None:
    """List search indexes."""
    from app.cli.door import connect

    with connect() as client:
        found = list(client.search_indexes.list())
    if json_:
        words.put_json(found)
        return
    words.table(
        ["NAME", "ENDPOINT", "INDEX", "AUTH", "ID"],
        [(one.name, one.endpoint, one.index, one.auth, one.id) for one in found],
    )


@indexes.command("check")
def check_index(
    index: Index,
    *,
    text: Annotated[str, typer.Option(help="What to look for; left out: any passage.")] = "",
    passages: Annotated[int, typer.Option(min=1, max=20)] = 3,
    json_: Json = False,
) -> None:
    """Search once; exit code 4 when that does not work."""
    from app.cli.door import connect
    from app.retrieval.schemas import SearchRequest

    with connect() as client:
        found = client.search_indexes.check(index, SearchRequest(text=text, passages=passages))
    if json_:
        words.put_json(found)
    elif found.ok:
        words.table(
            ["SCORE", "TITLE", "TEXT"],
            [
                (f"{one.score:.2f}" if one.score is not None else None, one.title, one.text[:200])
                for one in found.passages
            ],
            right=["SCORE"],
        )
    if not found.ok:
        words.error(found.detail, hint=found.hint)
        raise typer.Exit(Exit.BAD_OUTCOME)


@indexes.command("archive")
def archive_index(index: Index) -> None:
    """Put a search index away."""
    from app.cli.door import connect

    with connect() as client:
        client.search_indexes.archive(index)
    words.done(f"{index} is archived.")
