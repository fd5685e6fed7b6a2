"""Writes every part of the documentation that the code knows better than a person; `--check` only compares.

    python docs/generate.py            write
    python docs/generate.py --check    exit code 1 and the names of what is stale

Whole files are generated, or the text between `<!-- generated: NAME -->` and `<!-- end -->` in a written one.
"""

import argparse
import ast
import difflib
import inspect
import os
import re
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any, Final, get_args

import orjson
from pydantic import SecretStr
from pydantic.fields import FieldInfo

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]  # the checkout is described, whatever is installed

import fault_matrix  # noqa: E402

import app.settings as service_settings  # noqa: E402
import emulator.settings as emulator_settings  # noqa: E402
from app.baselines import states as baseline_states  # noqa: E402
from app.bootstrap import open_workbench  # noqa: E402
from app.cli.reference import render_cli_markdown  # noqa: E402
from app.datasets import states as dataset_states  # noqa: E402
from app.datasets.engine import render_codes_markdown  # noqa: E402
from app.deployments import states as deployment_states  # noqa: E402
from app.generation import states as generation_states  # noqa: E402
from app.jobs import states as job_states  # noqa: E402
from app.kit.law import Law  # noqa: E402
from app.kit.secrets import Vault  # noqa: E402
from app.main import MEASURES, create_app  # noqa: E402
from app.models import states as model_states  # noqa: E402
from app.studies import states as study_states  # noqa: E402

DOCS: Final = ROOT / "docs"
BLOCK: Final = re.compile(r"(<!-- generated: ([\w .-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)

# --- what a class says of its members --------------------------------------------------------------------------


def said_of_members(module: ModuleType, class_name: str) -> dict[str, str]:
    """The docstring under each member of a class, with its lines joined."""
    tree = ast.parse(inspect.getsource(module))
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == class_name)
    said = {}
    for member, after in pairwise(body):
        if isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name):
            name = member.target.id
        elif isinstance(member, ast.Assign) and isinstance(member.targets[0], ast.Name):
            name = member.targets[0].id
        else:
            continue
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            said[name] = " ".join(str(after.value.value).split())
    return said


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell(text) for text in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


# --- states ----------------------------------------------------------------------------------------------------


def state_diagram(law: Law[Any], first: StrEnum) -> str:
    """The law as a mermaid state diagram."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {first}"]
    lines += [
        f"    {now} --> {then}" for now in law.following for then in law.following if then in law.following[now]
    ]
    lines += [f"    {status} --> [*]" for status in law.following if status in law.terminal]
    return "\n".join([*lines, "```", ""])


def states(law: Law[Any], first: StrEnum, module: ModuleType) -> str:
    """The diagram, and what each status means."""
    said = said_of_members(module, type(first).__name__)
    rows = [(f"`{status}`", said.get(status.name, "")) for status in law.following]
    return state_diagram(law, first) + "\n" + table(("status", "meaning"), rows)


# --- settings --------------------------------------------------------------------------------------------------

_TYPES: Final = {
    "SecretStr": "text, secret",
    "str": "text",
    "bool": "true or false",
    "int": "integer",
    "float": "number",
}


def type_of(field: FieldInfo) -> str:
    """A setting's type in words."""
    annotation: Any = field.annotation
    inner = [part for part in get_args(annotation) if part is not type(None)]
    if str(annotation).startswith("typing.Literal"):
        return " or ".join(f"`{value}`" for value in inner)
    if inner and len(inner) < len(get_args(annotation)):
        annotation = inner[0]
    if annotation is Path or "Path" in str(annotation):
        return "path"
    if "frozenset" in str(annotation):
        return "list, comma-separated"
    if "dict" in str(annotation):
        return "JSON object"
    return _TYPES.get(getattr(annotation, "__name__", ""), str(annotation))


def bounds_of(field: FieldInfo) -> str:
    """The range or pattern that a value must keep to."""
    said = []
    for rule in field.metadata:
        for name, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<")):
            limit = getattr(rule, name, None)
            if limit is not None:
                said.append(f"{sign} {limit:,}" if isinstance(limit, int) else f"{sign} {Decimal(str(limit)):f}")
        if getattr(rule, "pattern", None):
            said.append(f"matches `{rule.pattern}`")
    return ", ".join(said)


