"""`kitae generate …`, and what a dataset lacks: `kitae datasets coverage`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from app.cli import datasets, words
from app.cli.exits import Exit, Told
from app.cli.options import Json, Limit, Wait

if TYPE_CHECKING:
    from app.generation.schemas import GenerationEstimate, GenerationRead

group = typer.Typer(no_args_is_help=True, help="Let a deployed model make training rows; each is checked.")

FACTS_SHOWN: Final = 20
Dataset = Annotated[str, typer.Argument(help="The dataset that gets a new version; made if there is none.")]
Generation = Annotated[str, typer.Argument(help="A generation, by id.")]
File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True)]
Deployment = Annotated[str, typer.Option("--deployment", "-d", help="Who writes: a deployment, by name or id.")]
Connection = Annotated[
    str | None, typer.Option("--connection", "-c", help="Where the deployment is, if it was not made here.")
]
Generator = Annotated[
    str | None, typer.Option("--generator", help="With --connection: the base model it runs, for the price.")
]
System = Annotated[str | None, typer.Option(help="System message of every row.")]
MaxCost = Annotated[str | None, typer.Option(help="Refuse it if it may cost more, in USD.")]
MaxTokens = Annotated[int | None, typer.Option(min=50, help="Most tokens of one answer.")]
Concurrency = Annotated[int | None, typer.Option(min=1, max=16, help="Requests under way at the same time.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what it may cost and ask nothing.")]


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="generate")
    datasets.group.command()(coverage)


# ── making ──────────────────────────────────────────────────────────────────


@group.command()
def paraphrases(  # noqa: PLR0913  one option each
    dataset: Dataset,
    file: File,
    *,
    deployment: Deployment,
    phrasings: Annotated[int, typer.Option(min=1, max=100, help="To be kept for each pair.")] = 10,
    style: Annotated[
        list[str] | None,
        typer.Option(help="A shipped style, or name=description for one of your own; left out: all shipped ones."),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(help="A thing that questions name, with other spellings: '香坂 義孝=こうさか よしたか'."),
    ] = None,
    without_pairs: Annotated[bool, typer.Option("--without-pairs", help="Leave the pairs themselves out.")] = False,
    connection: Connection = None,
    generator: Generator = None,
    system: System = None,
    max_cost: MaxCost = None,
    max_tokens: MaxTokens = None,
    concurrency: Concurrency = None,
    dry_run: DryRun = False,
    wait: Wait = True,
    json_: Json = False,
) -> None:
    """Other ways of asking what the pairs of a file ask; exit code 4 when nothing could be kept.

    The file is JSON Lines, each line {"question": …, "answer": …} or a chat example.
    """
    source: dict[str, Any] = {
        "type": "paraphrases",
        "pairs": _pairs(file),
        "phrasings": phrasings,
        "names": [_name(text) for text in name or []],
        "include_pairs": not without_pairs,
    }
    if style:
        source["styles"] = [_style(text) for text in style]
    options = _options(deployment, connection, generator, max_cost, max_tokens, concurrency)
    _generate(dataset, {**options, "source": _with(source, system=system)}, dry_run=dry_run, wait=wait, json_=json_)


@group.command("tool-use")
def tool_use(  # noqa: PLR0913  one option each
    dataset: Dataset,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="OpenAPI 3, as JSON.")],
    *,
    deployment: Deployment,
    conversations: Annotated[int, typer.Option(min=1, max=100, help="To be kept for each operation.")] = 10,
    operation: Annotated[list[str] | None, typer.Option(help="Only this operation; may be repeated.")] = None,
    language: Annotated[str, typer.Option(help="In which people ask, by its English name.")] = "English",
    connection: Connection = None,
    generator: Generator = None,
    system: System = None,
    max_cost: MaxCost = None,
    max_tokens: MaxTokens = None,
    concurrency: Concurrency = None,
    dry_run: DryRun = False,
    wait: Wait = True,
    json_: Json = False,
) -> None:
    """Conversations that call the operations of an API; exit code 4 when nothing could be kept."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise Told(
            f"{file} is not JSON: {error}", hint="Convert a YAML document first.", code=Exit.USAGE
        ) from error
    source = _with(
        {"type": "tool_use", "openapi": document, "conversations": conversations, "language": language},
        operations=operation,
        system=system,
    )
    options = _options(deployment, connection, generator, max_cost, max_tokens, concurrency)
    _generate(dataset, {**options, "source": source}, dry_run=dry_run, wait=wait, json_=json_)


