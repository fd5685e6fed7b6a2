"""Graders of reinforcement fine-tuning: read, checked, compared with rows. A library: no room, no kit, no I/O."""

from app.graders.facts import GraderFacts, grader_facts
from app.graders.faults import Fault, GraderFault
from app.graders.kinds import Grader, Message, Multi, Python, ScoreModel, StringCheck, TextSimilarity, parse
from app.graders.reading import (
    as_sent,
    missing,
    missing_fields,
    models,
    needs,
    pass_threshold,
    range_of,
    references,
    remarks,
    response_format_fault,
)

__all__ = [
    "Fault",
    "Grader",
    "GraderFacts",
    "GraderFault",
    "Message",
    "Multi",
    "Python",
    "ScoreModel",
    "StringCheck",
    "TextSimilarity",
    "as_sent",
    "grader_facts",
    "missing",
    "missing_fields",
    "models",
    "needs",
    "parse",
    "pass_threshold",
    "range_of",
    "references",
    "remarks",
    "response_format_fault",
]
