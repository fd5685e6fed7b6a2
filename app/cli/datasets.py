"""`kitae datasets …`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from app.cli import words
from app.cli.exits import Exit, Told
from app.cli.options import OPERATIONS_HINT, Force, Json, Wait, pair

if TYPE_CHECKING:
    from app.datasets.engine.reading import How
    from app.datasets.schemas import FindingRead, OriginRead, VersionRead

group = typer.Typer(no_args_is_help=True, help="Datasets and their versions; `check` works offline.")

Version = Annotated[str, typer.Argument(help="A version: travel@3, or travel for its newest ready one.")]
File = Annotated[
    Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="Chat examples, JSON Lines.")
]
Files = Annotated[
    list[Path],
    typer.Argument(exists=True, dir_okay=False, readable=True, help="Training data; several are checked in turn."),
]
TrainingType = Annotated[str, typer.Option(help="Standard, GlobalStandard, DataZoneStandard or developerTier.")]
Format = Annotated[
    str | None,
    typer.Option("--format", help="What a file is (csv, xlsx, …) or its rows are (alpaca, sharegpt, …)."),
]
Mapping = Annotated[
    str | None,
    typer.Option(help="question=user,answer=assistant,topic=ignored; or a JSON file that says it."),
]
Encoding = Annotated[str | None, typer.Option(help="Of text that is not UTF-8, such as cp932 or cp1252.")]
SheetName = Annotated[str | None, typer.Option("--sheet", help="Of a workbook; its first one otherwise.")]
Method = Annotated[
    Literal["supervised", "dpo", "reinforcement"] | None,
    typer.Option(help="With -o: how a model would be trained on it; left out: what the first example is for."),
]
Model = Annotated[str | None, typer.Option(help="Base model whose limits and tokenizer the check uses.")]


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="datasets")


@group.command()
def create(
    name: str,
    *,
    description: Annotated[str, typer.Option(help="What it is, in a line or two.")] = "",
    method: Annotated[
        Literal["supervised", "dpo", "reinforcement"],
        typer.Option(help="How models will be trained on it; every version is checked by its rules."),
    ] = "supervised",
    label: Annotated[list[str] | None, typer.Option(help="name=value, up to 16.")] = None,
    json_: Json = False,
) -> None:
    """Name a dataset; `upload` gives it content."""
    from app.cli.door import connect
    from app.datasets.schemas import DatasetCreate

    labels = dict(pair(text, "label") for text in label or [])
    with connect() as client:
        made = client.datasets.create(
            DatasetCreate(name=name, method=method, description=description, labels=labels)
        )
    if json_:
        words.put_json(made)
    else:
        words.done(f"{made.name} is named ({made.id}).")


@group.command("list")
def list_datasets(*, json_: Json = False) -> None:
    """List datasets, newest first."""
    from app.cli.door import connect

    with connect() as client:
        found = list(client.datasets.list())
    if json_:
        words.put_json(found)
        return
    words.table(
        ["NAME", "VERSIONS", "METHOD", "CREATED", "ID"],
        [(item.name, item.version_count, item.method, words.moment(item.created_at), item.id) for item in found],
        right=["VERSIONS"],
    )


@group.command()
def show(ref: Version, *, json_: Json = False) -> None:
    """Show a version with its tokens, or, when `ref` has none yet, the dataset."""
    from app.cli.door import connect
    from app.cli.reports import token_facts
    from app.client import ApiProblem

    with connect() as client:
        try:
            version = client.datasets.version(ref)
        except ApiProblem as problem:
            if "@" in ref or problem.code != "version_not_found":
                raise
            words.put_json(client.datasets.get(ref))
            return
        stats = client.datasets.stats(f"{version.dataset}@{version.number}") if version.checked_at else None
    if json_:
        words.put_json({"version": version, "stats": stats})
        return
    _show(version)
    if stats is not None:
        words.facts(token_facts(stats.tokens))


def _show(version: "VersionRead") -> None:
    counts = ", ".join(words.counted(count, severity) for severity, count in version.findings.items() if count)
    words.facts(
        [
            ("version", f"{version.dataset_name}@{version.number}"),
            ("id", version.id),
            ("status", version.status),
            ("file", version.original_name),
            ("size", words.megabytes(version.bytes)),
            ("sha256", version.sha256),
            ("checked for", version.base_model),
            ("findings", counts or "none"),
            ("made from", version.lineage.get("parent")),
            ("parked", version.parked_reason),
            ("created", words.moment(version.created_at)),
            ("examples", version.examples),
        ]
    )


@group.command()
def upload(  # noqa: PLR0913  one option each
    name: str,
    file: File,
    *,
    model: Model = None,
    create_: Annotated[bool, typer.Option("--create", help="Name the dataset first if there is none.")] = False,
    format_: Format = None,
    mapping: Mapping = None,
    encoding: Encoding = None,
    sheet: SheetName = None,
    wait: Wait = True,
    json_: Json = False,
) -> None:
    """Upload a file as a new version and wait for its check; exit code 4 when it is rejected."""
    from app.cli.door import connect

    with connect() as client:
        if create_:
            from app.cli.work import ensure_dataset

            ensure_dataset(client, name)
        from app.cli.work import upload as send

        how = {"format": format_, "mapping": mapping_text(mapping), "encoding": encoding, "sheet": sheet}
        version = send(client, name, file, model=model, how=how, wait=wait)
        found = client.datasets.findings(f"{version.dataset}@{version.number}") if version.checked_at else []
    if json_:
        words.put_json({"version": version, "findings": found})
    else:
        words.put(f"{version.dataset_name}@{version.number}")
    _tell_outcome(version, found)


def mapping_text(mapping: str | None) -> str | None:
    """A mapping, or what the JSON file of that name holds."""
    if not mapping or "=" in mapping or mapping.lstrip().startswith("{"):
        return mapping
    try:
        return Path(mapping).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Told(
            f"The mapping cannot be read: {error}.",
            hint="Write question=user,answer=assistant, or name a JSON file that says it.",
            code=Exit.USAGE,
        ) from error


@group.command()
def fetch(  # noqa: PLR0913  one option each
    name: str,
    source: Annotated[
        str,
        typer.Argument(
            help="https://…, a blob's URL with its SAS, az://ACCOUNT/CONTAINER/BLOB or hf://OWNER/DATASET; '-' "
            "reads it from stdin, so that a signature stays out of the shell's history."
        ),
    ],
    *,
    connection: Annotated[
        str | None, typer.Option(help="Of az://: a connection with `entra`, whose identity reads the blob.")
    ] = None,
    config: Annotated[str, typer.Option(help="Of hf://: the dataset's config.")] = "default",
    split: Annotated[str, typer.Option(help="Of hf://: the split.")] = "train",
    revision: Annotated[str | None, typer.Option(help="Of hf://: a branch, tag or commit.")] = None,
    token: Annotated[
        str | None, typer.Option(envvar="HF_TOKEN", help="Of hf://: for private and gated datasets.")
    ] = None,
    sha256: Annotated[str | None, typer.Option(help="What the file's SHA-256 must be.")] = None,
    model: Model = None,
    create_: Annotated[bool, typer.Option("--create", help="Name the dataset first if there is none.")] = False,
    format_: Format = None,
    mapping: Mapping = None,
    encoding: Encoding = None,
    sheet: SheetName = None,
    wait: Wait = True,
    json_: Json = False,
) -> None:
    """Have the service bring a version from elsewhere and check it; exit code 4 when it fails or is rejected."""
    import sys

    from app.cli.door import connect
    from app.cli.sources import source_of
    from app.cli.waiting import checked
    from app.cli.work import fetch as bring

    wanted = source_of(
        sys.stdin.readline().strip() if source == "-" else source,
        connection=connection,
        config=config,
        split=split,
        revision=revision,
        token=token,
        sha256=sha256,
    )
    how = {"format": format_, "mapping": mapping_text(mapping), "encoding": encoding, "sheet": sheet}
    with connect() as client:
        fetched = bring(client, name, wanted, model=model, how=how, create=create_, wait=wait)
        version = None
        if fetched.version is not None:
            version = checked(client, client.datasets.version(f"{fetched.dataset}@{fetched.version_number}"))
        ref = f"{version.dataset}@{version.number}" if version else ""
        found = client.datasets.findings(ref) if version and version.checked_at else []
    if json_:
        words.put_json({"fetch": fetched, "version": version, "findings": found})
    elif version is not None:
        words.put(f"{version.dataset_name}@{version.number}")
    else:
        words.put(fetched.id)
    if fetched.parked_reason is not None:
        hint = f"See to it, then `kitae datasets retry-fetch {name} {fetched.id}`."
        raise Told(f"The fetch is parked: {fetched.parked_reason}", hint=hint, code=Exit.BAD_OUTCOME)
    if fetched.error is not None:
        raise Told(fetched.error["message"], hint=fetched.error["hint"], code=Exit.BAD_OUTCOME)
    if version is not None:
        _tell_outcome(version, found)


@group.command("retry-fetch")
def retry_fetch(
    name: str, fetch_id: Annotated[str, typer.Argument(metavar="FETCH", help="A parked fetch, by its id.")]
) -> None:
    """Look again at a parked fetch; it goes on from the bytes that are here."""
    from app.cli.door import connect

    with connect() as client:
        found = client.datasets.retry_fetch(name, fetch_id)
    words.done(f"{found.id} is looked after again.")


def _tell_outcome(version: "VersionRead", found: "list[FindingRead]") -> None:
    from app.cli import reports

    if version.status == "checking":
        words.note(f"{version.dataset_name}@{version.number} is being checked.")
        return
    reports.findings(found, unit=version.reading.unit if version.reading else "line")
    reports.verdict(version, subject=f"{version.dataset_name}@{version.number}")
    if version.status == "rejected":
        raise typer.Exit(Exit.BAD_OUTCOME)


@group.command()
def check(  # noqa: PLR0913  one option each
    files: Files,
    *,
    model: Annotated[str, typer.Option(help="Base model whose limits and tokenizer are used.")] = "gpt-4.1-mini",
    method: Annotated[
        Literal["supervised", "dpo", "reinforcement"] | None,
        typer.Option(help="How a model would be trained on it; left out: what the first example is for."),
    ] = None,
    grader: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, readable=True, help="A grader (JSON) whose fields every row should have."
        ),
    ] = None,
    validation: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, readable=True, help="Validation file, checked too and compared."),
    ] = None,
    format_: Format = None,
    mapping: Mapping = None,
    encoding: Encoding = None,
    sheet: SheetName = None,
    json_: Json = False,
) -> None:
    """Check files on this machine, without a service or a key; exit code 1 when Azure would refuse one as it is."""
    from app.cli.offline import check_files, how_of

    how = how_of(format_=format_, mapping=mapping_text(mapping), encoding=encoding, sheet=sheet)
    if not check_files(
        files, validation=validation, model=model, method=method, grader_file=grader, how=how, as_json=json_
    ):
        raise typer.Exit(Exit.PROBLEM)


@group.command()
def convert(  # noqa: PLR0913  one option each
    file: File,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write, as Azure takes it.")],
    model: Annotated[str, typer.Option(help="Base model whose limits and tokenizer are used.")] = "gpt-4.1-mini",
    method: Annotated[
        Literal["supervised", "dpo", "reinforcement"] | None,
        typer.Option(help="How a model will be trained on it; it decides what an answer becomes."),
    ] = None,
    bom: Annotated[bool, typer.Option("--bom", help="Begin the file with a byte-order mark.")] = False,
    format_: Format = None,
    mapping: Mapping = None,
    encoding: Encoding = None,
    sheet: SheetName = None,
    force: Force = False,
    json_: Json = False,
) -> None:
    """Write any file as Azure takes it, on this machine, and check it; exit code 1 when it is not ready."""
    from app.cli.offline import convert_file, how_of

    how = how_of(format_=format_, mapping=mapping_text(mapping), encoding=encoding, sheet=sheet)
    if not convert_file(file, output, model=model, method=method, how=how, bom=bom, force=force, as_json=json_):
        raise typer.Exit(Exit.PROBLEM)


@group.command()
def findings(
    ref: Version,
    *,
    severity: Annotated[str | None, typer.Option(help="error, warning or note.")] = None,
    code: Annotated[str | None, typer.Option(help="Only this kind, e.g. over-long-example.")] = None,
    json_: Json = False,
) -> None:
    """What the check of a version found, with lines and remedies."""
    from app.cli import reports
    from app.cli.door import connect

    with connect() as client:
        found = client.datasets.findings(ref, severity=severity, code=code)
    if json_:
        words.put_json(found)
        return
    reports.findings(found, examples=5, to=words.data_console())
    if not found:
        words.done("No findings.")


@group.command()
def preview(ref: Version, *, rows: Annotated[int, typer.Option(min=1, max=3)] = 3) -> None:
    """The first rows as JSON lines, long texts cut."""
    import json

    from app.cli.door import connect

    with connect() as client:
        shown = client.datasets.preview(ref, rows=rows).rows
    for row in shown:
        words.put(json.dumps(row, ensure_ascii=False))


@group.command()
def content(
    ref: Version,
    *,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write instead of stdout.")] = None,
) -> None:
    """Download a version: byte by byte what goes to Azure."""
    import sys

    from app.cli.door import connect

    with connect() as client:
        data = client.datasets.content(ref)
    if output is not None:
        output.write_bytes(data)
        words.done(f"{output}: {words.megabytes(len(data))}")
    else:
        sys.stdout.buffer.write(data)


@group.command()
def drop(
    ref: Version,
    *,
    code: Annotated[str | None, typer.Option(help="All lines of this finding, e.g. over-long-example.")] = None,
    line: Annotated[list[str] | None, typer.Option(help="A line, or a range such as 3-9; may be repeated.")] = None,
    wait: Wait = True,
    json_: Json = False,
) -> None:
    """Make a new version without some lines."""
    ranges = [_range(text) for text in line or []]
    if code is None and not ranges:
        raise Told("Nothing to drop.", hint="Name a finding with --code, or lines with --line.", code=Exit.USAGE)
    operation: dict[str, Any] = {"type": "drop", "lines": ranges} | ({"code": code} if code else {})
    _change(ref, [operation], into=None, wait=wait, as_json=json_)


@group.command()
def fix(  # noqa: PLR0913  one option each
    ref: Version,
    *,
    code: Annotated[list[str] | None, typer.Option(help="Only this finding; may be repeated.")] = None,
    leave: Annotated[list[str] | None, typer.Option(help="Not this finding, e.g. exact-duplicate.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Take REF for a file on this machine, and write this one.")
    ] = None,
    method: Method = None,
    model: Model = None,
    format_: Format = None,
    mapping: Mapping = None,
    encoding: Encoding = None,
    sheet: SheetName = None,
    force: Force = False,
    wait: Wait = True,
    json_: Json = False,
) -> None:
    """Repair, or leave out, whatever the check finds that can be fixed; a file on this machine with -o."""
    operation = {"type": "fix", "codes": code or [], "leave": leave or []}
    how = _of_a_file(output, format_=format_, mapping=mapping, encoding=encoding, sheet=sheet, force=force)
    if output is None or how is None:
        _change(ref, [operation], into=None, wait=wait, as_json=json_)
        return
    from app.cli.offline_changes import change_file

    is_ready = change_file(
        Path(ref),
        [operation],
        output=output,
        model=model,
        method=method,
        others=(),
        how=how,
        force=force,
        as_json=json_,
    )
    if not is_ready:
        raise typer.Exit(Exit.PROBLEM)


@group.command()
def transform(  # noqa: PLR0913  one for each option
    ref: Version,
    *,
    operations: Annotated[
        str, typer.Option("--operations", help="A list of operations as JSON, or @FILE with one.")
    ],
    into: Annotated[str | None, typer.Option(help="Dataset that gets the outcome.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Take REF for a file on this machine, and write this one.")
    ] = None,
    method: Method = None,
    model: Model = None,
    other: Annotated[
        list[str] | None, typer.Option(help="With -o: NAME=FILE for another version that an operation names.")
    ] = None,
    format_: Format = None,
    mapping: Mapping = None,
    encoding: Encoding = None,
    sheet: SheetName = None,
    force: Force = False,
    wait: Wait = True,
    json_: Json = False,
) -> None:
    """Make new versions with operations: fix, drop, keep, dedupe, redact, split, sample, system, prune, …"""
    recipe = _operations(operations)
    how = _of_a_file(output, format_=format_, mapping=mapping, encoding=encoding, sheet=sheet, force=force)
    if output is None or how is None:
        _change(ref, recipe, into=into, wait=wait, as_json=json_)
        return
    from app.cli.offline_changes import change_file

    others = [pair(text, "other") for text in other or []]
    is_ready = change_file(
        Path(ref),
        recipe,
        output=output,
        model=model,
        method=method,
        others=others,
        how=how,
        force=force,
        as_json=json_,
    )
    if not is_ready:
        raise typer.Exit(Exit.PROBLEM)


@group.command()
def split(  # noqa: PLR0913  one for each option
    ref: Version,
    *,
    part: Annotated[
        list[str] | None,
        typer.Option(help="name=0.9 for a share, name=500 for rows, name= for the rest; may be repeated."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same parts.")] = 0,
    stratify: Annotated[str | None, typer.Option(help="A field such as /label: each part gets its share.")] = None,
    group_by: Annotated[str | None, typer.Option(help="A field such as /user: equal values stay together.")] = None,
    time: Annotated[str | None, typer.Option(help="A field such as /created_at: the first part is oldest.")] = None,
    into: Annotated[str | None, typer.Option(help="Dataset that gets the first part.")] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Take REF for a file on this machine, and write files named like this."
        ),
    ] = None,
    method: Method = None,
    format_: Format = None,
    mapping: Mapping = None,
    encoding: Encoding = None,
    sheet: SheetName = None,
    force: Force = False,
    wait: Wait = True,
    json_: Json = False,
) -> None:
    """Divide a version, by default into nine tenths and a tenth for validation; what is alike stays together."""
    parts = [_part_of(*pair(text, "part")) for text in part or ["train=0.9", "validation="]]
    operation: dict[str, Any] = {"type": "split", "parts": parts, "seed": seed, "by": "time" if time else "chance"}
    operation |= {
        name: value for name, value in (("time", time), ("stratify", stratify), ("group", group_by)) if value
    }
    how = _of_a_file(output, format_=format_, mapping=mapping, encoding=encoding, sheet=sheet, force=force)
    if output is None or how is None:
        _change(ref, [operation], into=into, wait=wait, as_json=json_)
        return
    from app.cli.offline_changes import change_file

    is_ready = change_file(
        Path(ref),
        [operation],
        output=output,
        model=None,
        method=method,
        others=(),
        how=how,
        force=force,
        as_json=json_,
    )
    if not is_ready:
        raise typer.Exit(Exit.PROBLEM)


def _of_a_file(
    output: Path | None,
    *,
    format_: str | None,
    mapping: str | None,
    encoding: str | None,
    sheet: str | None,
    force: bool,
) -> "How | None":
    """How the file is read; None where a version of the service is meant, of which nothing can be said."""
    if output is None:
        if force or any((format_, mapping, encoding, sheet)):
            raise Told(
                "--format, --mapping, --encoding, --sheet and --force are for files on this machine.",
                hint="Name a file and, with -o, one to write; of a version they are said when it is uploaded.",
                code=Exit.USAGE,
            )
        return None
    from app.cli.offline import how_of

    return how_of(format_=format_, mapping=mapping_text(mapping), encoding=encoding, sheet=sheet)


def _part_of(name: str, size: str) -> dict[str, Any]:
    if not size:
        return {"name": name}
    if size.isdigit():
        return {"name": name, "rows": int(size)}
    try:
        return {"name": name, "share": float(size)}
    except ValueError as error:
        raise typer.BadParameter(f"{size!r} is no share such as 0.9 and no number of rows") from error


def _operations(text: str) -> list[dict[str, Any]]:
    import json

    try:
        found = json.loads(Path(text[1:]).read_text("utf-8") if text.startswith("@") else text)
    except OSError as error:
        raise Told(
            f"The file of --operations cannot be read: {error}.", hint=OPERATIONS_HINT, code=Exit.USAGE
        ) from error
    except ValueError as error:
        raise Told(f"--operations is not JSON: {error}.", hint=OPERATIONS_HINT, code=Exit.USAGE) from error
    recipe = found if isinstance(found, list) else [found]
    if not recipe or not all(isinstance(operation, dict) for operation in recipe):
        raise Told("--operations is no list of JSON objects.", hint=OPERATIONS_HINT, code=Exit.USAGE)
    return recipe


def _change(ref: str, operations: list[dict[str, Any]], *, into: str | None, wait: bool, as_json: bool) -> None:
    from app.cli import reports
    from app.cli.door import connect
    from app.cli.waiting import changed

    with connect() as client:
        change = client.datasets.transform(ref, operations, into=into)
        versions = changed(client, change, subject=ref, check=wait)
        change = client.datasets.transform_of(change.dataset, change.id)
        found = [
            client.datasets.findings(f"{version.dataset}@{version.number}") if version.checked_at else []
            for version in versions
        ]
    if as_json:
        one = {"version": versions[0], "findings": found[0]} if len(versions) == 1 else {}
        words.put_json({"transform": change, "versions": versions, **one})
    else:
        for done in change.done:
            words.note(reports.operation(done.model_dump()))
        for version in versions:
            words.put(f"{version.dataset_name}@{version.number}")
    for version, findings_ in zip(versions, found, strict=True):
        _tell_outcome(version, findings_)


@group.command()
def changes(
    ref: Version,
    since: Annotated[str, typer.Argument(help="The version before: a number of the same dataset, or travel@2.")],
    *,
    limit: Annotated[int, typer.Option(min=0, max=200, help="Rows to show.")] = 20,
    json_: Json = False,
) -> None:
    """What changed from one version to another, row by row."""
    from app.cli.door import connect

    with connect() as client:
        found = client.datasets.changes(ref, since, limit=limit)
    if json_:
        words.put_json(found)
        return
    counts = [(name, f"{getattr(found, name):,}") for name in ("same", "added", "removed", "changed", "moved")]
    words.facts([*counts, ("matched by", found.by)])
    for change in found.data:
        place = change.line or change.was_line
        words.put(f"{change.kind} {place}" + (f" (was {change.was_line})" if change.kind == "moved" else ""))
        for field in change.fields:
            words.put(f"  {field.pointer}: {field.before!r} → {field.after!r}")
    if found.has_more:
        words.note("There is more; ask for it with --json and the API's `skip`.")


@group.command()
def lineage(
    ref: Version,
    row: Annotated[int, typer.Argument(min=1, help="Which row, counted from 1.")],
    *,
    json_: Json = False,
) -> None:
    """Where a row came from, back to what was uploaded."""
    from app.cli.door import connect

    with connect() as client:
        found = client.datasets.lineage(ref, row)
    if json_:
        words.put_json(found)
    else:
        _tell_origin(found.lineage, 0)


def _tell_origin(origin: "OriginRead", depth: int) -> None:
    first, last = origin.lines
    where = f"line {first:,}" if first == last else f"lines {first:,}-{last:,}"
    by = ", ".join(operation["type"] for operation in origin.operations)
    name = f"{origin.dataset_name}@{origin.version_number}"
    words.put(f"{'  ' * depth}{name} {where} ({origin.source}{': ' + by if by else ''})")
    if origin.records is not None and origin.unit is not None:
        place = words.lines_in_words([origin.records], word=origin.unit)
        sheet = f" of the sheet {origin.sheet!r}" if origin.sheet else ""
        words.put(f"{'  ' * (depth + 1)}{place}{sheet} of the file")
    for inner in origin.origins:
        _tell_origin(inner, depth + 1)


def _range(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    if not first.isdigit() or (last and not last.isdigit()):
        raise typer.BadParameter(f"{text!r} is no line and no range such as 3-9")
    return int(first), int(last or first)


@group.command()
def compare(training: Version, validation: Version, *, json_: Json = False) -> None:
    """Find examples that stand in both versions, also in almost the same words; exit code 4 when there are some."""
    from app.cli import reports
    from app.cli.door import connect

    with connect() as client:
        found = client.datasets.compare(training, validation)
    shared = [finding for finding in (found.finding, found.near) if finding is not None]
    if json_:
        words.put_json(found)
    elif not shared:
        words.done("They share no example, not even in almost the same words.")
    else:
        reports.findings(shared, to=words.data_console())
    if shared:
        raise typer.Exit(Exit.BAD_OUTCOME)


@group.command()
def estimate(  # noqa: PLR0913  each is a part of the question
    what: Annotated[
        str, typer.Argument(metavar="NAME@N|FILE", help="A version, or a file on this machine (offline, no key).")
    ],
    *,
    model: Annotated[
        str | None, typer.Option(help="Base model; left out: every one that could be trained.")
    ] = None,
    training_type: Annotated[
        str | None, typer.Option(help="Standard, GlobalStandard, DataZoneStandard or developerTier; left out: all.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, max=50, help="Left out: what Azure would choose.")] = None,
    validation: Annotated[str | None, typer.Option(help="A version, or a file, to validate on.")] = None,
    calls_per_month: Annotated[int | None, typer.Option(min=1, help="Calls of the tuned model a month.")] = None,
    prompt_tokens: Annotated[
        int | None,
        typer.Option(min=0, help="Of the prompt a base model would need; left out: what the rows repeat."),
    ] = None,
    instead_of: Annotated[str | None, typer.Option(help="The base model that is prompted today.")] = None,
    sku: Annotated[
        str, typer.Option(help="Deployment: Standard, GlobalStandard, DataZoneStandard or DeveloperTier.")
    ] = "GlobalStandard",
    training_hours: Annotated[float | None, typer.Option(min=0.01, max=720, help="Of reinforcement.")] = None,
    method: Annotated[
        Literal["supervised", "dpo", "reinforcement"] | None,
        typer.Option(help="Of a file; left out: what its first example is for."),
    ] = None,
    format_: Format = None,
    mapping: Mapping = None,
    encoding: Encoding = None,
    sheet: SheetName = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Every way of training each model, with all reasons and sources.")
    ] = False,
    json_: Json = False,
) -> None:
    """What training may cost, take and be worth: every model by price, hosting, time, break-even."""
    from app.cli import estimating
    from app.cli.offline import how_of
    from app.datasets.schemas import EstimateRequest

    files = estimating.files_of(what, validation)
    asked = {
        "model": model,
        "training_type": training_type,
        "n_epochs": epochs,
        "validation": validation if files is None else None,
        "calls_per_month": calls_per_month,
        "prompt_tokens": prompt_tokens,
        "instead_of": instead_of,
        "sku": sku,
        "training_hours": None if training_hours is None else f"{training_hours:.2f}",
    }
    wanted = EstimateRequest.model_validate({name: value for name, value in asked.items() if value is not None})
    if files is not None:
        how = how_of(format_=format_, mapping=mapping_text(mapping), encoding=encoding, sheet=sheet)
        found = estimating.of_files(*files, wanted, method=method, how=how)
    else:
        from app.cli.door import connect

        with connect() as client:
            found = client.datasets.estimate(what, wanted)
    if json_:
        words.put_json(found)
    else:
        estimating.tell(found, every=all_)


@group.command()
def archive(name: str) -> None:
    """Hide a dataset; its versions stay, because jobs and models point at them."""
    from app.cli.door import connect

    with connect() as client:
        client.datasets.archive(name)
    words.done(f"{name} is archived.")
