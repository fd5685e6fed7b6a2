"""`kitae datasets fix|split|transform FILE -o OUT`: the service's own operations, on files of this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import TypeAdapter, ValidationError

from app.azure.catalogue.catalogue import Catalogue
from app.cli import reports, words
from app.cli.exits import Exit, Told
from app.cli.offline import as_read, not_over, profile_of
from app.cli.options import OPERATIONS_HINT
from app.datasets import engine
from app.datasets.engine import changes, reading
from app.datasets.engine.report import Method, printable
from app.kit.wire import in_words

DEFAULT_MODEL = "gpt-4.1-mini"
_OPERATIONS: TypeAdapter[list[changes.AnyOperation]] = TypeAdapter(list[changes.AnyOperation])


def change_file(  # noqa: PLR0913  as many as the command is told
    file: Path,
    operations: Sequence[Mapping[str, Any]],
    *,
    output: Path,
    model: str | None,
    method: Method | None,
    others: Sequence[tuple[str, str]],
    how: reading.How,
    force: bool,
    as_json: bool,
) -> bool:
    """Read a file of any kind, change it, and write what comes out as JSON Lines; of a split one file a part.

    Args:
        how: what was said of the file; `others` are read by what they show themselves.
        force: write over files that are there.

    Returns:
        Whether Azure would take all that was written.

    Raises:
        Told: the operations cannot be meant, the file cannot be read, or something would be overwritten.
    """
    recipe = _recipe(operations)
    outputs = [_named(output, part) for part in changes.parts_of(recipe)]
    for path in outputs:
        not_over(path, force=force)
    files = {"": file} | {name: Path(path) for name, path in others}
    missing = next((path for path in files.values() if not path.is_file()), None)
    if missing is not None:
        raise Told(f"There is no file {printable(str(missing))}.", code=Exit.USAGE)
    strange = next((name for name in changes.others_of(recipe) if name not in files), None)
    if strange is not None:
        raise Told(f"Which file is {strange}?", hint=f"Say --other {strange}=FILE.", code=Exit.USAGE)
    profile = _profile(model, method)
    with ExitStack() as stack:
        contents = {
            name: _content(path, profile, reading.How() if name else how, stack) for name, path in files.items()
        }
        content, report = contents[""]
        profile = replace(profile, method=profile.method or report.method)
        outcome = _apply(content, recipe, outputs, profile, {name: one for name, (one, _) in contents.items()})
    return _tell(
        outcome, outputs, replace(profile, method=changes.method_after(recipe, profile.method)), as_json=as_json
    )


def _recipe(operations: Sequence[Mapping[str, Any]]) -> list[changes.AnyOperation]:
    try:
        return _OPERATIONS.validate_python(operations)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        number, *inner = first["loc"]
        place = f"Operation {int(number) + 1}" + "".join(f", {part}" for part in inner)
        raise Told(f"{place}: {in_words(first)}", hint=OPERATIONS_HINT, code=Exit.USAGE) from error


def _profile(model: str | None, method: Method | None) -> engine.Profile:
    catalogue = Catalogue.load(None)
    base = catalogue.find(model or DEFAULT_MODEL)
    if base is None:
        raise Told(f"{model!r} is not a base model in the catalogue.", code=Exit.USAGE)
    return replace(profile_of(catalogue, base), method=method)


def _content(
    file: Path, profile: engine.Profile, how: reading.How, stack: ExitStack
) -> tuple[BinaryIO, engine.Report]:
    """The file as JSON Lines, whatever it was."""
    content = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115  the stack closes it
    size = file.stat().st_size
    with file.open("rb") as source, words.progress(f"reading {file.name}", total=size, unit="bytes") as draw:
        report = reading.check_any(
            source,
            profile,
            how,
            as_version=True,
            copy_to=content,
            on_progress=lambda read: draw(read, ""),
        )
    if not report.examples and not content.tell():
        raise Told(f"{printable(file.name)} holds no rows: {report.format_reason}", code=Exit.PROBLEM)
    return content, report


def _named(output: Path, part: str) -> Path:
    """`out.jsonl`, or `out-validation.jsonl` for a part."""
    return output.with_name(f"{output.stem}-{part}{output.suffix}") if part else output


def _opening(file: BinaryIO) -> changes.Open:
    @contextmanager
    def opened() -> Iterator[BinaryIO]:
        file.seek(0)
        yield file

    return opened


def _apply(
    content: BinaryIO,
    recipe: Sequence[changes.AnyOperation],
    outputs: Sequence[Path],
    profile: engine.Profile,
    contents: Mapping[str, BinaryIO],
) -> changes.Outcome:
    """Written beside their places first, so that what was there stays until everything is whole."""
    partial = [path.with_name(f".{path.name}.part") for path in outputs]
    try:
        with ExitStack() as stack, words.progress("changing") as draw:
            targets = [
                changes.Target(stack.enter_context(path.open("wb")), stack.enter_context(closing(_Nowhere())))
                for path in partial
            ]
            outcome = changes.transform(
                _opening(content),
                recipe,
                targets,
                profile=profile,
                scratch=tempfile.TemporaryFile,
                others={name: _opening(file) for name, file in contents.items() if name},
                on_progress=_drawing(draw, recipe),
            )
        for written, path in zip(partial, outputs, strict=True):
            written.replace(path)
    except changes.CannotChange as refused:
        raise Told(printable(str(refused)), hint=refused.hint, code=Exit.PROBLEM) from refused
    finally:
        for written in partial:
            written.unlink(missing_ok=True)
    return outcome


def _drawing(
    draw: Callable[[int | None, str], None], recipe: Sequence[changes.AnyOperation]
) -> Callable[[int, int], None]:
    def drawing(number: int, read_bytes: int) -> None:
        draw(None, f"{recipe[number].type} · {words.megabytes(read_bytes)} read")

    return drawing


class _Nowhere:
    """Takes lineage that nobody keeps."""

    def write(self, data: bytes, /) -> int:
        return len(data)

    def close(self) -> None:
        return None


def _tell(outcome: changes.Outcome, outputs: Sequence[Path], profile: engine.Profile, *, as_json: bool) -> bool:
    checked = []
    for path in outputs:
        with path.open("rb") as source:
            checked.append(engine.check(source, profile, processes=engine.processes_for(path.stat().st_size)))
    is_ready = all(report.verdict == "ready" for report in checked)
    if as_json:
        files = [
            {
                "path": printable(str(path)),
                "verdict": report.verdict,
                "examples": report.examples,
                "tokens": report.tokens.total,
                "findings": [as_read(finding) for finding in report.findings],
            }
            for path, report in zip(outputs, checked, strict=True)
        ]
        words.put_json({"files": files, "operations": [asdict(done) for done in outcome.operations]})
        return is_ready
    for done in outcome.operations:
        words.note(reports.operation(asdict(done)))
    for path, report in zip(outputs, checked, strict=True):
        words.put(printable(str(path)))
        reports.findings([as_read(finding) for finding in report.findings])
        told = f"{printable(path.name)}: {report.examples:,} examples, {report.verdict}."
        words.done(told) if report.verdict == "ready" else words.warn(told)
    return is_ready
