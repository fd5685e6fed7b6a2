"""From a request to a generation's material, kept as JSON in its row, and from there to its kind."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from app.datasets.engine.tokens import counter
from app.generation.craft.documents import Chunk, Documents, chunks_of
from app.generation.craft.facts import Name
from app.generation.craft.kinds import Kind
from app.generation.craft.operations import Operation, Unusable, names_in, operations_of
from app.generation.craft.paraphrases import Pair, Paraphrases, pair_of
from app.generation.craft.scripts import key_of
from app.generation.craft.styles import Style, shipped
from app.generation.craft.tool_use import ToolCalls
from app.generation.schemas import (
    ANSWER_MAX,
    QUESTION_MAX,
    FromDocuments,
    OwnStyle,
    Paraphrase,
    QuestionAnswer,
    ToolUse,
)
from app.kit.errors import FieldError, Invalid

CHUNKS_MAX = 500
"""Chunks of all documents of one generation."""
OPERATIONS_MAX = 128
"""Tools that one example may carry. Source: Microsoft Learn, function calling with Azure OpenAI, 2026 (128)."""

TOOLS_BYTES_MAX = 250_000
"""Of all tools together as JSON. Each row repeats them, and one of more than about 65,000 tokens trains no model.
Source: app/azure/catalogue/models.json, `tokens_per_example`."""


def _wrong(pointer: str, code: str, detail: str, *, hint: str = "") -> Invalid:
    return Invalid(detail, code=code, hint=hint, errors=[FieldError(pointer=pointer, detail=detail, code=code)])


# ── from a request ──────────────────────────────────────────────────────────


def of_paraphrases(wanted: Paraphrase, pairs: Sequence[QuestionAnswer]) -> dict[str, Any]:
    """Raises `Invalid` where pairs contradict each other or a style is not there."""
    declared = [Name(one.name, tuple(one.also)) for one in wanted.names]
    answers: dict[str, int] = {}
    kept = []
    for at, pair in enumerate(pairs):
        first = answers.setdefault(key_of(pair.question), at)
        if first != at and pairs[first].answer != pair.answer:
            raise _wrong(
                f"/source/pairs/{at}/question",
                "conflicting_answer",
                f"Pair {at} asks what pair {first} asks, and has another answer.",
                hint="Decide for one of the answers, or make the questions differ.",
            )
        if first == at:
            found = pair_of(pair.question, pair.answer, declared)
            kept.append(
                {
                    "question": pair.question,
                    "answer": pair.answer,
                    "names": [[n.full, *n.also] for n in found.names],
                }
            )
    return {
        "pairs": kept,
        "styles": [_style(one, at) for at, one in enumerate(wanted.styles or list(shipped()))],
        "wanted": wanted.phrasings,
        "system": wanted.system,
        "include_pairs": wanted.include_pairs,
    }


def _style(wanted: str | OwnStyle, at: int) -> dict[str, Any]:
    if isinstance(wanted, OwnStyle):
        return {"name": wanted.name, "descriptions": {"en": wanted.description}, "needs": wanted.needs}
    found = shipped().get(wanted)
    if found is None:
        raise _wrong(
            f"/source/styles/{at}",
            "unknown_style",
            f"There is no style {wanted!r}; there are: {', '.join(shipped())}.",
            hint="Give an object with `name` and `description` for a style of your own.",
        )
    return {
        "name": found.name,
        "descriptions": dict(found.descriptions),
        "needs": list(found.needs),
        "only_with": found.only_with,
        "languages": list(found.languages),
        "most": found.most,
        "near": found.near,
    }


def of_tool_use(wanted: ToolUse) -> dict[str, Any]:
    """Raises `Invalid` where the document, or a named operation, cannot be used."""
    try:
        there = dict.fromkeys(names_in(wanted.openapi))
        asked = dict.fromkeys(wanted.operations or list(there)[:OPERATIONS_MAX])
        unknown = [name for name in asked if name not in there]
        if unknown:
            raise _wrong(
                "/source/operations",
                "unknown_operation",
                f"The document has no operation {unknown[0]!r}; it has: {', '.join(list(there)[:20])}.",
            )
        chosen = operations_of(wanted.openapi, list(asked))
    except Unusable as error:
        raise _wrong("/source/openapi", "openapi_unusable", f"The document cannot be used: {error}.") from error
    size = len(orjson.dumps([one.tool for one in chosen]))
    if size > TOOLS_BYTES_MAX:
        raise _wrong(
            "/source/operations",
            "tools_too_long",
            f"As tools the {len(chosen)} operations are {size:,} bytes; each row holds all of them, "
            f"{TOOLS_BYTES_MAX:,} at most.",
            hint="Name fewer operations.",
        )
    return {
        "operations": [
            {
                "name": one.name,
                "description": one.description,
                "parameters": dict(one.parameters),
                "path": one.path,
                "method": one.method,
            }
            for one in chosen
        ],
        "wanted": wanted.conversations,
        "language": wanted.language,
        "system": wanted.system,
    }


def of_documents(wanted: FromDocuments, tokenizer: str) -> dict[str, Any]:
    """Raises `Invalid` when there is nothing to ask about, or too much."""
    count = counter(tokenizer).one
    chunks: list[Chunk] = []
    for at, document in enumerate(wanted.documents):
        made = chunks_of(
            document.name,
            document.text,
            tokens_max=wanted.chunk_tokens,
            overlap_tokens=wanted.overlap_tokens,
            count=count,
        )
        if not made:
            raise _wrong(f"/source/documents/{at}/text", "empty_document", f"{document.name!r} has no text.")
        chunks += made
    if len(chunks) > CHUNKS_MAX:
        raise _wrong(
            "/source/documents",
            "too_many_chunks",
            f"The documents make {len(chunks)} chunks; one generation takes {CHUNKS_MAX}.",
            hint="Make chunks larger, or ask for the documents in several generations.",
        )
    return {
        "chunks": [[one.document, list(one.headings), one.number, one.text] for one in chunks],
        "wanted": wanted.questions,
        "system": wanted.system,
    }


def pairs_in(content: Sequence[bytes]) -> list[QuestionAnswer]:
    """Of chat examples the last answered question, with its answer; none that is longer than a pair may be."""
    found: list[QuestionAnswer] = []
    for line in content:
        told = question_and_answer(line)
        if told is not None and len(told[0]) <= QUESTION_MAX and len(told[1]) <= ANSWER_MAX:
            found.append(QuestionAnswer(question=told[0], answer=told[1]))
    return found


def question_and_answer(line: bytes) -> tuple[str, str] | None:
    """The last text of a user that an assistant answers with text, in a supervised or preference example."""
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(row, dict):
        return None
    messages = row.get("messages")
    asked = row.get("input")
    if messages is None and isinstance(asked, dict):
        messages = [*_messages(asked.get("messages")), *_messages(row.get("preferred_output"))]
    question = answer = None
    for message in _messages(messages):
        role, content = message.get("role"), message.get("content")
        if not isinstance(content, str) or not content.strip():
            continue
        if role == "user":
            question, answer = content, None
        elif role == "assistant" and question is not None:
            answer = content
    return (question, answer) if question is not None and answer is not None else None


def _messages(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


# ── from a row ──────────────────────────────────────────────────────────────


def kind_of(kind: str, material: Mapping[str, Any]) -> Kind:
    """The kind that a generation's row holds."""
    if kind == "paraphrases":
        return Paraphrases(
            pairs=[
                Pair(
                    one["question"],
                    one["answer"],
                    tuple(Name(full, tuple(also)) for full, *also in one["names"]),
                )
                for one in material["pairs"]
            ],
            styles=[
                Style(
                    name=one["name"],
                    descriptions=one["descriptions"],
                    needs=tuple(one["needs"]),
                    only_with=one.get("only_with"),
                    languages=tuple(one.get("languages", ())),
                    most=one.get("most"),
                    near=one.get("near", False),
                )
                for one in material["styles"]
            ],
            wanted=material["wanted"],
            system=material["system"],
            with_seeds=material["include_pairs"],
        )
    if kind == "tool_use":
        return ToolCalls(
            operations=[Operation(**one) for one in material["operations"]],
            wanted=material["wanted"],
            language=material["language"],
            system=material["system"],
        )
    return Documents(
        chunks=[
            Chunk(document, tuple(headings), number, text)
            for document, headings, number, text in material["chunks"]
        ],
        wanted=material["wanted"],
        system=material["system"],
    )
