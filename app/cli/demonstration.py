"""The demo's story: every step a request of the public API, every number from an answer to one.

It knows the API's client and the shipped examples; the service it speaks to is a process of its own.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2

import app
import examples
from app.cli import reports, waiting, words
from app.cli.children import child, last_words
from app.cli.deployments import row_texts
from app.cli.exits import Exit, Told
from app.cli.laptop import CONNECTION
from app.cli.work import ensure_dataset, upload
from app.client import Client
from app.datasets import engine
from app.datasets.schemas import VersionRead
from app.deployments.schemas import Candidate, ComparisonCreate, DeploymentCreate, DeploymentRead
from app.jobs.schemas import JobCreate, JobRead
from app.models.schemas import ModelRead

QUESTIONS: Final = 5
SEED: Final = 7
"""Of the choice of questions: two runs ask the same."""
WATCHABLE_SPEED: Final = 150
"""Virtual seconds per second: a training of twenty-odd minutes at Azure takes about ten seconds."""
STOP_SECONDS: Final = 40.0
"""The instance ends its own children in turn, each within seconds."""
GONE_SECONDS: Final = 30.0
"""How long after its job a training file may still be at Azure."""
ANSWER_TOKENS: Final = 220
OVER_LONG: Final = "over-long-example"
TOO_FEW: Final = "fewer-than-10-examples"
ALIVE: Final = frozenset({"creating", "warming", "ready", "deleting"})
MARKER: Final = ".kitae-demo"
"""A directory without it is not ours to wipe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is taken through its life."""

    name: str
    title: str
    training: Path
    validation: Path | None
    system: str | None = None
    questions: tuple[str, ...] = ()
    """Empty: taken from the validation file."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, under which system message."""

    text: str
    system: str | None


@dataclass(slots=True)
class Outcome:
    """What became of a subject; filled in as the story goes."""

    name: str
    version: VersionRead | None = None
    findings: list[Any] = field(default_factory=list)
    job: JobRead | None = None
    summary: dict[str, Any] = field(default_factory=dict)
    verdict: str | None = None
    checkpoints: int = 0
    model: ModelRead | None = None
    deployment: DeploymentRead | None = None
    answers: list[dict[str, str]] = field(default_factory=list)
    hosting_usd: str | None = None
    answers_usd: str | None = None
    picture: Path | None = None
    cleaned_up: bool = False
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        return self.job is not None and self.job.status == "succeeded" and self.cleaned_up

    def as_json(self) -> dict[str, Any]:
        version, job, model, deployment = self.version, self.job, self.model, self.deployment
        told: dict[str, Any] = {
            "dataset": version
            and {
                "id": version.dataset,
                "version": version.number,
                "examples": version.examples,
                "tokens": version.tokens,
                "verdict": version.verdict,
            },
            "job": job
            and {
                "id": job.id,
                "status": job.status,
                "train_loss_first": self.summary.get("train_loss_first"),
                "train_loss_last": self.summary.get("train_loss_last"),
                "valid_loss_last": self.summary.get("valid_loss_last"),
                "checkpoints": self.checkpoints,
            },
            "model": model and {"id": model.id, "remote_name": model.remote_name},
            "deployment": deployment and {"id": deployment.id, "status": deployment.status},
            "answers": self.answers,
            "cost": {"training_usd": str(job.cost_usd) if job and job.cost_usd is not None else None},
            "cleaned_up": self.cleaned_up,
        }
        if version is not None and version.status == "rejected":
            told["findings"] = words.as_json(self.findings)
        return told


# ── what is shown ───────────────────────────────────────────────────────────


def shipped_subjects(wanted: str) -> list[Subject]:
    """Raises `Told` for a set that is not shipped."""
    order = ["travel", *[name for name in examples.names() if name != "travel"]]
    if wanted != "all" and wanted not in order:
        raise Told(f"There is no set {wanted!r}.", hint=f"There are {', '.join(order)} and all.", code=Exit.USAGE)
    return [
        Subject(
            name=shipped.name,
            title=shipped.title,
            training=shipped.training,
            validation=shipped.validation,
            system=shipped.system_prompt,
            questions=tuple(shipped.questions),
        )
        for shipped in map(examples.load, order if wanted == "all" else [wanted])
    ]


