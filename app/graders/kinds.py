"""The kinds of graders as values, read from OpenAI's JSON with every fault named.

It must not know where a grader came from nor what it grades. Members: v1 OpenAPI, 2026-02-02 (GraderStringCheck,
GraderTextSimilarity, GraderScoreModel, GraderPython, GraderMulti).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from app.graders.facts import grader_facts
from app.graders.faults import Fault, GraderFault
from app.graders.formulas import BadFormula, names_in
from app.graders.python_source import BadSource, ReadSource, read
from app.graders.templates import references_in

NAME_CHARACTERS_MAX: Final = 200
"""Ours; Azure names no limit."""
GRADERS_MAX: Final = 20
"""Ours: parts of one `multi` grader."""
MESSAGES_MAX: Final = 50
"""Ours: messages of one `score_model` grader."""
_ROLES: Final = ("system", "developer", "user", "assistant")
"""Source: v1 OpenAPI, 2026-02-02, EvalItem."""
_KNOWN: Final[Mapping[str, tuple[str, ...]]] = {
    "string_check": ("input", "reference", "operation"),
    "text_similarity": ("input", "reference", "evaluation_metric", "pass_threshold"),
    "score_model": ("model", "input", "range", "pass_threshold", "sampling_params"),
    "python": ("source", "image_tag", "pass_threshold"),
    "multi": ("graders", "calculate_output"),
}
"""Members of each kind beside `type` and `name`."""
_NOT_HERE: Final = {
    "label_model": "label_model graders belong to evaluations; a training takes a score_model instead.",
    "endpoint": "endpoint graders are a private preview of Azure; they cannot be checked here.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StringCheck:
    """1 when the comparison holds, else 0."""

    name: str
    input: str
    reference: str
    operation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSimilarity:
    """How alike two texts are, 0 to 1."""

    name: str
    input: str
    reference: str
    evaluation_metric: str
    pass_threshold: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    role: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreModel:
    """A number that another model answers."""

    name: str
    model: str
    """The id, whatever alias was given."""
    input: tuple[Message, ...]
    range: tuple[float, float]
    pass_threshold: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Python:
    """A number that code gives. The code is never run here."""

    name: str
    source: str
    read: ReadSource
    image_tag: str | None
    pass_threshold: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Multi:
    """A formula over other graders."""

    name: str
    graders: Mapping[str, "StringCheck | TextSimilarity | ScoreModel | Python"]
    calculate_output: str
    uses: frozenset[str]
    """Names of the graders that the formula uses."""


Part = StringCheck | TextSimilarity | ScoreModel | Python
Grader = Part | Multi


def parse(config: object, *, at: str = "/grader") -> Grader:
    """The grader.

    Args:
        config: as JSON gave it.
        at: pointer to it, with which every fault's pointer begins.

    Raises:
        GraderFault: with everything that is wrong.
    """
    reader = _Reader()
    grader = reader.grader(config, at, nested=False)
    if reader.faults or grader is None:
        raise GraderFault(reader.faults)
    return grader


class _Reader:
    """Reads on after a fault, so that all are told at once; what is faulty reads as something harmless."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self._facts = grader_facts()

    def _fault(self, pointer: str, code: str, detail: str) -> None:
        self.faults.append(Fault(pointer, code, detail))

    def grader(self, config: object, at: str, *, nested: bool) -> Grader | None:
        if not isinstance(config, dict):
            self._fault(at, "grader-type", "A grader is a JSON object.")
            return None
        kind = config.get("type")
        known = [name for name in _KNOWN if not (nested and name == "multi")]
        if kind not in known:
            said = "It has no type" if kind is None else f"There is no grader of type {str(kind)[:60]!r} here"
            reason = _NOT_HERE.get(kind) if isinstance(kind, str) else None
            self._fault(f"{at}/type", "grader-type", reason or f"{said}; there are {', '.join(known)}.")
            return None
        for name in config:
            if name not in {"type", "name", *_KNOWN[kind]}:
                self._fault(
                    f"{at}/{_escaped(name)}", "grader-member", f"A {kind} grader has no member {name[:60]!r}."
                )
        name = self._text(config, "name", at, most=NAME_CHARACTERS_MAX)
        match kind:
            case "string_check":
                return self._string_check(config, name, at)
            case "text_similarity":
                return self._similarity(config, name, at)
            case "score_model":
                return self._score(config, name, at)
            case "python":
                return self._python(config, name, at)
            case _:
                return self._multi(config, name, at)

    def _string_check(self, config: Mapping[str, Any], name: str, at: str) -> StringCheck:
        given, reference = self._template(config, "input", at), self._template(config, "reference", at)
        operation = self._word(config, "operation", self._facts.operations.values, at)
        return StringCheck(name=name, input=given, reference=reference, operation=operation)

    def _similarity(self, config: Mapping[str, Any], name: str, at: str) -> TextSimilarity:
        return TextSimilarity(
            name=name,
            input=self._template(config, "input", at),
            reference=self._template(config, "reference", at),
            evaluation_metric=self._word(config, "evaluation_metric", self._facts.metrics.values, at),
            pass_threshold=self._threshold(config, at),
        )

    def _score(self, config: Mapping[str, Any], name: str, at: str) -> ScoreModel:
        model = self._text(config, "model", at)
        judge = self._facts.judge(model) if model else None
        if model and judge is None:
            known = ", ".join(judge.id for judge in self._facts.judges)
            source = self._facts.judges[0].source
            self._fault(
                f"{at}/model", "grader-model", f"{model[:60]!r} does not grade at Azure; {known} do ({source})."
            )
        sampling = config.get("sampling_params")
        if sampling is not None and not isinstance(sampling, dict):
            self._fault(f"{at}/sampling_params", "grader-member", "sampling_params is a JSON object.")
        return ScoreModel(
            name=name,
            model=judge.id if judge else model,
            input=self._messages(config.get("input"), f"{at}/input"),
            range=self._range(config.get("range", [0, 1]), f"{at}/range"),
            pass_threshold=self._threshold(config, at),
        )

    def _messages(self, value: object, at: str) -> tuple[Message, ...]:
        if not isinstance(value, list) or not value or len(value) > MESSAGES_MAX:
            self._fault(
                at, "grader-input", f"The input of a score_model is a list of 1 to {MESSAGES_MAX} messages."
            )
            return ()
        return tuple(
            message
            for index, item in enumerate(value)
            if (message := self._message(item, f"{at}/{index}")) is not None
        )

    def _message(self, item: object, at: str) -> Message | None:
        if not isinstance(item, dict) or item.get("role") not in _ROLES:
            self._fault(
                at, "grader-input", f"A message has a role ({', '.join(_ROLES)}) and a content that is a text."
            )
            return None
        text = _content(item.get("content"))
        if text is None:
            self._fault(f"{at}/content", "grader-input", "The content is a text, or parts of type input_text.")
            return None
        self._check_references(text, f"{at}/content")
        return Message(role=item["role"], text=text)

    def _range(self, value: object, at: str) -> tuple[float, float]:
        if isinstance(value, list) and len(value) == 2 and all(map(_is_number, value)) and value[0] < value[1]:
            return float(value[0]), float(value[1])
        self._fault(at, "grader-range", "The range is two numbers, the lower one first, such as [0, 1].")
        return 0.0, 1.0

    def _python(self, config: Mapping[str, Any], name: str, at: str) -> Python:
        source = self._text(config, "source", at)
        found = ReadSource(frozenset(), frozenset(), frozenset())
        size, most = len(source.encode("utf-8", "replace")), self._facts.python_source_bytes
        if size > most:
            self._fault(
                f"{at}/source",
                "grader-source",
                f"The source has {size:,} bytes; Azure takes {most:,} ({self._facts.python_source}).",
            )
        elif source:
            try:
                found = read(source)
            except BadSource as error:
                self._fault(f"{at}/source", "grader-source", f"The source cannot grade: {error}.")
        tag = config.get("image_tag")
        if tag is not None and (not isinstance(tag, str) or not tag):
            self._fault(f"{at}/image_tag", "grader-member", "image_tag is a text such as 2025-05-08.")
            tag = None
        threshold = self._threshold(config, at)
        return Python(name=name, source=source, read=found, image_tag=tag, pass_threshold=threshold)

    def _multi(self, config: Mapping[str, Any], name: str, at: str) -> Multi:
        given = config.get("graders")
        parts: dict[str, Part] = {}
        if not isinstance(given, dict) or not 1 <= len(given) <= GRADERS_MAX:
            self._fault(
                f"{at}/graders", "grader-graders", f"graders is an object of 1 to {GRADERS_MAX} graders by name."
            )
            given = {}
        for key, item in given.items():
            where = f"{at}/graders/{_escaped(key)}"
            if not key.isidentifier() or not key.isascii():
                self._fault(
                    where, "grader-name", f"A formula cannot use the name {key[:60]!r}: letters, digits, _."
                )
            part = self.grader(item, where, nested=True)
            if part is not None and not isinstance(part, Multi):
                parts[key] = part
        formula = self._text(config, "calculate_output", at)
        uses = self._uses(formula, set(given), f"{at}/calculate_output") if formula else frozenset()
        return Multi(name=name, graders=parts, calculate_output=formula, uses=uses)

    def _uses(self, formula: str, names: set[str], at: str) -> frozenset[str]:
        try:
            uses = names_in(formula, frozenset(self._facts.functions.values))
        except BadFormula as error:
            self._fault(at, "grader-formula", f"The formula cannot be computed: {error}.")
            return frozenset()
        unknown = sorted(uses - names)
        if unknown:
            self._fault(
                at, "grader-formula", f"The formula names {', '.join(unknown)[:200]}, which is none of its graders."
            )
        return uses

    # ── members ─────────────────────────────────────────────────────────────

    def _text(self, config: Mapping[str, Any], name: str, at: str, *, most: int | None = None) -> str:
        value = config.get(name)
        if isinstance(value, str) and value and (most is None or len(value) <= most):
            return value
        limit = f" of at most {most} characters" if most else ""
        self._fault(f"{at}/{name}", "grader-member", f"{name} is a text{limit} and not empty.")
        return ""

    def _template(self, config: Mapping[str, Any], name: str, at: str) -> str:
        text = self._text(config, name, at)
        self._check_references(text, f"{at}/{name}")
        return text

    def _check_references(self, text: str, at: str) -> None:
        for written, path in references_in(text):
            if path is None:
                self._fault(at, "grader-reference", f"{{{{ {written[:60]} }}}} cannot be read as a reference.")
            elif path[0] not in {"item", "sample"} or len(path) < 2:
                self._fault(
                    at,
                    "grader-reference",
                    f"Nothing fills {{{{ {written[:60]} }}}}: a reference names a field of the row (item.…) or of "
                    "the answer (sample.…).",
                )
            elif path[0] == "sample" and path[1] not in self._facts.sample_members.values:
                known = ", ".join(f"sample.{member}" for member in self._facts.sample_members.values)
                self._fault(at, "grader-reference", f"Nothing fills {{{{ {written[:60]} }}}}; there are {known}.")

    def _word(self, config: Mapping[str, Any], name: str, known: tuple[str, ...], at: str) -> str:
        value = config.get(name)
        if isinstance(value, str) and value in known:
            return value
        said = "It is missing" if value is None else f"There is no {str(value)[:60]!r}"
        self._fault(f"{at}/{name}", f"grader-{name.replace('_', '-')}", f"{said}; there are {', '.join(known)}.")
        return known[0]

    def _threshold(self, config: Mapping[str, Any], at: str) -> float | None:
        value = config.get("pass_threshold")
        if value is None:
            return None
        if not _is_number(value):
            self._fault(f"{at}/pass_threshold", "grader-member", "pass_threshold is a number.")
            return None
        return float(value)


def _content(value: object) -> str | None:
    """The text of a message: a text, one part, or a list of them. Source: v1 OpenAPI, EvalItemContent."""
    if isinstance(value, str):
        return value or None
    parts = value if isinstance(value, list) else [value]
    texts = [part if isinstance(part, str) else part.get("text") for part in parts if isinstance(part, str | dict)]
    if len(texts) != len(parts) or not all(isinstance(text, str) for text in texts):
        return None
    return "".join(str(text) for text in texts) or None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _escaped(name: str) -> str:
    """One part of an RFC 6901 pointer."""
    return name[:60].replace("~", "~0").replace("/", "~1")