def default_of(field: FieldInfo) -> str:
    value = field.default
    if value is None or value == frozenset() or value in ("", {}):
        return "unset"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`"


def settings_table(prefix: str, fields: Mapping[str, FieldInfo], said: Mapping[str, str]) -> str:
    rows = []
    for name, field in fields.items():
        rule = bounds_of(field)
        kind = type_of(field) + (f", {rule}" if rule else "")
        rows.append(
            (f"`{prefix}{name.upper()}`", kind, default_of(field), said.get(name) or field.description or "")
        )
    return table(("variable", "type", "default", "meaning"), rows)


def service_settings_by_group() -> str:
    """Settings under the headings that stand as comments in `app/settings.py`."""
    said = said_of_members(service_settings, "Settings")
    missing = service_settings.Settings.model_fields.keys() - said.keys()
    if missing:
        raise SystemExit(f"settings without a meaning in app/settings.py: {', '.join(sorted(missing))}")
    groups: dict[str, dict[str, FieldInfo]] = {}
    group = ""
    for line in inspect.getsource(service_settings.Settings).splitlines():
        comment = re.fullmatch(r"    # (.+)", line)
        field = re.match(r"    (\w+): ", line)
        if comment:
            group = comment[1]
        elif field and field[1] in said:
            groups.setdefault(group, {})[field[1]] = service_settings.Settings.model_fields[field[1]]
    parts = [
        f"### {name[0].upper()}{name[1:]}\n\n{settings_table('KITAE_', fields, said)}"
        for name, fields in groups.items()
    ]
    return "\n".join(parts)


def emulator_settings_table() -> str:
    return settings_table("EMULATOR_", emulator_settings.Settings.model_fields, {})


# --- the contract ----------------------------------------------------------------------------------------------


def openapi() -> str:
    """The OpenAPI document of an installation with default settings. Nothing is connected to."""
    for name in [name for name in os.environ if name.startswith("KITAE_")]:
        del os.environ[name]  # a developer's own settings have no place in the contract
    with tempfile.TemporaryDirectory() as directory:
        settings = service_settings.Settings(
            _env_file=None,
            database_url=SecretStr("postgresql://nobody@127.0.0.1:1/nothing"),
            secret_keys=SecretStr(Vault.new_key()),
            data_dir=Path(directory),
        )
        with open_workbench(settings) as bench:
            document = create_app(settings, bench).openapi()
    return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode() + "\n"


def measures() -> str:
    """What `/metrics` says beside the process's own numbers."""
    rows = [
        (f"`{measure.name}`", ", ".join(f"`{label}`" for label in measure.labels), measure.meaning)
        for measure in MEASURES
    ]
    return table(("gauge", "labels", "meaning"), rows)


# --- putting it where it belongs -------------------------------------------------------------------------------

FILES: Final[Mapping[str, Callable[[], str]]] = {
    "reference/cli.md": render_cli_markdown,
    "reference/fault-matrix.md": fault_matrix.render_markdown,
    "reference/findings.md": render_codes_markdown,
    "reference/openapi.json": openapi,
}
"""Whole files, below docs/."""

BLOCKS: Final[Mapping[str, Callable[[], str]]] = {
    "states of a dataset version": lambda: states(
        dataset_states.VERSION_LAW, dataset_states.VersionStatus.CHECKING, dataset_states
    ),
    "states of a change": lambda: states(
        dataset_states.TRANSFORM_LAW, dataset_states.TransformStatus.RUNNING, dataset_states
    ),
    "states of an upload": lambda: states(
        dataset_states.UPLOAD_LAW, dataset_states.UploadStatus.RECEIVING, dataset_states
    ),
    "states of a fetch": lambda: states(
        dataset_states.FETCH_LAW, dataset_states.FetchStatus.FETCHING, dataset_states
    ),
    "states of a job": lambda: states(job_states.JOB_LAW, job_states.JobStatus.DRAFT, job_states),
    "states of a deployment": lambda: states(
        deployment_states.DEPLOYMENT_LAW, deployment_states.DeploymentStatus.CREATING, deployment_states
    ),
    "states of a comparison": lambda: states(
        deployment_states.COMPARISON_LAW, deployment_states.ComparisonStatus.RUNNING, deployment_states
    ),
    "states of a generation": lambda: states(
        generation_states.GENERATION_LAW, generation_states.GenerationStatus.RUNNING, generation_states
    ),
    "states of a copy": lambda: states(model_states.COPY_LAW, model_states.CopyStatus.REQUESTED, model_states),
    "states of a baseline": lambda: states(
        baseline_states.BASELINE_LAW, baseline_states.BaselineStatus.RUNNING, baseline_states
    ),
    "states of a study": lambda: states(study_states.STUDY_LAW, study_states.StudyStatus.RUNNING, study_states),
    "settings of the service": service_settings_by_group,
    "settings of the emulator": emulator_settings_table,
    "measures": measures,
}
"""Blocks inside written pages."""


def fill(text: str, used: set[str]) -> str:
    """The page with every generated block made anew."""

    def made(found: re.Match[str]) -> str:
        used.add(found[2])
        return f"{found[1]}\n{BLOCKS[found[2]]()}\n{found[4]}"

    return BLOCK.sub(made, text)


def wanted() -> dict[Path, str]:
    """Every generated or partly generated file as it should be."""
    pages = {DOCS / name: make() for name, make in FILES.items()}
    used: set[str] = set()
    for path in sorted(DOCS.rglob("*.md")):
        if path not in pages:
            text = path.read_text(encoding="utf-8")
            pages[path] = fill(text, used)
    unused = BLOCKS.keys() - used
    if unused:
        raise SystemExit(f"no page has a place for: {', '.join(sorted(unused))}")
    return pages


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the generated documentation.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 when something is stale")
    only_check = parser.parse_args().check
    stale = 0
    for path, text in wanted().items():
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        if before == text:
            continue
        stale += 1
        name = path.relative_to(ROOT).as_posix()
        if only_check:
            difference = difflib.unified_diff(
                before.splitlines(), text.splitlines(), name, "generated", n=0, lineterm=""
            )
            print(f"{name} is stale; run `python docs/generate.py`")
            print("\n".join(list(difference)[:12]))
        else:
            path.write_text(text, encoding="utf-8")
            print(f"{name} written")
    return 1 if only_check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
