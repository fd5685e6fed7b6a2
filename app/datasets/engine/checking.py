"""The one pass over a file: reads lines, sorts them by what they are, and hands chat rows to the rules.

Must not know the rules themselves.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from io import IOBase
from itertools import islice
from tempfile import SpooledTemporaryFile
from typing import IO, Any, BinaryIO, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from app.datasets.engine import near, syntax, texts
from app.datasets.engine.chat import ChatRules
from app.datasets.engine.codes import CODES
from app.datasets.engine.content import oddities
from app.datasets.engine.conversations import Conversations
from app.datasets.engine.findings import Findings, Heard, Held
from app.datasets.engine.fingerprints import (
    Fingerprints,
    PrintColumns,
    Prints,
    prints_of,
    prints_of_row,
)
from app.datasets.engine.kinds import KINDS, kind_of, recognise_file
from app.datasets.engine.lines import (
    CHUNK_BYTES,
    HEAD_BYTES,
    CleanContent,
    Lines,
    Source,
    TooLong,
    chunks_of,
    line_batches,
    plain_lines,
)
from app.datasets.engine.preference import PreferenceRules
from app.datasets.engine.processes import Asked, Helper, helping, in_order
from app.datasets.engine.reinforcement import ReinforcementRules
from app.datasets.engine.report import Finding, Method, Profile, Report, Severity, TokenStats, Verdict
from app.datasets.engine.sketches import MEMORY_BYTES, Sketches, numbered
from app.datasets.engine.tallies import Tally, Tallying, without_plain
from app.datasets.engine.torn import TornObject
from app.datasets.engine.totals import report_totals

RULES: Final = {"chat": ChatRules, "preference": PreferenceRules, "reinforcement": ReinforcementRules}
"""Kind of rows -> the rules of such an example."""
METHOD_OF_KIND: Final[dict[str, Method]] = {
    "chat": "supervised",
    "preference": "dpo",
    "reinforcement": "reinforcement",
}
KIND_OF_METHOD: Final = {method: kind for kind, method in METHOD_OF_KIND.items()}

PREVIEW_ROWS = 3
PREVIEW_BYTES = 8_000
"""Of one row in the preview, as JSON."""
_PREVIEW_CUTS = ((1_000, 20, 8), (300, 10, 8), (100, 6, 6), (60, 4, 4))
"""Characters of a text, items of a list or object, levels: the first that fits PREVIEW_BYTES is taken."""
KEY_SETS_MAX = 50
"""Different sets of keys told apart."""

KEY_SET_CHARACTERS_MAX = 2_000
"""Of the keys of one row; a row with more is left out of the comparison."""

_SORTED = orjson.OPT_SORT_KEYS


def check(  # noqa: PLR0913  one pass, many who want something of it
    source: Source,
    profile: Profile,
    *,
    on_progress: Callable[[int], None] | None = None,
    copy_to: BinaryIO | None = None,
    fingerprints: BinaryIO | None = None,
    lines: array[int] | None = None,
    heard: Heard | None = None,
    at_a_glance: bool = True,
    processes: int = 1,
    where: Callable[[int, int], str] | None = None,
    sketches: BinaryIO | None = None,
    reread: Callable[[], Source] | None = None,
) -> Report:
    """Reads `source` once and says whether it can be trained on.

    No content raises; only reading and writing do. Memory does not depend on the size of the file, except
    for 48 bytes per example (about 130 while duplicates are searched for, at the end).

    Args:
        source: an open binary file, or its bytes in pieces of any size.
        profile: model and method it is checked for.
        on_progress: called with the bytes read so far, about once per MiB.
        copy_to: receives the content without its byte-order mark, otherwise unchanged.
        at_a_glance: count plain lines together; False examines every line by itself, to the same outcome.
        fingerprints: receives 16 bytes per example, in order; in a file that is ready, the n-th belongs to
            line n.
        lines: receives the number of the line of each of these examples.
        heard: told of every line of every finding, also beyond those that a finding keeps.
        processes: how many take part, this one among them; see `processes_for`.
        where: names a range of lines in the words of a finding, when they were written from something else.
        sketches: receives about 100 bytes per example, by which near duplicates are found in other files.
        reread: gives the content again, for near duplicates are told by their texts. A file that can be read
            from any place needs none; of other sources without it a temporary copy is made.
    """
    again = reread
    if again is None:
        source, again = _readable_again(source)
    content = CleanContent(source, on_progress, copy_to)
    work = _Check(content, profile, fingerprints, lines, heard, at_a_glance=at_a_glance, where=where)
    work.compare(again, sketches)
    with helping(work.tallying, processes - 1) as helpers:
        return work.run(helpers)


def _readable_again(source: Source) -> tuple[Source, Callable[[], Source]]:
    """The source, and how to have it again: from its place, or from a copy that is written while it is read."""
    if isinstance(source, IOBase) and source.seekable():
        start = source.tell()

        def again() -> Source:
            source.seek(start)
            return source

        return source, again
    copy: IO[bytes] = SpooledTemporaryFile(MEMORY_BYTES)  # noqa: SIM115  lives as long as the check

    def copied() -> Iterator[bytes]:
        for chunk in chunks_of(source):
            copy.write(chunk)
            yield chunk

    def reread() -> Source:
        copy.seek(0)
        return iter(partial(copy.read, CHUNK_BYTES), b"")

    return copied(), reread


class _Check:
    def __init__(
        self,
        content: CleanContent,
        profile: Profile,
        fingerprints: BinaryIO | None,
        lines: array[int] | None,
        heard: Heard | None,
        *,
        at_a_glance: bool,
        where: Callable[[int, int], str] | None,
    ) -> None:
        self._at_a_glance = at_a_glance
        self._content = content
        self._profile = profile
        self._limits = profile.limits
        self._findings = Findings(heard, where)
        self._wanted = KIND_OF_METHOD.get(profile.method) if profile.method else None
        """Which kind of rows is an example; None until the first that is one of some method."""
        self._rules: ChatRules | None = None
        self._fingerprints = Fingerprints()
        self._fingerprints_out = fingerprints
        self._lines_out = lines
        self._kinds: Counter[str] = Counter()
        self._key_sets: Counter[tuple[str, ...]] = Counter()
        self._preview: list[dict[str, Any]] = []
        self._torn: TornObject | None = None
        self._blank: tuple[int, int] | None = None
        self._lines = 0
        self._is_too_large = False
        self._not_compared = 0
        self._prints: list[Prints] = []
        self.tallying: Final = Tallying(profile.tokenizer, ChatRules.is_sound)
        self._conversations = Conversations()
        self._sketches = Sketches()
        self._sketches_out: BinaryIO | None = None
        self._examples = 0
        """In the batches that were looked at."""
        self._said: list[tuple[int, bytes]] = []
        """Line and text of the examined rows of a batch."""
        self._again: Callable[[], Source] | None = None

    def compare(self, again: Callable[[], Source], sketches: BinaryIO | None) -> None:
        """Where the texts of near duplicates are read, and where their sketches go."""
        self._again, self._sketches_out = again, sketches

    def run(self, helpers: Sequence[Helper]) -> Report:
        content, findings = self._content, self._findings
        if content.had_bom:
            findings.add_file("bom", "The file begins with a byte-order mark; it has been removed.")
        recognised = recognise_file(content.head, whole=len(content.head) < HEAD_BYTES)
        if recognised is not None:
            content.drain()
            kind = KINDS[recognised.kind]
            remedy = kind.remedy if recognised.code == "wrong-kind" else ""
            findings.add_file(recognised.code, recognised.message, remedy=remedy)
            if recognised.code == "json-array" and recognised.kind not in {"chat", "unknown"}:
                findings.add_file("wrong-kind", f"The rows are {kind.words}.", remedy=kind.remedy)
            self._check_size()
            return self._report(recognised.kind, recognised.message)
        self._read_lines(helpers)
        self._check_size()
        if not content.bytes:
            findings.add_file("empty-file", "The file is empty.")
            return self._report("unknown", "There is nothing in it.")
        self._report_near(self._fingerprints.report(findings))
        self._conversations.report(findings)
        if self._not_compared:
            findings.add_file(
                "duplicates-not-compared",
                f"{self._not_compared:,} examples beyond the first {len(self._fingerprints):,} were not compared.",
            )
        return self._report(*self._format())

    # -- lines ---------------------------------------------------------------------------------------------

    def _read_lines(self, helpers: Sequence[Helper]) -> None:
        content, limits = self._content, self._limits
        number = 0
        for lines, tally in in_order(self._batches(), self.tallying, helpers, self._ask):
            if self._findings.errors > limits.errors_max:
                number += 1
                break
            examined = self._batch(number + 1, lines, tally)
            number += examined
            if examined < len(lines):
                break
        else:
            number += self._is_too_large
        self._abandon_torn()
        if self._findings.errors > limits.errors_max:
            self._findings.add_file(
                "too-many-defects", f"The lines from {number:,} on were not examined: the file has too many errors."
            )
        elif self._blank is not None:
            self._findings.add_range("trailing-blank-line", *self._blank)
        self._lines = number
        content.drain()

    def _batches(self) -> Iterator[Lines]:
        """All of the file, or as much as Azure would take."""
        for lines in line_batches(self._content.chunks(), self._limits.line_bytes_max):
            self._is_too_large = self._content.bytes > self._limits.file_bytes_max
            if self._is_too_large:
                return
            yield lines

    def _ask(self) -> Asked | None:
        """What is wanted of the next batch, as far as it is known before those before it are done."""
        if not self._at_a_glance or self._wanted not in {None, "chat"}:
            return None
        return Asked(self._rows_to_show, self._conversations.wants_answers)

    @property
    def _rows_to_show(self) -> int:
        return PREVIEW_ROWS if len(self._preview) < PREVIEW_ROWS else 0

    def _batch(self, first: int, lines: Lines, tally: Tally | None) -> int:
        """Plain lines are taken together, every other one is examined; returns how many were looked at."""
        if tally is None or self._wanted not in {None, "chat"}:
            tally = without_plain(len(lines))
        elif tally.skipped != self._rows_to_show:
            tally = self.tallying.tally(lines, skip=self._rows_to_show)
        held = Held()
        with self._findings.holding(held):
            examined = self._others(first, lines, tally.others)
            if self._wanted != "chat":  # the first rows were of another method: these are of the wrong kind
                for place in tally.places.tolist():
                    self._line(first + place, lines[place])  # type: ignore[arg-type]  # plain lines are bytes
                tally = without_plain(len(lines))
            elif examined < len(lines):
                tally = self.tallying.tally(lines, skip=tally.skipped, stop=examined)
            if len(tally.places):
                self._plain(first, tally)
        self._findings.take_in(held)
        prints, self._prints = PrintColumns.of(self._prints), []
        prints = tally.prints.numbered(first).merged(prints)
        self._sketch(first, tally, prints.lines)
        self._keep_prints(prints)
        return examined

    def _others(self, first: int, lines: Lines, others: list[int]) -> int:
        """Examine these lines; returns the place of the first that was left out because of too many errors."""
        before = -1
        for place in others:
            if self._findings.errors > self._limits.errors_max:
                return place
            if place > before + 1:
                self._settle()
            line = lines[place]
            if isinstance(line, TooLong):
                self._settle()
                self._findings.add("line-too-long", first + place, f"{line.bytes:,} bytes")
            else:
                self._line(first + place, line)
            before = place
        if before + 1 < len(lines):
            self._settle()
        return len(lines)

    def _settle(self) -> None:
        """A sound line or one that is too long ends what was open before it."""
        self._abandon_torn()
        self._flush_blank()

    def _plain(self, first: int, tally: Tally) -> None:
        for place in tally.returns:
            self._findings.add("crlf", first + place)
        for place, code, detail, pointer in tally.odd:
            self._findings.add(code, first + place, detail, pointer=pointer)
        self._the_rules().take_plain(first, tally)
        self._conversations.take_plain(first, tally)
        self._kinds["chat"] += len(tally.places)
        self._key_sets["messages",] += len(tally.places)

    def _keep_prints(self, prints: PrintColumns) -> None:
        """The fingerprints of a batch, in the order of its lines."""
        if self._fingerprints_out is not None:
            self._fingerprints_out.write(prints.conversations)
        if self._lines_out is not None:
            self._lines_out.frombytes(prints.lines.tobytes())
        self._not_compared += self._fingerprints.add(prints, self._limits.examples_compared_max)

    def _line(self, number: int, line: bytes) -> None:
        if (not line or line.isspace()) and self._torn is None:
            first = number if self._blank is None else self._blank[0]
            self._blank = (first, number)
            if number - first > self._limits.errors_max:
                self._flush_blank()
            return
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            self._unparsed(number, line, error)
            return
        if self._torn is not None and not self._ends_torn(row):
            self._feed_torn(number, line)
            return
        if self._blank is not None:
            self._flush_blank()
        if line.endswith(b"\r"):
            self._findings.add("crlf", number)
        if type(row) is dict:
            compared = len(self._prints)
            self._row(number, line, row)
            if len(self._prints) > compared and (said := near.text_of(row)):
                self._said.append((number, said.encode("utf-8", "surrogatepass")))
        else:
            self._findings.add("row-not-object", number, f"{line[:60].decode('utf-8', 'replace')}")

    def _unparsed(self, number: int, line: bytes, error: orjson.JSONDecodeError) -> None:
        if self._torn is not None:
            self._feed_torn(number, line)
            return
        self._flush_blank()
        defect = syntax.diagnose(line, self._limits.json_depth_max)
        if defect is None:
            defect = syntax.Defect("json-error", f"column {error.colno:,}: {error.msg}")
        if defect.code == "json-error":
            torn = TornObject(number, self._limits.line_bytes_max)
            if torn.feed(line) == "open":
                self._torn = torn
                return
        self._findings.add(defect.code, number, defect.detail)

    def _flush_blank(self) -> None:
        if self._blank is not None:
            self._findings.add_range("blank-line", *self._blank)
            self._blank = None

    # -- objects over several lines ------------------------------------------------------------------------

    def _ends_torn(self, row: Any) -> bool:
        """A line that parses on its own inside a torn object: is it a new row, or a piece of the old one?"""
        if self._torn is None or type(row) is not dict or not (self._torn.in_text or kind_of(row) != "unknown"):
            return False
        self._abandon_torn()
        return True

    def _feed_torn(self, number: int, line: bytes) -> None:
        torn = self._torn
        if torn is None:
            return
        state = torn.feed(line)
        if state == "open":
            return
        if state == "complete":
            joined = torn.joined
            try:
                row = orjson.loads(joined)
            except orjson.JSONDecodeError:
                row = None
            if type(row) is dict:
                self._torn = None
                detail = "one object broken by line breaks in its texts"
                if torn.code == "pretty-printed":
                    detail = "one pretty-printed object"
                self._findings.add_range(torn.code, torn.first, number, detail)
                self._row(torn.first, joined, row)
                return
        self._abandon_torn()

    def _abandon_torn(self) -> None:
        """Its quotes or braces never balanced: each of its lines is named for itself."""
        torn, self._torn = self._torn, None
        if torn is None:
            return
        for number, line in enumerate(torn.lines, torn.first):
            if not line or line.isspace():
                self._findings.add("blank-line", number)
            elif defect := syntax.diagnose(line, self._limits.json_depth_max):
                self._findings.add(defect.code, number, defect.detail)
            else:
                self._findings.add("row-not-object", number, f"{line[:60].decode('utf-8', 'replace')}")

    # -- near duplicates -----------------------------------------------------------------------------------

    def _sketch(self, first: int, tally: Tally, examples: NDArray[np.uint64]) -> None:
        """The texts of a batch, up to those of the last of its `examples` that is compared."""
        room = self._limits.examples_compared_max - self._examples
        self._examples += len(examples)
        last = int(examples[min(room, len(examples)) - 1]) if room > 0 and len(examples) else 0
        self._sketches.take(numbered(tally.sketches, first, last))
        if said := [one for one in self._said if one[0] <= last]:
            self._sketches.add(*zip(*said, strict=True))
        self._said.clear()

    def _report_near(self, repeated: NDArray[np.int64]) -> None:
        """Adds `near-duplicate`; of lines that are `repeated`, everything is told already."""
        if self._sketches_out is not None:
            self._sketches.copy_to(self._sketches_out)
        again = self._again
        if again is None:
            return
        found = near.near_duplicates(
            self._sketches,
            lambda: plain_lines(again(), self._limits.line_bytes_max),
            lines=self._lines,
            without=repeated,
        )
        for line, mate in found.mates.items():
            self._findings.add("near-duplicate", line, f"{mate.similarity:.0%} as line {mate.line:,}")
        if not found.is_all:
            told = f"{CODES['near-duplicate'].meaning} Not all that look alike were compared."
            self._findings.add_file("near-duplicate", told)

    # -- rows ----------------------------------------------------------------------------------------------

    def _row(self, number: int, line: bytes, row: dict[str, Any]) -> None:
        plain = texts.plain_texts(row)
        if plain is None and line.count(b"[") + line.count(b"{") > self._limits.json_depth_max:
            depth = syntax.depth_of(row)
            if depth > self._limits.json_depth_max:
                self._findings.add("too-deep", number, f"{depth} levels")
                return
        messages: Any = row.get("messages")
        kind = "chat" if messages is not None and len(row) == 1 else kind_of(row)
        if kind == "chat" and self._wanted == "reinforcement":
            kind = "reinforcement"
        if self._wanted is None and kind in RULES:
            self._wanted = kind
        conversed = type(messages) is list and bool(messages)
        written = orjson.dumps(row, option=_SORTED)
        if _may_repeat_a_key(line, written):
            defect = syntax.diagnose(line, self._limits.json_depth_max)
            if defect is not None:
                self._findings.add(defect.code, number, defect.detail)
        if texts.suspicions("".join(plain or (text for _, text in texts.strings(row)))):
            for code, detail, pointer in texts.oddities(row):
                self._findings.add(code, number, detail, pointer=pointer)
        for code, detail, pointer in oddities(row):
            self._findings.add(code, number, detail, pointer=pointer)
        self._count_row(number, row, kind)
        if kind == "unknown" or (kind in {"chat", "reinforcement"} and not conversed):
            self._findings.add("no-messages", number, _keys(row), pointer="")
            return
        self._prints.append(_prints(number, row, messages) if conversed else prints_of_row(number, written))
        if kind == self._wanted:
            self._the_rules().examine(number, row)
            self._conversations.take(number, row)

    def _the_rules(self) -> ChatRules:
        if self._rules is None:
            self._rules = RULES[self._wanted or "chat"](self._profile, self._findings)
        return self._rules

    def _count_row(self, number: int, row: dict[str, Any], kind: str) -> None:
        self._kinds[kind] += 1
        if kind not in {self._wanted or "chat", "unknown"}:
            self._findings.add("wrong-kind", number, kind)
        keys = tuple(row)
        if keys in self._key_sets:
            self._key_sets[keys] += 1
        elif len(self._key_sets) < KEY_SETS_MAX and sum(map(len, keys)) < KEY_SET_CHARACTERS_MAX:
            self._key_sets[keys] = 1
        if len(self._preview) < PREVIEW_ROWS:
            self._preview.append(_preview(row))

    # -- the whole -----------------------------------------------------------------------------------------

    def _check_size(self) -> None:
        size, limit = self._content.bytes, self._limits.file_bytes_max
        if size > limit:
            self._findings.add_file("file-too-large", f"The file has {size:,} bytes; Azure accepts {limit:,}.")

    def _format(self) -> tuple[str, str]:
        """What the file was taken for, and why; adds the findings that follow from it."""
        if not self._kinds:
            if not self._findings.with_errors:
                self._findings.add_file("empty-file", "The file holds nothing but empty lines.")
            return "unknown", "No line of it is a JSON object."
        kind, rows = self._kinds.most_common(1)[0]
        total = self._kinds.total()
        names = ", ".join(sorted({key for keys in self._key_sets for key in keys})[:12])[:300]
        wanted = self._wanted or "chat"
        if kind != wanted and self._kinds[wanted] == 0:
            if kind == "unknown":
                self._findings.add_file("no-messages", f"The rows have no messages; their keys are {names}.")
            else:
                self._findings.add_file(
                    "wrong-kind",
                    f"The rows are {KINDS[kind].words}, not {KINDS[wanted].words}.",
                    remedy=KINDS[kind].remedy,
                )
        elif "wrong-kind" in self._findings:
            others = ", ".join(f"{n:,} {KINDS[k].words}" for k, n in self._kinds.most_common() if k != wanted)
            self._findings.add_file("wrong-kind", f"Some rows are not {KINDS[wanted].words}: {others}.")
        elif rows < self._limits.examples_min:
            self._findings.add_file(
                "fewer-than-10-examples",
                f"The file has {rows:,} example{'s' if rows > 1 else ''};"
                f" Azure starts no job with fewer than {self._limits.examples_min}.",
            )
        sets: Counter[tuple[str, ...]] = Counter()
        for keys, count in self._key_sets.items():
            sets[tuple(sorted(keys))] += count
        if len(sets) > 1:
            told = [f"{count:,} rows: {', '.join(keys[:8])[:200]}" for keys, count in sets.most_common(3)]
            self._findings.add_file("mixed-keys", f"The rows have {len(sets)} different sets of keys.", *told)
        return kind, f"{rows:,} of {total:,} rows are {KINDS[kind].words} (keys: {names})."

    def _report(self, kind: str, reason: str) -> Report:
        rules = self._rules
        tokens = rules.token_stats() if rules is not None else TokenStats(tokenizer=self._profile.tokenizer)
        with_images = rules.stats()["with_images"] if rules is not None else 0
        report_totals(self._findings, self._limits, tokens=tokens.total, with_images=with_images)
        findings = self._findings.as_list()
        stats: dict[str, Any] = {
            "lines": self._lines,
            "kinds": dict(self._kinds),
            "key_sets": {", ".join(sorted(keys))[:200]: n for keys, n in self._key_sets.most_common(5)},
        }
        if rules is not None:
            stats |= rules.stats()
        return Report(
            verdict=_verdict(findings, self._kinds[kind], self._limits.examples_min),
            method=METHOD_OF_KIND.get(kind),
            format=kind,
            format_reason=reason,
            examples=self._kinds[kind],
            bytes=self._content.bytes,
            sha256=self._content.sha256,
            tokens=tokens,
            findings=findings,
            preview=self._preview,
            stats=stats,
        )


def _verdict(findings: list[Finding], examples: int, examples_min: int) -> Verdict:
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    if not errors:
        return "ready"
    if not all(finding.fixable for finding in errors):
        return "rejected"
    dropped = sum(finding.count for finding in errors if CODES[finding.code].fix == "drop")
    return "fixable" if examples - dropped >= examples_min else "rejected"


def _prints(number: int, row: dict[str, Any], messages: list[Any]) -> Prints:
    further = {key: row[key] for key in row if key != "messages"}
    return prints_of(number, messages, orjson.dumps(further, option=_SORTED) if further else b"")


def _may_repeat_a_key(line: bytes, written: bytes) -> bool:
    """Whether `line` may hold a key twice; never False for one that does.

    orjson keeps the last of equal keys and says nothing. Written again, such a row has lost at least one
    colon; only an escaped colon could hide that.
    """
    if line.count(b":") != written.count(b":"):
        return True
    return b"\\u003" in line and (b"\\u003a" in line or b"\\u003A" in line)


def _keys(row: dict[str, Any]) -> str:
    if "messages" in row:
        return "messages is empty or not a list"
    return f"keys: {', '.join(list(row)[:8])[:120]}" if row else "an empty object"


def _preview(row: dict[str, Any]) -> dict[str, Any]:
    for cut in _PREVIEW_CUTS:
        shortened: dict[str, Any] = _shortened(row, *cut)
        if len(orjson.dumps(shortened)) <= PREVIEW_BYTES:
            return shortened
    return {"…": "this row is too large to show"}


def _shortened(value: Any, characters: int, items: int, levels: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= characters else value[:characters] + "…"
    if isinstance(value, dict | list) and levels == 0:
        return "…"
    if isinstance(value, dict):
        pairs = islice(value.items(), items)
        return {key[:characters]: _shortened(item, characters, items, levels - 1) for key, item in pairs}
    if isinstance(value, list):
        return [_shortened(item, characters, items, levels - 1) for item in value[:items]]
    return value
