"""A model card: what a run was, for people. Markdown with front matter, or a page that stands alone.

Both tell the same sections. Everything in a record is text from elsewhere, and is escaped.
Source: Hugging Face, model card metadata, 2026 (`base_model`, `datasets`, `tags`, `license` in YAML front matter).
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from typing import Any, Final

from app.exports.record import DataFacts, Record, RunFacts
from app.jobs import analysis
from app.jobs.analysis.page import POLICY, STYLE
from app.jobs.analysis.picture import DARK, LIGHT
from app.jobs.analysis.strokes import clean

POINTS_SHOWN: Final = 12
"""Rows of the curve's table in Markdown; the page draws all."""
_MARKDOWN: Final = re.compile(r"([\\`*_{}\[\]<>()#+!|~&-])")
_BREAKS: Final = re.compile(r"[\r\n\t\x0b\x0c\x1c-\x1f\x85\u2028\u2029]+")
BASE_LICENCE: Final = (
    "The base model is the platform's and is used under its terms of service; its weights, and those of this model,"
    " do not leave the platform."
)
"""Source: Microsoft Product Terms and OpenAI service terms, as of 2026-11; a card is no legal advice."""


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands under it: sentences, then a table."""

    title: str
    text: tuple[str, ...] = ()
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = field(default=())
    is_curve: bool = False


@dataclass(frozen=True)
class Card:
    """The card of one record."""

    record: Record

    @cached_property
    def facts(self) -> RunFacts:
        return self.record.facts()

    @cached_property
    def curve(self) -> analysis.Results:
        return self.record.curve()

    # ── what it tells ───────────────────────────────────────────────────────

    def sections(self) -> list[Section]:
        return [
            Section("What it is", head=("", ""), rows=_pairs(self._identity())),
            Section("Data", text=self._data_notes(), head=_DATA_HEAD, rows=tuple(self._data())),
            Section(
                "Parameters", text=self._parameter_notes(), head=_PARAMETER_HEAD, rows=tuple(self._parameters())
            ),
            Section("The curve", text=self._verdict(), is_curve=True),
            Section("Checkpoints", text=self._none_if(not self._checkpoints()), **self._checkpoint_table()),
            Section("Evaluations", text=("None were made of this model here.",)),
            Section("Costs", text=self._cost_notes(), head=_COST_HEAD, rows=tuple(self._costs())),
            Section("Limits", text=self._limits()),
            Section("Licence", text=self._licences()),
        ]

    def _identity(self) -> Iterator[tuple[str, object]]:
        facts, model = self.facts, self.facts.model or {}
        yield "model", model.get("remote_name") or "none: the run left no model"
        yield "kind", " ".join(str(part) for part in (model.get("kind"), model.get("step")) if part is not None)
        yield "base model", facts.base_model
        yield "method", facts.method
        yield "training type", facts.training_type
        yield "status", facts.status
        yield "made at", "Azure OpenAI, through Kitae" if facts.origin == "kitae" else "OpenAI"
        yield "job", facts.job.get("remote_id") or facts.job.get("id") or facts.id
        yield "created", facts.created_at and facts.created_at.strftime("%Y-%m-%d %H:%M UTC")
        yield "finished", facts.finished_at and facts.finished_at.strftime("%Y-%m-%d %H:%M UTC")

    def _known_data(self) -> Iterator[tuple[str, DataFacts]]:
        for role, facts in self.facts.data.items():
            if facts is not None:
                yield role, facts

    def _data(self) -> Iterator[tuple[str, ...]]:
        for role, facts in self._known_data():
            counts = (_count(facts.examples), _count(facts.tokens))
            yield (role, f"{facts.dataset}@{facts.number}", *counts, facts.content_sha256 or facts.sha256)

    def _data_notes(self) -> tuple[str, ...]:
        notes = []
        if self.facts.data.get("training") is None:
            notes.append("What it was trained on is not known.")
        if self.facts.data.get("validation") is None:
            notes.append("There was no validation data, or it is not known.")
        notes += [
            f"The {role} data came from: {facts.lineage['source']}."
            for role, facts in self._known_data()
            if isinstance(facts.lineage.get("source"), str)
        ]
        return tuple(notes)

    def _parameters(self) -> Iterator[tuple[str, ...]]:
        facts = self.facts
        told = {str(choice.get("setting")): choice for choice in facts.choices}
        names = sorted({*told, *facts.hyperparameters, *facts.used_hyperparameters})
        for name in names:
            choice = told.get(name, {})
            value = facts.hyperparameters.get(name, choice.get("value"))
            by = choice.get("by") or ("caller" if name in facts.hyperparameters else "platform")
            used = facts.used_hyperparameters.get(name)
            yield (name, _value(value), _value(used), str(by), str(choice.get("reason") or ""))

    def _parameter_notes(self) -> tuple[str, ...]:
        seed = f"Seed {self.facts.seed}." if self.facts.seed is not None else "No seed was chosen."
        return (seed, f"Trained tokens: {_count(self.facts.trained_tokens)}.")

    def _verdict(self) -> tuple[str, ...]:
        judged = self.record.json("analysis.json")
        if not isinstance(judged, dict):
            return ("Nobody judged this curve.",) if self.curve.points else ("There is no curve.",)
        said = [judged.get("headline"), judged.get("best_reason")]
        return tuple(str(line) for line in said if line)

    def _checkpoints(self) -> list[dict[str, Any]]:
        found = self.record.json("checkpoints.json")
        return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []

    @staticmethod
    def _none_if(empty: bool) -> tuple[str, ...]:  # noqa: FBT001  its name says what it means
        return ("None.",) if empty else ()

    def _checkpoint_table(self) -> dict[str, Any]:
        rows = tuple(
            (_value(item.get("step")), _value(item.get("model_name")), _metrics(item.get("metrics")))
            for item in self._checkpoints()
        )
        return {"head": ("step", "model", "measured"), "rows": rows}

    def _cost_notes(self) -> tuple[str, ...]:
        cost = self.facts.cost_usd
        if cost is None:
            return ("What the training cost is not known.",)
        by = "our own book, from list prices; the invoice is the truth"
        return (f"The training cost ${cost} ({by}).",)

    def _costs(self) -> Iterator[tuple[str, ...]]:
        for line in self.record.json("ledger.json") or []:
            if isinstance(line, dict):
                yield tuple(_value(line.get(name)) for name in ("created_at", "kind", "amount_usd", "note"))

    def _limits(self) -> tuple[str, ...]:
        base = self.record.json("catalogue.json")
        if not isinstance(base, dict):
            return ("The catalogue knew nothing of the base model when this was written.",)
        notes = [
            f"{label}: {_count(base.get(name))}."
            for label, name in (
                ("Tokens in one training example, at most", "tokens_per_example"),
                ("Tokens it reads, at most", "context_input_tokens"),
                ("Tokens it answers, at most", "context_output_tokens"),
            )
        ]
        notes += [
            f"Ends ({item.get('kind')}): {item.get('on')}, says {item.get('source')}."
            for item in base.get("retirements") or []
            if isinstance(item, dict)
        ]
        return (*notes, f"Source: {base.get('source')}.")

    def _licences(self) -> tuple[str, ...]:
        notes = [BASE_LICENCE]
        for role, facts in self._known_data():
            said = {str(key): value for key, value in facts.labels.items() if "licen" in str(key).lower()}
            told = "; ".join(f"{key}: {value}" for key, value in said.items()) or "nobody labelled it"
            notes.append(f"Licence of the {role} data {facts.dataset}@{facts.number}: {told}.")
        return tuple(notes)

    # ── how it looks ────────────────────────────────────────────────────────

    def markdown(self) -> str:
        """The same bytes for the same record."""
        parts = [self._front_matter(), f"# {_md(self.facts.name)}", ""]
        for section in self.sections():
            parts += [f"## {section.title}", ""]
            parts += [line for text in section.text for line in (_md(text), "")]
            head, rows = section.head, section.rows
            if section.is_curve:
                head, rows = ("step", *self.curve.columns), tuple(self._points())
            if rows:
                parts += [*_md_table(head, rows), ""]
        return "\n".join(parts)

    def _front_matter(self) -> str:
        """YAML whose every value is a JSON string, which YAML reads as it is."""
        facts = self.facts
        lines = ["---", f"base_model: {_yaml(facts.base_model)}", "library_name: azure-openai", "license: other"]
        lines += ["license_name: platform-terms", "tags:"]
        lines += [f"  - {_yaml(tag)}" for tag in ("fine-tuned", facts.method, "kitae")]
        known = [f"{data.dataset}@{data.number}" for _, data in self._known_data()]
        if known:
            lines += ["datasets:", *(f"  - {_yaml(name)}" for name in known)]
        return "\n".join([*lines, "---", ""])

    def _points(self) -> Iterator[tuple[str, ...]]:
        points = self.curve.points
        every = max(1, -(-len(points) // POINTS_SHOWN))
        shown = [point for at, point in enumerate(points) if at % every == 0 or at == len(points) - 1]
        for point in shown:
            yield (str(point.step), *(_value(point.values.get(name)) for name in self.curve.columns))

    def html(self) -> str:
        """A page without scripts that needs nothing from elsewhere."""
        title = escape(clean(self.facts.name) or "Model card")
        parts = [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{title}</title><style>{STYLE}</style></head><body>",
            f"<header><h1>{title}</h1><p class=quiet>Model card</p></header><main>",
        ]
        for section in self.sections():
            parts.append(f"<h2>{escape(section.title)}</h2>")
            parts += [f"<p>{_html(text)}</p>" for text in section.text]
            if section.is_curve and self.curve.points:
                parts += self._figures()
            if section.rows:
                parts.append(_html_table(section.head, section.rows))
        return "\n".join([*parts, "</main></body></html>", ""])

    def _figures(self) -> Iterator[str]:
        for name, palette in (("light", LIGHT), ("dark", DARK)):
            drawn = analysis.chart_svg(self.curve, title=self.facts.name, width=860, height=440, palette=palette)
            yield f"<figure class={name}>{drawn}</figure>"


_DATA_HEAD: Final = ("role", "version", "examples", "tokens", "SHA-256 of the content")
_PARAMETER_HEAD: Final = ("setting", "asked for", "trained with", "chosen by", "why")
_COST_HEAD: Final = ("when", "what", "US$", "for")


def _pairs(pairs: Iterator[tuple[str, object]]) -> tuple[tuple[str, ...], ...]:
    return tuple((name, str(value)) for name, value in pairs if value)


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else "not known"


def _value(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _metrics(value: Any) -> str:
    if not isinstance(value, dict):
        return ""
    return ", ".join(f"{name} {_value(measured)}" for name, measured in sorted(value.items()))


def _md(text: str) -> str:
    """One line of Markdown that shows exactly this text."""
    return _MARKDOWN.sub(r"\\\1", _BREAKS.sub(" ", clean(text)))


def _md_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(_md(cell) for cell in cells)} |"

    return [line(head), f"|{'---|' * len(head)}", *(line(row) for row in rows)]


def _yaml(text: str) -> str:
    return json.dumps(_BREAKS.sub(" ", clean(text)))


def _html(text: str) -> str:
    return escape(clean(text))


def _html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        return f"<tr>{''.join(f'<{tag}>{_html(cell)}</{tag}>' for cell in cells)}</tr>"

    titles = row(head, "th") if any(head) else ""
    return f"<table>{titles}{''.join(row(cells, 'td') for cells in rows)}</table>"
