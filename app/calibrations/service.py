"""What one can do with graders before a job is trained by one: check it, and see how it scores samples."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import ROUND_UP, Decimal
from itertools import islice
from typing import Any, Final

import orjson

from app.access.service import refuse_if_paused
from app.azure.catalogue.trainings import trainings
from app.azure.port import AzureError, AzureTarget, Graded
from app.calibrations.schemas import (
    Calibration,
    CalibrationCreate,
    FromField,
    GradedSample,
    GraderCheck,
    GraderFinding,
    GraderRead,
    HyperparameterRead,
    ScoreBin,
)
from app.calibrations.verdict import Verdict, distribution, judge, thresholds
from app.connections.service import ConnectionService, Traffic
from app.costs.estimates import MILLION
from app.costs.service import CostService
from app.datasets.engine.tokens import counter
from app.datasets.service import DatasetService
from app.deployments.asking import Answerer, tokenizer_of
from app.deployments.inference import Question, ask
from app.deployments.service import DeploymentService
from app.graders import (
    Grader,
    GraderFault,
    as_sent,
    missing,
    models,
    needs,
    parse,
    pass_threshold,
    range_of,
    references,
    remarks,
    response_format_fault,
)
from app.jobs.grading import azure_says, rows_lacking
from app.jobs.hyperparameters import hyperparameters
from app.jobs.methods import grading_checks
from app.kit.caller import Caller
from app.kit.errors import Conflict, FieldError, Invalid
from app.kit.ids import new_id
from app.workbench import Workbench, describe

CATEGORY: Final = "calibration"
AT_ONCE: Final = 4
"""Samples under way at a time; they are answered within one request of ours."""
SHOWN: Final = 10
ANSWER_SHOWN: Final = 500
"""Characters of an answer that are shown."""
FRAME_TOKENS: Final = 50
"""Of the messages around a judge's text, generously."""
_PARTS: Final = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class _Sample:
    line: int
    row: Mapping[str, Any]


