"""Reads any file as JSON Lines: what it was taken for and why, its rows, and where each came from.

Pure: no database, no network. What is read is on this machine already.
"""

from app.datasets.engine.reading.files import Reading, Told, opened
from app.datasets.engine.reading.how import FORMATS, PARTS, BadHowError, Bounds, How, Mapping, how_of, mapping_of
from app.datasets.engine.reading.judging import check_any
from app.datasets.engine.reading.origin import origin_of

__all__ = [
    "FORMATS",
    "PARTS",
    "BadHowError",
    "Bounds",
    "How",
    "Mapping",
    "Reading",
    "Told",
    "check_any",
    "how_of",
    "mapping_of",
    "opened",
    "origin_of",
]