def own_subject(data: Path, validation: Path | None) -> Subject:
    stem = "".join(character if character.isascii() and character.isalnum() else "-" for character in data.stem)
    name = stem.strip("-")[:32].strip("-") or "own-data"
    return Subject(name=name, title=data.name, training=data, validation=validation)


def questions_for(subject: Subject, *, with_validation: bool) -> tuple[list[Question], str]:
    """Five questions, and in words where they come from."""
    if subject.questions:
        told = "They stand in neither file."
        return [Question(text, subject.system) for text in subject.questions[:QUESTIONS]], told
    if subject.validation is not None:
        found = _sampled(subject.validation)
        if found and with_validation:
            return found, "They are from the validation file, which was not trained on."
        if found:
            return found, "They are from the validation file, which was not used."
    told = "There is no validation file, so these are questions of the training data in other words: not unseen."
    return [Question(_reworded(item.text), item.system) for item in _sampled(subject.training)], told


def _sampled(file: Path) -> list[Question]:
    with file.open("rb") as source:
        found = [_question(messages) for messages, _ in engine.sample_prompts(source, QUESTIONS, SEED)]
    return [question for question in found if question is not None]


def _question(messages: Sequence[dict[str, Any]]) -> Question | None:
    asked = [message.get("content") for message in messages if message.get("role") == "user"]
    told = [message.get("content") for message in messages if message.get("role") in {"system", "developer"}]
    text, system = asked[-1] if asked else None, told[0] if told else None
    if not isinstance(text, str) or not text.strip():
        return None
    return Question(text, system if isinstance(system, str) and system else None)


def _reworded(text: str) -> str:
    """The same question in other words, as far as that can be done in any language."""
    return f"I have a question for you. {text}" if text.isascii() else text.rstrip("?？。.!！ \n")


# ── the story ───────────────────────────────────────────────────────────────


class Rejected(Exception):
    """The data cannot be trained on; why has been told."""