@dataclass(slots=True)
class _Outcome:
    """What became of one sample."""

    sample: _Sample
    answer: str = ""
    reward: float | None = None
    errors: dict[str, str] = field(default_factory=dict)
    judge_tokens: dict[str, int] = field(default_factory=dict)
    asked_tokens: tuple[int, int] = (0, 0)
    """Prompt and completion, of the deployment that answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """Samples that could be graded."""

    grader: Grader
    config: dict[str, Any]
    samples: Sequence[_Sample]
    lacking: Mapping[str, int]
    answerer: Answerer | None
    connection_id: str
    highest_usd: Decimal | None
    notes: Sequence[str]


class CalibrationService:
    """Graders of a project, tried."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._connections = ConnectionService(bench)
        self._datasets = DatasetService(bench)
        self._deployments = DeploymentService(bench)
        self._costs = CostService(bench)

    # ── looking ─────────────────────────────────────────────────────────────

    def check(self, project_id: str, wanted: GraderCheck) -> GraderRead:
        """All that can be said of a grader without paying. Raises `NotFound`, `Conflict` (`still_checking`)."""
        connection = self._connections.get(project_id, wanted.connection) if wanted.connection else None
        version = self._datasets.version(project_id, wanted.version) if wanted.version else None
        try:
            grader = parse(wanted.grader)
        except GraderFault as error:
            faults = [
                GraderFinding(code=fault.code, verdict="error", detail=fault.detail, pointer=fault.pointer)
                for fault in error.faults
            ]
            return GraderRead(ok=False, reads=[], models=[], findings=faults)
        found = [
            GraderFinding(code=code, verdict="warning", detail=words, pointer="/grader")
            for code, words in remarks(grader, has_response_format=wanted.response_format is not None)
        ]
        fault = response_format_fault(wanted.response_format) if wanted.response_format is not None else None
        if fault is not None:
            found.append(
                GraderFinding(code=fault.code, verdict="error", detail=fault.detail, pointer=fault.pointer)
            )
        rows = (
            rows_lacking(self._datasets, project_id, version, pointer="/version", grader=grader)
            if version
            else None
        )
        verdict, silence = (
            azure_says(self._connections, connection.id, as_sent(wanted.grader, grader))
            if connection
            else (None, None)
        )
        found += [
            GraderFinding.model_validate(check.model_dump())
            for check in grading_checks(grader, [rows] if rows is not None else [], verdict, silence)
        ]
        return GraderRead(
            ok=all(finding.verdict != "error" for finding in found),
            reads=[".".join(path) for path in sorted(references(grader))],
            models=sorted(models(grader)),
            findings=found,
        )

    @staticmethod
    def hyperparameters(*, method: str | None, model: str | None) -> list[HyperparameterRead]:
        """What each method takes; with a model's id its own defaults, where they are known."""
        return [
            HyperparameterRead(
                name=item.name,
                methods=list(item.methods),
                kind=item.kind,
                lowest=None if item.lowest is None else float(item.lowest),
                highest=None if item.highest is None else float(item.highest),
                choices=list(item.choices),
                advised=None if item.advised is None else [float(bound) for bound in item.advised],
                default=item.default_for(model, next(one for one in item.methods if method in {None, one})),
                meaning=item.meaning,
                reason=item.reason,
                source=item.source,
                as_of=item.as_of,
                confidence=item.confidence,
            )
            for item in hyperparameters()
            if method is None or method in item.methods
        ]

    # ── trying ──────────────────────────────────────────────────────────────

    def calibrate(self, caller: Caller, wanted: CalibrationCreate) -> Calibration:
        """Grade samples and say what the scores tell. The most it can cost is reserved before the first call.

        Raises:
            Invalid: the grader is none, or may cost more than was allowed.
            NotFound: no such connection, version or deployment.
            Conflict: the version is still being checked, or the project is paused.
            BudgetExceeded: a cap does not allow it.
        """
        draft = self._draft(caller.project_id, wanted)
        if wanted.max_cost_usd is not None and (
            draft.highest_usd is None or draft.highest_usd > wanted.max_cost_usd
        ):
            may = "an unknown amount" if draft.highest_usd is None else f"${draft.highest_usd:.4f}"
            detail = f"It may cost {may}; the limit is ${wanted.max_cost_usd:.4f}."
            error = FieldError(pointer="/max_cost_usd", detail=detail, code="cost_limit")
            raise Invalid(detail, code="cost_limit", hint="Fewer samples, or a higher limit.", errors=[error])
        calibration_id = new_id("cal")
        if wanted.dry_run:
            planned = f"{len(draft.samples)} answers would be graded."
            return _told(calibration_id, wanted, draft, [], cost_usd=None, verdict=None, planned=planned)
        with self._bench.begin() as work:
            refuse_if_paused(work.session, caller.project_id, policy=self._bench.policy)
            self._costs.reserve(
                work,
                caller,
                subject_id=calibration_id,
                category=CATEGORY,
                amount_usd=draft.highest_usd or Decimal(0),
                note=f"{len(draft.samples)} answers graded",
            )
        outcomes = self._graded(draft, wanted)
        cost = self._cost(draft, outcomes)
        with self._bench.begin() as work:
            self._costs.settle(
                work,
                project_id=caller.project_id,
                key_id=caller.key_id,
                subject_id=calibration_id,
                category=CATEGORY,
                amount_usd=cost,
                note=f"{len(outcomes)} answers graded",
            )
            rewards = [one.reward for one in outcomes if one.reward is not None]
            verdict = judge(
                rewards,
                failed=len(outcomes) - len(rewards),
                passed=sum(reward >= _threshold(wanted, draft.grader) for reward in rewards),
                are_references=isinstance(wanted.answers, FromField),
            )
            work.announce(
                "grader.calibrated",
                project_id=caller.project_id,
                subject_id=calibration_id,
                verdict=verdict.word,
                samples=len(outcomes),
                cost_usd=str(cost),
            )
        return _told(calibration_id, wanted, draft, outcomes, cost_usd=cost, verdict=verdict)

    def settle_abandoned(self) -> int:
        """For a periodic task: nobody knows what a calibration cost whose process died, so all that was set aside
        for it counts as spent. Returns how many there were.
        """
        return self._costs.spend_abandoned(CATEGORY, older_than_seconds=self._bench.policy.lease_seconds * 20)

    def _draft(self, project_id: str, wanted: CalibrationCreate) -> _Draft:
        try:
            grader = parse(wanted.grader)
        except GraderFault as error:
            errors = [
                FieldError(pointer=fault.pointer, detail=fault.detail, code=fault.code) for fault in error.faults
            ]
            raise Invalid("This is no grader that can be used.", code="grader_invalid", errors=errors) from error
        connection = self._connections.get(project_id, wanted.connection)
        samples = self._samples(project_id, wanted)
        paths = needs(grader)
        lacking = Counter(path for sample in samples for path in missing(paths, sample.row))
        answerer = None
        if not isinstance(wanted.answers, FromField):
            answerer = self._deployments.answerer(
                project_id,
                wanted.answers.deployment,
                connection=wanted.answers.connection,
                base=wanted.answers.base_model,
                pointer="/answers/base_model",
            )
        highest, notes = self._highest(grader, samples, answerer, wanted)
        return _Draft(
            grader=grader,
            config=as_sent(wanted.grader, grader),
            samples=samples,
            lacking=lacking,
            answerer=answerer,
            connection_id=connection.id,
            highest_usd=highest,
            notes=notes,
        )

    def _samples(self, project_id: str, wanted: CalibrationCreate) -> list[_Sample]:
        """Rows spread evenly over the version, the same every time."""
        version = self._datasets.version(project_id, wanted.version)
        every = max(1, (version.examples or 1) // wanted.samples)
        rows: list[_Sample] = []
        with self._datasets.content(project_id, version.id) as (_, file):
            for number, line in enumerate(islice(file, 0, None, every)):
                with suppress(orjson.JSONDecodeError):
                    row = orjson.loads(line)
                    if isinstance(row, dict) and isinstance(row.get("messages"), list):
                        rows.append(_Sample(number * every + 1, row))
                if len(rows) == wanted.samples:
                    break
        if not rows:
            detail = "The version has no row with messages to be graded."
            error = FieldError(pointer="/version", detail=detail, code="no_rows")
            raise Conflict(detail, code="no_rows", hint="Name a version for reinforcement.", errors=[error])
        return rows

    # ── money ───────────────────────────────────────────────────────────────

    def _highest(
        self, grader: Grader, samples: Sequence[_Sample], answerer: Answerer | None, wanted: CalibrationCreate
    ) -> tuple[Decimal | None, list[str]]:
        """The most it can cost; None where a price is unknown. Texts are counted, a judge's thought is guessed."""
        answer_tokens = 0
        total, notes = Decimal(0), []
        if answerer is not None and not isinstance(wanted.answers, FromField):
            count = counter(tokenizer_of(answerer.base)).many
            asked = int(count([json.dumps(sample.row["messages"], ensure_ascii=False) for sample in samples]).sum())
            answer_tokens = wanted.answers.max_tokens
            price = self._costs.inference_cost(
                base_model=answerer.base.id,
                sku=answerer.sku,
                prompt_tokens=asked,
                completion_tokens=answer_tokens * len(samples),
            )
            if price is None:
                notes.append(f"No price is known for {answerer.base.id} as {answerer.sku}.")
                return None, notes
            total += price
        for name in sorted(models(grader)):
            rates = next((one for one in trainings().grader_prices if one.model == name), None)
            if rates is None:
                notes.append(f"No price is known for {name}, which grades.")
                return None, notes
            texts = [json.dumps(wanted.grader) + json.dumps(sample.row) for sample in samples]
            given = int(counter("o200k_base").many(texts).sum()) + (FRAME_TOKENS + answer_tokens) * len(samples)
            thought = thresholds()["judge_output_tokens"]
            total += (Decimal(given) * rates.input_usd + thought.value * len(samples) * rates.output_usd) / MILLION
            notes.append(f"{name}: {thought.value} tokens of thought reckoned for each grade, {thought.source}.")
        return total.quantize(_PARTS, ROUND_UP), notes

    def _cost(self, draft: _Draft, outcomes: Sequence[_Outcome]) -> Decimal | None:
        """What it cost, from the tokens that Azure told; a judge's tokens all at the price of its answers, for
        Azure does not tell them apart. None where a price is not known.
        """
        if draft.highest_usd is None:
            return None
        total = Decimal(0)
        if draft.answerer is not None:
            price = self._costs.inference_cost(
                base_model=draft.answerer.base.id,
                sku=draft.answerer.sku,
                prompt_tokens=sum(one.asked_tokens[0] for one in outcomes),
                completion_tokens=sum(one.asked_tokens[1] for one in outcomes),
            )
            total += price or Decimal(0)
        rates = {one.model: one.output_usd for one in trainings().grader_prices}
        for one in outcomes:
            for name, tokens in one.judge_tokens.items():
                total += rates.get(name, Decimal(0)) * tokens / MILLION
        return total.quantize(_PARTS, ROUND_UP)

    # ── calls ───────────────────────────────────────────────────────────────

    def _graded(self, draft: _Draft, wanted: CalibrationCreate) -> list[_Outcome]:
        target = self._connections.target_of(draft.connection_id)
        asked = self._connections.target_of(draft.answerer.connection_id) if draft.answerer is not None else None
        with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="grade") as pool:
            return list(pool.map(lambda sample: self._grade(draft, wanted, target, asked, sample), draft.samples))

    def _grade(
        self,
        draft: _Draft,
        wanted: CalibrationCreate,
        target: AzureTarget,
        asked: AzureTarget | None,
        sample: _Sample,
    ) -> _Outcome:
        """One sample to its end. What Azure will not answer is an error of that sample, never of all of them."""
        outcome = _Outcome(sample)
        try:
            if not self._answered(draft, wanted, asked, outcome):
                return outcome
            item = dict(sample.row)
            with self._connections.data(target, Traffic.READ) as azure:
                graded = azure.run_grader(draft.config, item=item, answer=outcome.answer)
        except AzureError as error:
            outcome.errors[str(describe(error)["code"])] = error.message
            return outcome
        self._take(outcome, graded)
        return outcome

    def _answered(
        self, draft: _Draft, wanted: CalibrationCreate, asked: AzureTarget | None, outcome: _Outcome
    ) -> bool:
        """Put the answer in its place; False when there is none."""
        if isinstance(wanted.answers, FromField):
            value = _value(outcome.sample.row, wanted.answers.field)
            if value is None:
                outcome.errors["no_answer"] = f"The row has no {wanted.answers.field}."
                return False
            outcome.answer = value
            return True
        assert draft.answerer is not None  # noqa: S101  the draft has found it
        assert asked is not None  # noqa: S101  as above
        question = Question(messages=outcome.sample.row["messages"], max_tokens=wanted.answers.max_tokens)
        answer = ask(self._connections, asked, draft.answerer.name, question)
        outcome.answer, outcome.asked_tokens = answer.text, (answer.prompt_tokens, answer.completion_tokens)
        return True

    @staticmethod
    def _take(outcome: _Outcome, graded: Graded) -> None:
        outcome.judge_tokens = dict(graded.tokens)
        outcome.errors = dict(graded.errors)
        if not graded.errors:
            outcome.reward = graded.reward
            if graded.reward is None:
                outcome.errors["no_reward"] = "Azure told no reward."