@group.command()
def documents(  # noqa: PLR0913  one option each
    dataset: Dataset,
    files: Annotated[
        list[Path],
        typer.Argument(exists=True, dir_okay=False, readable=True, help="Plain text or Markdown, UTF-8."),
    ],
    *,
    deployment: Deployment,
    questions: Annotated[int, typer.Option(min=1, max=100, help="To be kept for each chunk.")] = 5,
    chunk_tokens: Annotated[int, typer.Option(min=50, max=8000, help="Most tokens of a chunk.")] = 600,
    overlap_tokens: Annotated[int, typer.Option(min=0, max=1000, help="Tokens that neighbours share.")] = 60,
    connection: Connection = None,
    generator: Generator = None,
    system: System = None,
    max_cost: MaxCost = None,
    max_tokens: MaxTokens = None,
    concurrency: Concurrency = None,
    dry_run: DryRun = False,
    wait: Wait = True,
    json_: Json = False,
) -> None:
    """Questions and answers from documents; exit code 4 when nothing could be kept."""
    source = _with(
        {
            "type": "documents",
            "documents": [{"name": file.name, "text": _text(file)} for file in files],
            "questions": questions,
            "chunk_tokens": chunk_tokens,
            "overlap_tokens": overlap_tokens,
        },
        system=system,
    )
    options = _options(deployment, connection, generator, max_cost, max_tokens, concurrency)
    _generate(dataset, {**options, "source": source}, dry_run=dry_run, wait=wait, json_=json_)


def _with(source: dict[str, Any], **more: object) -> dict[str, Any]:
    """The members that were given."""
    return source | {key: value for key, value in more.items() if value is not None}


def _options(
    deployment: str,
    connection: str | None,
    generator: str | None,
    max_cost: str | None,
    max_tokens: int | None,
    concurrency: int | None,
) -> dict[str, Any]:
    return _with(
        {"deployment": deployment},
        connection=connection,
        generator=generator,
        max_cost_usd=max_cost,
        max_tokens=max_tokens,
        concurrency=concurrency,
    )


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise Told(f"{file} is not UTF-8: {error}", hint="Save it as UTF-8 text.", code=Exit.USAGE) from error