class Demonstration:
    """Shows subjects one after the other on an instance of its own."""

    def __init__(self, directory: Path, *, model: str, instant: bool) -> None:
        self._directory = directory.resolve()
        self._model = model
        self._instant = instant

    def show(self, subjects: Sequence[Subject]) -> list[Outcome]:
        """Every subject's outcome. Nothing that was started runs when this returns or raises."""
        began = time.monotonic()
        outcomes = []
        with _own_directory(self._directory), self._instance() as running, _client_of(running) as client:
            words.done(f"It runs at {running['url']}; the local Azure OpenAI really learns from the files.")
            for number, subject in enumerate(subjects, 1):
                words.heading(f"━━ {number} of {len(subjects)} · {subject.name}: {subject.title}")
                outcomes.append(self._tell(client, running, subject))
        self._report(outcomes, time.monotonic() - began)
        return outcomes

    @contextmanager
    def _instance(self) -> Iterator[dict[str, Any]]:
        """`kitae up` as a child, with nothing of the caller's settings: neither their database nor their keys."""
        root = Path(app.__file__).parent.parent
        environment = {name: value for name, value in os.environ.items() if not name.startswith("KITAE_")}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(root)]))
        environment["EMULATOR_CLOCK"] = "instant" if self._instant else "real"
        environment["EMULATOR_SPEED"] = str(WATCHABLE_SPEED)
        data_dir = self._directory / "instance"
        log = self._directory / "instance.log"
        command = [sys.executable, "-m", "app.cli.main", "up", "--port", "0", "--data-dir", str(data_dir), "--json"]
        words.say("Starting a database, a worker, an API and a local Azure OpenAI …", style="dim")
        with child(
            command,
            log=log,
            environment=environment,
            read_stdout=True,
            directory=self._directory,
            stop_seconds=STOP_SECONDS,
        ) as process:
            yield _ready(process, log)

    def _tell(self, client: Client, running: dict[str, Any], subject: Subject) -> Outcome:
        outcome = Outcome(subject.name)
        began = time.monotonic()
        with suppress(Rejected):  # anything worse ends the instance, and with it all that it made
            self._live(client, subject, outcome)
        self._clean_up(client, running, outcome)
        outcome.seconds = time.monotonic() - began
        return outcome

    def _live(self, client: Client, subject: Subject, outcome: Outcome) -> None:
        training = self._take_in(client, subject.name, subject.training, outcome)
        validation = self._validation(client, subject)
        job = self._train(client, subject, training, validation, outcome)
        self._judge(client, job, outcome)
        model = outcome.model = self._registered(client, job)
        words.done(f"Model {model.name} is registered: {model.remote_name}")
        tuned, base = self._deploy(client, model)
        outcome.deployment = tuned
        asked, told = questions_for(subject, with_validation=validation is not None)
        self._compare(client, base, tuned, asked, told, outcome)

    # data

    def _take_in(self, client: Client, name: str, file: Path, outcome: Outcome) -> VersionRead:
        """The training data, ready. Raises `Rejected`."""
        words.heading("Data")
        ensure_dataset(client, name)
        version = upload(client, name, file, model=self._model)
        version = self._mended(client, version, file.name)
        outcome.version = version
        ref = _ref(version)
        found = client.datasets.findings(ref)
        reports.findings(found)
        reports.verdict(version, subject=f"{file.name} as {version.dataset_name}@{version.number}")
        if version.status != "ready":
            outcome.findings = found
            words.say("Nothing was sent to Azure and nothing was spent. Mend the lines above and run this again.")
            raise Rejected
        _facts(reports.token_facts(client.datasets.stats(ref).tokens))
        return version

    def _mended(self, client: Client, version: VersionRead, name: str) -> VersionRead:
        """Where over-long examples are all that keeps a file out, the version without them."""
        if version.status != "rejected":
            return version
        found = client.datasets.findings(_ref(version))
        errors = [item for item in found if item.severity == "error"]
        if not errors or any(item.code != OVER_LONG for item in errors):
            return version
        reports.findings(errors)
        where = words.lines_in_words(errors[0].lines, more=errors[0].more_ranges)
        words.warn(f"{name}: {where} left out in a new version, because they are longer than {self._model} takes.")
        return waiting.changed(
            client, client.datasets.transform(_ref(version), [{"type": "drop", "code": OVER_LONG}]), subject=name
        )[0]

    def _validation(self, client: Client, subject: Subject) -> VersionRead | None:
        """The validation data, or None where there are none that can be used."""
        if subject.validation is None:
            words.note("There is no validation file, so over-fitting cannot be seen.")
            return None
        name = f"{subject.name}-validation"
        ensure_dataset(client, name)
        version = upload(client, name, subject.validation, model=self._model)
        version = self._mended(client, version, subject.validation.name)
        if version.status == "ready":
            reports.verdict(version, subject=f"{subject.validation.name} as {name}@{version.number}")
            return version
        found = client.datasets.findings(_ref(version))
        if {item.code for item in found if item.severity == "error"} == {TOO_FEW}:
            words.note(f"{subject.validation.name} is too small to train on; to validate with, it serves.")
            return version
        reports.findings(found)
        words.warn(f"{subject.validation.name} was rejected, so the training goes on without validation.")
        return None

    # training

    def _train(
        self,
        client: Client,
        subject: Subject,
        training: VersionRead,
        validation: VersionRead | None,
        outcome: Outcome,
    ) -> JobRead:
        words.heading("Plan")
        body = {"connection": CONNECTION, "model": self._model, "training": training.id, "suffix": subject.name}
        if validation is not None:
            body["validation"] = validation.id
        wanted = JobCreate.model_validate(body)
        planned = client.jobs.plan(wanted)
        reports.plan(planned)
        if not planned.ok:
            words.error("The plan has errors, so no job was made.")
            raise Rejected
        words.heading("Training")
        began = time.monotonic()
        job = outcome.job = client.jobs.create(wanted)
        outcome.job = job = waiting.trained(client, job)
        reports.job_end(job)
        if job.status != "succeeded":
            raise Rejected
        seconds = time.monotonic() - began
        tokens = f"{job.trained_tokens or 0:,} tokens trained in {seconds:.0f} s"
        words.say(f"  {tokens}; at Azure that costs ${job.cost_usd:.4f}")
        return job

    def _judge(self, client: Client, job: JobRead, outcome: Outcome) -> None:
        words.heading("Judgement")
        told = client.jobs.analysis(job.id).analysis
        outcome.summary, outcome.verdict = told["summary"], told["verdict"]
        outcome.checkpoints = len(client.jobs.checkpoints(job.id).data)
        reports.analysis(told)
        words.say()
        reports.curve(client.jobs.metrics(job.id))
        outcome.picture = self._directory / f"{outcome.name}-loss.svg"
        outcome.picture.write_bytes(client.jobs.chart_svg(job.id))
        words.say(f"  {outcome.checkpoints} checkpoints; the same curve as a picture: {_near(outcome.picture)}")

    @staticmethod
    def _registered(client: Client, job: JobRead) -> ModelRead:
        """The job's final model; it is registered a moment after the job has ended."""
        deadline = time.monotonic() + GONE_SECONDS
        while time.monotonic() < deadline:
            final = [model for model in client.models.list(job=job.id) if model.kind == "final"]
            if final:
                return final[0]
            time.sleep(waiting.LOOK_SECONDS)
        raise Told(f"The model of {job.id} was not registered within {GONE_SECONDS:.0f} s.")

    # use

    def _deploy(self, client: Client, model: ModelRead) -> tuple[DeploymentRead, DeploymentRead]:
        words.heading("Deployment")
        wanted = (
            DeploymentCreate(model=model.id, ttl_seconds=3600),
            DeploymentCreate(model=self._model, connection=CONNECTION, ttl_seconds=3600),
        )
        made = [client.deployments.create(new) for new in wanted]
        tuned, base = [waiting.deployed(client, deployment) for deployment in made]
        for deployment, what in ((tuned, "tuned"), (base, "base")):
            if deployment.status != "ready":
                raise Told(f"The {what} model's deployment is {deployment.status}, not ready.")
            words.done(f"{what}: {deployment.name} answers ({deployment.sku}).")
        return tuned, base

    @staticmethod
    def _compare(
        client: Client,
        base: DeploymentRead,
        tuned: DeploymentRead,
        asked: Sequence[Question],
        told: str,
        outcome: Outcome,
    ) -> None:
        words.heading(f"{len(asked)} questions, base and tuned")
        words.say(told, style="dim")
        rows: list[tuple[str, list[str]]] = []
        cost = 0.0
        for system in dict.fromkeys(question.system for question in asked):
            spoken = {"system": system} if system else {}
            wanted = ComparisonCreate(
                candidates=[Candidate(deployment=one.id, **spoken) for one in (base, tuned)],
                prompts=[question.text for question in asked if question.system == system],
                max_tokens=ANSWER_TOKENS,
                temperature=0,
            )
            found = waiting.compared(client, client.comparisons.create(wanted))
            cost += float(found.cost_usd or 0)
            rows.extend((row.prompt, row_texts(row)) for row in found.rows)
        outcome.answers = [{"question": text, "base": one, "tuned": other} for text, (one, other) in rows]
        outcome.answers_usd = f"{cost:.4f}"
        reports.side_by_side(["base", "tuned"], rows)

    # the end

    def _clean_up(self, client: Client, running: dict[str, Any], outcome: Outcome) -> None:
        """Delete what was deployed, and see for ourselves that nothing is left at Azure."""
        words.heading("Clean-up")
        alive = [found for found in client.deployments.list() if found.status in ALIVE]
        gone = [waiting.deleted(client, client.deployments.delete(found.id)) for found in alive]
        for deployment in gone:
            words.done(f"{deployment.name} is {deployment.status}; its hosting cost ${deployment.cost_usd}")
            if outcome.deployment is not None and deployment.id == outcome.deployment.id:
                outcome.deployment, outcome.hosting_usd = deployment, str(deployment.cost_usd)
        left = _left_at_azure(client, running)
        deadline = time.monotonic() + GONE_SECONDS
        while left and time.monotonic() < deadline:
            time.sleep(waiting.LOOK_SECONDS)
            left = _left_at_azure(client, running)
        outcome.cleaned_up = not left
        if left:
            words.error(f"Still there: {', '.join(left)}")
        else:
            words.done("Azure has no deployment, no unfinished job and no training file of ours any more.")

    @staticmethod
    def _report(outcomes: Sequence[Outcome], seconds: float) -> None:
        words.heading("━━ Report")
        for outcome in outcomes:
            _report_one(outcome)
        words.say(f"\n{seconds:.0f} s in all; everything that was started has ended.", style="dim")


