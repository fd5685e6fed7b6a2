"""The strokes of our pictures: SVG elements with presentation attributes only, and text that fits."""

import unicodedata
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from app.jobs.analysis.picture import Palette

FONTS: Final = (
    "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'Hiragino Sans', 'Noto Sans JP', "
    "'Noto Sans CJK JP', 'Yu Gothic UI', Meiryo, sans-serif"
)


def opening(width: int, height: int, label: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" aria-label={quoteattr(label)} '
        f'font-family="{FONTS}" font-size="11.5">'
    )


def card(width: int, height: int, palette: Palette) -> str:
    return (
        f'<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="10" fill="{palette.paper}" '
        f'stroke="{palette.border}"/>'
    )


def cross(x: float, y: float, colour: str) -> str:
    return (
        f'<path d="M{x - 5:.1f} {y - 5:.1f}l10 10m0 -10l-10 10" stroke="{colour}" stroke-width="2.4" '
        'stroke-linecap="round" fill="none"/>'
    )


def dot(x: float, y: float, radius: float, colour: str, opacity: float) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}" fill-opacity="{opacity}"/>'


def diamond(x: float, y: float, palette: Palette) -> str:
    return (
        f'<path d="M{x:.1f} {y - 5:.1f}l5 5l-5 5l-5 -5z" fill="{palette.valid}" stroke="{palette.paper}" '
        'stroke-width="1.5"/>'
    )


def line(
    x1: float,
    y1: float,
    x2: float,
    y2: float,
    colour: str,
    *,
    dash: str = "",
    stroke: float = 1,
    opacity: float = 1,
) -> str:
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    seen = f' stroke-opacity="{opacity}"' if opacity < 1 else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        f'stroke-width="{stroke}"{dashed}{seen}/>'
    )


def text(
    x: float, y: float, text: str, colour: str, *, anchor: str = "start", size: float = 11.5, weight: int = 400
) -> str:
    placed = "" if anchor == "start" else f' text-anchor="{anchor}"'
    sized = "" if size == 11.5 else f' font-size="{size}"'
    heavy = "" if weight == 400 else f' font-weight="{weight}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}"{placed}{sized}{heavy}>{escape(text)}</text>'


def clean(text: str) -> str:
    """Without the characters XML 1.0 has no place for, and in one line."""
    kept = (
        character if character.isprintable() and unicodedata.category(character) not in {"Cs", "Cn"} else " "
        for character in text
    )
    return " ".join("".join(kept).split())


def fitted(text: str, width: float, size: float) -> str:
    if text_width(text, size) <= width:
        return text
    while text and text_width(text + "…", size) > width:
        text = text[:-1]
    return text.rstrip() + "…"


def text_width(text: str, size: float) -> float:
    """An estimate in user units, no font is read: wide characters take an em, the others a little over half."""
    return size * sum(1.0 if unicodedata.east_asian_width(character) in "WF" else 0.56 for character in text)
