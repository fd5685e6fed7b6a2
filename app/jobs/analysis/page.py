"""Tells one training on a page that stands alone: no script, nothing from elsewhere, light and dark, fit for paper.

Everything that is not written here is text and is escaped: names come from users and from Azure.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

from app.jobs.analysis.comparison import Value
from app.jobs.analysis.findings import Analysis, CheckpointPoint
from app.jobs.analysis.picture import DARK, LIGHT
from app.jobs.analysis.results import Results
from app.jobs.analysis.strokes import clean
from app.jobs.analysis.svg import chart_svg

STYLE: Final = """
:root { color-scheme: light dark; --paper: #fff; --ink: #0f172a; --quiet: #52607a; --line: #dde3ec; --soft: #f5f7fb;
  --good: #047857; --bad: #b45309; }
@media (prefers-color-scheme: dark) { :root { --paper: #0b1220; --ink: #e8edf5; --quiet: #9fb0c8; --line: #26334a;
  --soft: #131d31; --good: #34d399; --bad: #fbbf24; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 2.5rem 1.5rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Hiragino Sans", "Noto Sans JP",
  "Noto Sans CJK JP", sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .35rem; }
h2 { font-size: 1.05rem; margin: 2.2rem 0 .6rem; }
p { margin: .4rem 0; }
.quiet, dt, th, small { color: var(--quiet); font-weight: 400; }
.verdict { display: inline-block; border: 1.5px solid var(--bad); color: var(--bad); border-radius: 99px;
  padding: .1rem .8rem; font-weight: 600; font-size: .9rem; }
.verdict.good { border-color: var(--good); color: var(--good); }
.headline { font-size: 1.15rem; margin: .9rem 0 .3rem; }
.next { border-left: 4px solid var(--good); background: var(--soft); padding: .8rem 1.1rem;
  border-radius: 0 8px 8px 0; }
pre { background: var(--soft); border: 1px solid var(--line); border-radius: 8px; padding: .7rem .9rem;
  margin: .6rem 0 0; overflow-x: auto; white-space: pre-wrap; font: 13px/1.5 ui-monospace, SFMono-Regular, Menlo,
  Consolas, monospace; }
figure { margin: 0; } figure svg { width: 100%; height: auto; display: block; }
.dark { display: none; }
@media (prefers-color-scheme: dark) { .light { display: none; } .dark { display: block; } }
ul { margin: .3rem 0; padding-left: 1.2rem; } li { margin: .3rem 0; }
.groups { display: grid; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); gap: 0 2.5rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: .2rem 0; }
dd { margin: 0; text-align: right; font-variant-numeric: tabular-nums; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .25rem .6rem .25rem 0;
  border-bottom: 1px solid var(--line); } td.figure,
  th.figure { text-align: right; font-variant-numeric: tabular-nums; }
@media print { :root { --paper: #fff; --ink: #000; --quiet: #444; --line: #bbb; --soft: #f6f6f6; }
  body { max-width: none; padding: 0; font-size: 11pt; } .light { display: block; } .dark { display: none; }
  h2 { break-after: avoid; } figure, .next, dl, tr { break-inside: avoid; } }
"""
_DIGEST: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY: Final = f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'"
"""Content security policy of the page, also inside it: only its own style sheet, known by its digest."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the page tells besides the judgement.

    Args:
        title: of the training.
        subtitle: a line under it.
        facts: heading → name → value; empty groups and missing values are left out.
    """

    title: str
    subtitle: str
    facts: Mapping[str, Mapping[str, Value]]


def page_html(told: Told, judged: Analysis, results: Results, checkpoints: Sequence[CheckpointPoint] = ()) -> str:
    """The whole page. The same input makes the same bytes."""
    title = clean(told.title) or "Training"
    good = " good" if judged.verdict.value == "converged" else ""
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>",
        f"<header><h1>{escape(title)}</h1><p class=quiet>{_text(told.subtitle)}</p></header>",
        f"<main><p><span class='verdict{good}'>{_text(judged.verdict.value.replace('_', '-'))}</span></p>",
        f"<p class=headline>{_text(judged.headline)}</p>",
        f"<p class=quiet>Confidence: {judged.confidence.level}. {_text(judged.confidence.why)}</p>",
        "<h2>The curve</h2>",
        _figures(title, results, checkpoints),
        f"<p class=quiet>{_text(judged.best_reason)}</p>",
        "<h2>What to try next</h2>",
        _experiment(judged),
        "<h2>What the verdict rests on</h2>",
        _list(item.text for item in judged.evidence),
        "<h2>Advice</h2>",
        _list_of_advice(judged),
        _groups(told.facts),
        _checkpoints(checkpoints),
        _warnings(results),
        "</main></body></html>",
        "",
    ]
    return "\n".join(part for part in parts if part)


def _figures(title: str, results: Results, checkpoints: Sequence[CheckpointPoint]) -> str:
    pictures = []
    for name, palette in (("light", LIGHT), ("dark", DARK)):
        drawn = chart_svg(results, title=title, width=860, height=440, checkpoints=checkpoints, palette=palette)
        pictures.append(f"<figure class={name}>{drawn}</figure>")
    return "\n".join(pictures)


def _experiment(judged: Analysis) -> str:
    experiment = judged.next_experiment.to_json()
    post: dict[str, Any] = {"job": experiment["job"]}
    if experiment["dataset"] is not None:
        post["dataset"] = experiment["dataset"]
    shown = f"<pre>{escape(json.dumps(post, indent=2))}</pre>"
    has_more = bool(judged.next_experiment.hyperparameters or judged.next_experiment.operations)
    return (
        f"<div class=next><p><strong>{_text(judged.next_experiment.action)}</strong></p>"
        f"<p>{_text(judged.next_experiment.why)}</p>{shown if has_more else ''}</div>"
    )


def _list_of_advice(judged: Analysis) -> str:
    items = [
        f"<li>{_text(item.action)} {_text(item.why)}<br><small>{_text(item.source)}</small></li>"
        for item in judged.advice
    ]
    return f"<ul>{''.join(items)}</ul>" if items else ""


def _list(texts: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{_text(text)}</li>' for text in texts)}</ul>"


def _groups(facts: Mapping[str, Mapping[str, Value]]) -> str:
    sections = []
    for heading, group in facts.items():
        rows = [
            f"<dt>{_text(name.replace('_', ' '))}</dt><dd>{_text(_value(value))}</dd>"
            for name, value in group.items()
            if value is not None
        ]
        if rows:
            sections.append(f"<section><h2>{_text(heading.capitalize())}</h2><dl>{''.join(rows)}</dl></section>")
    return f"<div class=groups>{''.join(sections)}</div>"


def _checkpoints(checkpoints: Sequence[CheckpointPoint]) -> str:
    if not checkpoints:
        return ""
    rows = "".join(
        f"<tr><td class=figure>{point.step:,}</td><td class=figure>{_text(_value(point.full_valid_loss))}</td>"
        f"<td>{_text(point.id)}</td></tr>"
        for point in checkpoints
    )
    return (
        "<h2>Checkpoints</h2><table><thead><tr><th class=figure>step</th><th class=figure>validation loss</th>"
        f"<th>at Azure</th></tr></thead><tbody>{rows}</tbody></table>"
    )


def _warnings(results: Results) -> str:
    return f"<h2>While reading</h2>{_list(results.warnings)}" if results.warnings else ""


def _value(value: Value) -> str:
    if isinstance(value, bool) or value is None:
        return "" if value is None else str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else value


def _text(text: str) -> str:
    """Escaped, and without control characters."""
    return escape(clean(text))