def _report_one(outcome: Outcome) -> None:
    version, job, summary = outcome.version, outcome.job, outcome.summary
    if job is None or job.status != "succeeded":
        status = f"the job is {job.status}" if job else "no job was made"
        words.marked("✗", "red", f"{outcome.name}: {status}")
        return
    words.done(f"{outcome.name} ({outcome.seconds:.0f} s)")
    valid = summary.get("valid_loss_last")
    different = sum(one["base"] != one["tuned"] for one in outcome.answers)
    lines = [
        ("data", f"{version.examples:,} examples, {version.tokens:,} tokens" if version else ""),
        ("training loss", f"{summary['train_loss_first']:.3f} → {summary['train_loss_last']:.3f}"),
        ("validation loss", f"{valid:.3f}" if valid is not None else "not measured"),
        ("verdict", (outcome.verdict or "").replace("_", "-")),
        ("model", outcome.model.remote_name if outcome.model else ""),
        ("answers", f"{different} of {len(outcome.answers)} differ from the base model's"),
        ("training", f"${job.expected_cost_usd:.4f} estimated, ${job.cost_usd:.4f} settled"),
        ("hosting", f"${outcome.hosting_usd}, answers ${outcome.answers_usd}"),
        ("picture", str(_near(outcome.picture)) if outcome.picture else ""),
        ("left at Azure", "nothing" if outcome.cleaned_up else "something, see above"),
    ]
    _facts([(name, text) for name, text in lines if text])


