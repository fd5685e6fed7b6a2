"""Checks a fine-tuning dataset in one streaming pass and says what is wrong, where, and what to do.

Pure: no database, no network, nothing of ours outside this package.
"""

from app.datasets.engine.checking import check
from app.datasets.engine.codes import CODES, render_codes_markdown
from app.datasets.engine.fingerprints import leakage, shared_examples
from app.datasets.engine.lines import plain_lines
from app.datasets.engine.near import Sketched, near_leakage, near_leaks
from app.datasets.engine.overlaps import Overlap, overlap_findings
from app.datasets.engine.processes import processes_for
from app.datasets.engine.repeated import RepeatedText, repeated_text
from app.datasets.engine.report import Finding, Limits, LineRange, Profile, Report, Severity, TokenStats
from app.datasets.engine.samples import sample_prompts

__all__ = [
    "CODES",
    "Finding",
    "Limits",
    "LineRange",
    "Overlap",
    "Profile",
    "RepeatedText",
    "Report",
    "Severity",
    "Sketched",
    "TokenStats",
    "check",
    "leakage",
    "near_leakage",
    "near_leaks",
    "overlap_findings",
    "plain_lines",
    "processes_for",
    "render_codes_markdown",
    "repeated_text",
    "sample_prompts",
    "shared_examples",
]
