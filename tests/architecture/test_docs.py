"""The documentation holds: its links lead somewhere, its generated parts are fresh, its commands exist."""

import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import orjson
import pytest
import typer
import yaml

from app.cli.main import app as command_line

ROOT: Final = Path(__file__).resolve().parents[2]
PAGES: Final = tuple(
    sorted(
        [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")],
        key=lambda path: path.as_posix(),
    )
)
LINK: Final = re.compile(r"!?\[[^\]\n]*\]\(([^)\s]+)\)")
FENCE: Final = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHELLS: Final = {"sh", "bash", "console", "shell"}


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def _prose(path: Path) -> str:
    return FENCE.sub("", path.read_text(encoding="utf-8"))


@cache
def _anchors(path: Path) -> frozenset[str]:
    """What GitHub makes of the page's headings."""
    found = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *$", _prose(path), re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        found.add(re.sub(r"[^\w\- ]", "", words).replace(" ", "-"))
    return frozenset(found)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for target in LINK.findall(_prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        place, _, anchor = unquote(target).partition("#")
        path = (page.parent / place).resolve() if place else page
        if not path.is_relative_to(ROOT) or not path.exists():
            broken.append(target)
        elif anchor and path.suffix == ".md" and anchor not in _anchors(path):
            broken.append(f"{target}: no such heading")
    assert not broken


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=_name)
def test_every_page_can_be_reached_from_the_index(page: Path) -> None:
    seen: set[Path] = set()
    waiting = [ROOT / "docs" / "README.md"]
    while waiting:
        path = waiting.pop()
        if path in seen or path.suffix != ".md" or not path.exists():
            continue
        seen.add(path)
        waiting += [(path.parent / target.partition("#")[0]).resolve() for target in LINK.findall(_prose(path))]
    assert page in seen


def test_the_generated_parts_are_fresh() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", ROOT / "docs" / "generate.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


# --- commands --------------------------------------------------------------------------------------------------


def _commands(page: Path) -> Iterator[list[str]]:
    """Every command in the page's shell blocks, as words; continued lines are joined, comments left out."""
    for language, block in FENCE.findall(page.read_text(encoding="utf-8")):
        if language not in SHELLS:
            continue
        for line in block.replace("\\\n", " ").splitlines():
            text = line.removeprefix("$ ")
            for part in re.split(r"\||&&|;|\$\(", text):
                words = part.split(" #")[0].split()
                if words:
                    yield words


def _complaint(words: list[str], command: Any) -> str | None:
    """Why the command line would refuse these words, as far as names and options go."""
    path = [words.pop(0)]
    while hasattr(command, "commands"):
        if not words or words[0].startswith("-"):
            return None
        found = command.commands.get(words[0])
        if found is None:
            return f"`{' '.join(path)}` has no command {words[0]!r}"
        path.append(words.pop(0))
        command = found
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    options |= {"--help", "-h"}
    if command.context_settings.get("ignore_unknown_options"):
        return None
    unknown = [word for word in words if re.match(r"--?[a-z]", word) and word.split("=")[0] not in options]
    return f"`{' '.join(path)}` has no option {unknown[0]}" if unknown else None


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_kitae_command_in_the_pages_exists(page: Path) -> None:
    root = typer.main.get_command(command_line)
    complaints = []
    for words in _commands(page):
        if Path(words[0]).name == "kitae":
            complaint = _complaint(list(words), root)
            if complaint:
                complaints.append(f"{' '.join(words)}: {complaint}")
    assert not complaints


def test_every_make_target_in_the_pages_exists() -> None:
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {words[1] for page in PAGES for words in _commands(page) if words[0] == "make" and len(words) > 1}
    assert named <= targets


def test_every_path_that_curl_is_shown_with_is_in_the_contract() -> None:
    paths = orjson.loads((ROOT / "docs" / "reference" / "openapi.json").read_bytes())["paths"]
    patterns = [re.compile(re.sub(r"\{[^}]+\}", "[^/]+", path)) for path in paths]
    unknown = [
        f"{_name(page)}: {path}"
        for page in PAGES
        for words in _commands(page)
        if words[0] == "curl"
        for path in re.findall(r"(?<!/openai)/v1/[^\s\"'?]*", " ".join(words))
        if not any(pattern.fullmatch(path) for pattern in patterns)
    ]
    assert not unknown


# --- containers ------------------------------------------------------------------------------------------------


def test_the_compose_file_runs_commands_that_exist() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    root: Any = typer.main.get_command(command_line)
    ours = {name: service["command"] for name, service in services.items() if service["image"].startswith("kitae:")}
    assert ours
    assert {command[0] for command in ours.values()} <= root.commands.keys()


def test_every_service_of_the_compose_file_is_hardened() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    for name, service in services.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "healthcheck" in service or name == "api", f"{name}: the image's health check is the api's"


def test_the_settings_in_the_examples_exist() -> None:
    known = set(re.findall(r"`((?:KITAE|EMULATOR)_[A-Z_]+)`", (ROOT / "docs/operate/configuration.md").read_text()))
    for name in (".env.example", "docker-compose.yml", "Dockerfile"):
        used = set(re.findall(r"\b(?:KITAE|EMULATOR)_[A-Z_]*[A-Z]\b", (ROOT / name).read_text(encoding="utf-8")))
        assert used <= known, name