def _pairs(file: Path) -> list[dict[str, str]]:
    from app.generation.material import question_and_answer

    found = []
    for number, line in enumerate(_text(file).splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise Told(f"{file}, line {number}: it is not JSON: {error}", code=Exit.USAGE) from error
        told = question_and_answer(line.encode())
        if isinstance(row, dict) and isinstance(row.get("question"), str) and isinstance(row.get("answer"), str):
            found.append({"question": row["question"], "answer": row["answer"]})
        elif told is not None:
            found.append({"question": told[0], "answer": told[1]})
        else:
            raise Told(
                f"{file}, line {number}: there is no question with an answer in it.",
                hint='Write {"question": "…", "answer": "…"} on each line.',
                code=Exit.USAGE,
            )
    return found


def _name(text: str) -> dict[str, Any]:
    full, _, also = text.partition("=")
    return {"name": full.strip(), "also": [one.strip() for one in also.split("|") if one.strip()]}


def _style(text: str) -> str | dict[str, Any]:
    name, found, description = text.partition("=")
    return {"name": name, "description": description} if found else name


def _generate(dataset: str, body: dict[str, Any], *, dry_run: bool, wait: bool, json_: bool) -> None:
    from app.cli.door import connect
    from app.cli.waiting import generated
    from app.cli.work import ensure_dataset
    from app.generation.schemas import GenerationCreate

    wanted = GenerationCreate.model_validate(body)
    with connect() as client:
        ensure_dataset(client, dataset)
        estimate = client.generations.estimate(dataset, wanted)
        _tell_estimate(estimate)
        if dry_run:
            if json_:
                words.put_json(estimate)
            return
        made = client.generations.create(dataset, wanted)
        if wait:
            made = generated(client, made)
    if json_:
        words.put_json(made)
    else:
        words.put(made.id)
    if wait:
        _tell_end(made, dataset)


def _tell_estimate(estimate: "GenerationEstimate") -> None:
    money = (
        f"about ${estimate.expected_usd:.4f}, at most ${estimate.high_usd:.4f}"
        if estimate.expected_usd is not None and estimate.high_usd is not None
        else "price not known"
    )
    asked = f"{words.counted(estimate.subjects, 'subject')}, {words.counted(estimate.requests, 'request')}"
    words.note(f"{asked}: {money}.")
    for warning in estimate.warnings:
        words.warn(warning)


def _tell_end(made: "GenerationRead", dataset: str) -> None:
    for code, count in made.rows_filtered.items():
        words.note(f"left out: {count} × {code}")
    for few in made.short_of[:FACTS_SHOWN]:
        words.warn(f"{few.kept} of {few.wanted} for “{few.subject}”.")
    cost = f" for ${made.cost_usd:.4f}" if made.cost_usd is not None else ""
    if made.status == "succeeded":
        words.done(f"{words.counted(made.rows_kept, 'row')}{cost}: a new version of {dataset}.")
        return
    why = (made.error or made.last_error or {}).get("message") or made.parked_reason or ""
    words.error(
        f"The generation is {'parked' if made.parked_reason else made.status}{cost}" + (f": {why}" if why else "")
    )
    raise typer.Exit(Exit.BAD_OUTCOME)


# ── looking ─────────────────────────────────────────────────────────────────


@group.command("list")
def list_generations(*, limit: Limit = 20, json_: Json = False) -> None:
    """List generations, newest first."""
    from app.cli.door import connect

    with connect() as client:
        found = list(client.generations.list(limit=limit))
    if json_:
        words.put_json(found)
        return
    words.table(
        ["STATUS", "KIND", "ANSWERED", "KEPT", "LEFT OUT", "USD", "CREATED", "ID"],
        [
            (
                one.status,
                one.kind,
                f"{one.requests_answered}/{one.requests}",
                one.rows_kept,
                sum(one.rows_filtered.values()),
                one.cost_usd if one.cost_usd is not None else one.spent_usd,
                words.moment(one.created_at),
                one.id,
            )
            for one in found
        ],
        right=["ANSWERED", "KEPT", "LEFT OUT", "USD"],
    )


@group.command()
def show(generation: Generation, *, json_: Json = False) -> None:
    """Show how far a generation is, what was left out and why, and what it cost."""
    from app.cli.door import connect

    with connect() as client:
        found = client.generations.get(generation)
    if json_:
        words.put_json(found)
        return
    words.facts(
        [
            ("id", found.id),
            ("status", found.status),
            ("kind", found.kind),
            ("by", f"{found.deployment} ({found.base_model}), {found.prompt_version}"),
            ("answered", f"{found.requests_answered} of {found.requests}, {found.requests_failed} by an error"),
            ("kept", found.rows_kept),
            ("left out", ", ".join(f"{count} {code}" for code, count in found.rows_filtered.items()) or "nothing"),
            ("too few", "; ".join(f"{few.subject}: {few.kept} of {few.wanted}" for few in found.short_of[:5])),
            ("reserved", f"${found.reserved_usd}"),
            ("spent", f"${found.spent_usd}" + (f", and ${found.lost_usd} lost" if found.lost_usd else "")),
            ("version", found.version),
            ("parked", found.parked_reason),
            ("error", (found.error or found.last_error or {}).get("message")),
        ]
    )


@group.command()
def rows(
    generation: Generation,
    *,
    left_out: Annotated[bool, typer.Option("--left-out", help="Only what was left out.")] = False,
    reason: Annotated[str | None, typer.Option(help="Only what was left out for this, e.g. name-changed.")] = None,
    limit: Limit = 50,
    json_: Json = False,
) -> None:
    """What was made, with its origin, and why it was left out if it was."""
    from app.cli.door import connect

    with connect() as client:
        found = list(
            client.generations.rows(generation, kept=False if left_out else None, reason=reason, limit=limit)
        )
    if json_:
        words.put_json(found)
        return
    words.table(
        ["LINE", "STYLE", "LEFT OUT FOR", "TEXT"],
        [(one.line, one.style, one.reason, one.text[:200]) for one in found],
        right=["LINE"],
    )


@group.command()
def cancel(generation: Generation) -> None:
    """Ask nothing more; what was made stays readable."""
    from app.cli.door import connect

    with connect() as client:
        found = client.generations.cancel(generation)
    words.done(f"{found.id} asks nothing more.")


@group.command()
def retry(generation: Generation) -> None:
    """Look again at a parked generation."""
    from app.cli.door import connect

    with connect() as client:
        found = client.generations.retry(generation)
    words.done(f"{found.id} is looked after again.")


# ── coverage ────────────────────────────────────────────────────────────────


def coverage(
    what: Annotated[str, typer.Argument(help="A file, looked at on this machine, or a version such as travel@3.")],
    *,
    name: Annotated[
        list[str] | None,
        typer.Option(help="Of a file: a thing that questions name: '香坂 義孝=こうさか よしたか'."),
    ] = None,
    json_: Json = False,
) -> None:
    """Which ways of asking are there for each fact, and which are missing; a file needs no service and no key."""
    path = Path(what)
    shown = _of_file(path, name or []) if path.is_file() else _of_version(what)
    if json_:
        words.put_json(shown)
        return
    words.table(
        ["FACT", "QUESTIONS", "HAS", "MISSING"],
        [
            (
                fact["fact"],
                fact["questions"],
                ", ".join(f"{way} {count}" for way, count in fact["ways"].items()),
                ", ".join(fact["missing"]),
            )
            for fact in shown["facts"][:FACTS_SHOWN]
        ],
        right=["QUESTIONS"],
    )
    more = len(shown["facts"]) - FACTS_SHOWN + shown["facts_more"]
    if more > 0:
        words.note(f"{words.counted(more, 'more fact')}.")
    if not shown["is_whole"]:
        words.note(f"Looked at down to row {shown['rows_read']:,}; a file is looked at further than a version.")
    for sentence in shown["advice"]:
        words.warn(sentence)
    if not shown["advice"]:
        words.done("Every fact is asked for in every way that we know.")


def _of_file(path: Path, names: list[str]) -> dict[str, Any]:
    from app.datasets.engine import Limits, plain_lines, reading
    from app.generation.craft.coverage import ROWS_MAX, cover
    from app.generation.craft.facts import Name
    from app.generation.material import question_and_answer

    declared = [Name(one["name"], tuple(one["also"])) for one in map(_name, names)]
    with path.open("rb") as file, reading.opened(file) as read:
        lines = plain_lines(read.content, Limits().line_bytes_max)
        told = ((number, question_and_answer(line)) for number, line in enumerate(lines, 1))
        report = cover(((number, *pair) for number, pair in told if pair), rows_max=ROWS_MAX, declared=declared)
    if not report.rows:
        raise Told(
            f"{path} has no row with a question and an answer.",
            hint="`kitae datasets check` says what the file was taken for, `convert` takes options to read it.",
            code=Exit.USAGE,
        )
    return report.to_json()


def _of_version(ref: str) -> dict[str, Any]:
    from app.cli.door import connect

    with connect() as client:
        return client.datasets.coverage(ref).model_dump(mode="json")