def _facts(pairs: Sequence[tuple[str, object]]) -> None:
    for name, value in pairs:
        if value:
            words.say(f"  {name:<16} {value}")


def _ref(version: VersionRead) -> str:
    return f"{version.dataset}@{version.number}"


def _near(path: Path) -> Path:
    """Relative to where we stand, where that is shorter."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _left_at_azure(client: Client, running: dict[str, Any]) -> list[str]:
    """What still stands, by our API and by the emulator's own account of itself."""
    left = [f"{found.name} ({found.status})" for found in client.deployments.list() if found.status in ALIVE]
    left += [f"{job.id} ({job.status})" for job in client.jobs.list() if job.status not in waiting.JOB_ENDS]
    with httpx2.Client(trust_env=False, timeout=10) as http:
        state = http.get(f"{running['emulator']}/_emulator/state").json()
    purposes = Counter(item["purpose"] for item in state["files"] if item["phase"] != "deleted")
    left += [f"{count} files for {purpose}" for purpose, count in purposes.items() if purpose == "fine-tune"]
    left += [f"deployment {item['name']} at Azure" for item in state["deployments"]]
    return left


# ── the instance ────────────────────────────────────────────────────────────


@contextmanager
def _own_directory(directory: Path) -> Iterator[None]:
    """A directory that is ours, fresh, and nobody else's meanwhile. Raises `Told`."""
    directory.mkdir(parents=True, exist_ok=True)
    marker = directory / MARKER
    if not marker.exists() and any(directory.iterdir()):
        raise Told(
            f"{directory} holds something that is not from a demo; I do not wipe it.",
            hint="Choose an empty directory with --directory.",
            code=Exit.USAGE,
        )
    with marker.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Told(f"A demo runs in {directory} already.", hint="Choose another with --directory.") from error
        for item in directory.iterdir():
            if item.is_dir():
                shutil.rmtree(item)
            elif item != marker:
                item.unlink()
        yield


def _client_of(running: dict[str, Any]) -> Client:
    return Client(running["url"], running["key"])


def _ready(process: "subprocess.Popen[bytes]", log: Path) -> dict[str, Any]:
    """What the instance says of itself once it answers. Raises `Told`."""
    assert process.stdout is not None  # noqa: S101  for the type checker: we asked for a pipe
    line = process.stdout.readline()
    try:
        running: dict[str, Any] = json.loads(line)
    except ValueError:
        raise Told(f"The demo's Kitae did not start:\n{last_words(log)}", hint=f"See {log}.") from None
    return running