def _threshold(wanted: CalibrationCreate, grader: Grader) -> float:
    return wanted.pass_threshold if wanted.pass_threshold is not None else pass_threshold(grader)


def _value(row: Mapping[str, Any], path: str) -> str | None:
    """A field of the row as text; None where it is absent or null."""
    found: Any = row
    for step in path.split("."):
        found = found.get(step) if isinstance(found, Mapping) else None
    if found is None:
        return None
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)


def _told(
    calibration_id: str,
    wanted: CalibrationCreate,
    draft: _Draft,
    outcomes: Sequence[_Outcome],
    *,
    cost_usd: Decimal | None,
    verdict: Verdict | None,
    planned: str = "",
) -> Calibration:
    rewards = [one.reward for one in outcomes if one.reward is not None]
    threshold = _threshold(wanted, draft.grader)
    passed = sum(reward >= threshold for reward in rewards)
    tokens: Counter[str] = Counter()
    for one in outcomes:
        tokens.update(one.judge_tokens)
        if draft.answerer is not None:
            tokens[draft.answerer.base.id] += sum(one.asked_tokens)
    shown = sorted(outcomes, key=lambda one: (one.reward is not None, one.reward or 0.0))[:SHOWN]
    return Calibration(
        id=calibration_id,
        verdict=verdict.word if verdict else "planned",
        words=verdict.words if verdict else planned,
        advice=verdict.advice if verdict else "",
        source=verdict.source if verdict else "",
        samples=len(draft.samples),
        graded=len(rewards),
        passed=passed,
        pass_rate=round(passed / len(rewards), 4) if rewards else None,
        pass_threshold=threshold,
        mean=round(sum(rewards) / len(rewards), 4) if rewards else None,
        lowest=min(rewards, default=None),
        highest=max(rewards, default=None),
        distribution=[
            ScoreBin(low=one.low, high=one.high, count=one.count)
            for one in distribution(rewards, range_of(draft.grader))
        ],
        errors=dict(Counter(name for one in outcomes for name in one.errors)),
        lacking=dict(draft.lacking),
        tokens=dict(tokens),
        highest_cost_usd=draft.highest_usd,
        cost_usd=cost_usd,
        notes=list(draft.notes),
        shown=[
            GradedSample(
                line=one.sample.line, answer=one.answer[:ANSWER_SHOWN], reward=one.reward, errors=one.errors
            )
            for one in shown
        ],
    )
