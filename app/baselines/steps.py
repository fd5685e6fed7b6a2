"""A baseline's steps, taken by workers under a claim: ask some cases, grade some answers, report.

What is recorded is never asked for again; see `app.deployments.asked` for what a lost answer is counted as.
"""

from collections.abc import Sequence
from concurrent.futures import Future
from decimal import ROUND_UP, Decimal
from typing import Any, Final

import structlog
from sqlalchemy import ColumnElement, func

from app.access.service import AccessService
from app.azure.catalogue.trainings import trainings
from app.azure.port import AzureError, AzureTarget, ChatAnswer, Graded, Refused
from app.baselines import repository, verdict
from app.baselines.cases import Case
from app.baselines.service import CATEGORY, BaselineService, Material, prompt_tokens_most
from app.baselines.states import BASELINE_LAW, BaselineStatus
from app.baselines.tables import Baseline, BaselineAnswer, BaselineGrade
from app.baselines.verdict import Asked, Prices
from app.baselines.ways import PASSAGE_CHARACTERS
from app.connections.service import ConnectionService, Traffic
from app.costs.estimates import MILLION
from app.costs.service import CostService
from app.deployments import asked
from app.deployments.asking import UNITS_A_STEP, Answerer, Request, ask_all
from app.deployments.inference import Question, ask
from app.deployments.service import DeploymentService
from app.jobs import untrained
from app.jobs.untrained import UntrainedResult
from app.kit import care
from app.kit.care import Claim
from app.kit.db import storable
from app.kit.errors import Conflict
from app.kit.failpoints import failpoint
from app.retrieval.service import SearchIndexService
from app.workbench import UnitOfWork, Workbench

log = structlog.get_logger("kitae.baselines")

PAUSED_LOOK_SECONDS: Final = 15.0
"""How often a baseline of a paused project looks whether it may go on."""
_PARTS: Final = Decimal("0.000001")

Found = tuple[ChatAnswer, list[dict[str, Any]] | None]
"""An answer, and the passages that the model was shown for it."""
ToGrade = tuple[BaselineGrade, BaselineAnswer]


class _NotSent(Exception):
    """The search failed, so the model was never asked: nothing was noted, and nothing can have been spent."""

    def __init__(self, error: AzureError) -> None:
        super().__init__(error.message)
        self.error = error


class BaselineSteps:
    """What workers do for baselines."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._access = AccessService(bench)
        self._baselines = BaselineService(bench)
        self._connections = ConnectionService(bench)
        self._costs = CostService(bench)
        self._deployments = DeploymentService(bench)
        self._indexes = SearchIndexService(bench)

    def advance(self, baseline_id: str) -> None:
        """Ask and grade until nothing is left, or time is up."""
        self._bench.tend(Baseline, baseline_id, self._step, noun="baseline")

    def _step(self, held: Claim) -> None:
        with self._bench.read() as session:
            row = repository.get_unscoped(session, held.row_id)
            most = UNITS_A_STEP * row.concurrency
            to_ask = repository.open_answers(session, row.id, limit=most)
            to_grade = [] if to_ask else repository.open_grades(session, row.id, limit=most)
        if row.status != BaselineStatus.RUNNING:
            with self._bench.begin() as work:
                care.finish(work.session, held, check_in_seconds=None)
            return
        if row.cancel_requested_at is not None:
            self._end(held, row, BaselineStatus.CANCELLED)
            return
        if not to_ask and not to_grade:
            self._report(held, row)
            return
        if self._access.is_paused(row.project_id):
            self._finish(held, check_in_seconds=PAUSED_LOOK_SECONDS)
            return
        went = self._ask_some(held, row, to_ask) if to_ask else self._grade_some(held, row, to_grade)
        if went:
            self._finish(held, check_in_seconds=0)
        else:
            self._spent(held, row, graded=not to_ask)

    def _finish(self, held: Claim, *, check_in_seconds: float) -> None:
        with self._bench.begin() as work:
            care.finish(work.session, held, check_in_seconds=check_in_seconds, updated_at=func.clock_timestamp())
            repository.heed_cancel(work.session, held.row_id)

    def _left(self, row: Baseline) -> Decimal | None:
        """What may still be spent; None where no price is known."""
        if not row.has_price:
            return None
        with self._bench.read() as session:
            answered, graded = repository.tallies(session, [row.id])[row.id]
        return row.reserved_usd - sum(
            (answered.answers_usd, answered.lost_usd, graded.answers_usd, graded.lost_usd), Decimal(0)
        )

    def _may_go_on(self, row: Baseline) -> bool:
        with self._bench.read() as session:
            cancelled = repository.is_cancel_requested(session, row.id)
        return not cancelled and not self._access.is_paused(row.project_id)

    # ── asking ──────────────────────────────────────────────────────────────

    def _ask_some(self, held: Claim, row: Baseline, units: Sequence[BaselineAnswer]) -> bool:
        self._refuse_unready(row)
        material, target = Material.from_json(row.material), self._connections.target_of(row.connection_id)
        answerer = self._answerer(row)

        def prepare(unit: BaselineAnswer) -> Request[BaselineAnswer, Found]:
            tokens = prompt_tokens_most(material, unit.way, unit.place, answerer)
            most = self._price(row, tokens, row.max_tokens)
            return Request(unit, most, lambda: self._ask(held, row, target, material, unit, most))

        return ask_all(
            units,
            concurrency=row.concurrency,
            left_usd=self._left(row),
            prepare=prepare,
            may_go_on=lambda: self._may_go_on(row),
            take=lambda item, future: self._take_answer(held, row, item, future),
        )

    def _refuse_unready(self, row: Baseline) -> None:
        """A deployment that is being made, or is gone, is waited for, and in the end parks the baseline."""
        if row.deployment_id is None:
            return
        try:
            self._deployments.ready(row.project_id, row.deployment_id)
        except Conflict as error:
            raise Refused(error.detail, code=error.code, hint=error.hint) from error

    def _answerer(self, row: Baseline) -> Answerer:
        base = self._bench.catalogue.find(row.base_model)
        assert base is not None  # noqa: S101  it was found when the baseline was made
        return Answerer(
            connection_id=row.connection_id,
            deployment_id=row.deployment_id,
            name=row.deployment,
            base=base,
            remote_model=base.id,
            sku=row.sku,
        )

    def _price(self, row: Baseline, prompt_tokens: int, completion_tokens: int) -> Decimal:
        return self._baselines.price(row.base_model, row.sku, prompt_tokens, completion_tokens) or Decimal(0)

    def _ask(
        self,
        held: Claim,
        row: Baseline,
        target: AzureTarget,
        material: Material,
        unit: BaselineAnswer,
        most_usd: Decimal,
    ) -> Found:
        way, passages = material.ways[unit.way], None
        if way.search_index is not None:
            try:
                passages = self._search(way.search_index, material.cases[unit.place], way.passages)
            except AzureError as error:
                raise _NotSent(error) from error
        with self._bench.begin() as work:
            care.extend(work.session, held, lease_seconds=self._bench.policy.lease_seconds)
            asked.send(work.session, BaselineAnswer, repository.answer(unit.id), most_usd)
        failpoint("baselines.answer.sent")
        question = Question(
            messages=material.sent(unit.way, unit.place, passages or ()),
            max_tokens=row.max_tokens,
            temperature=row.temperature,
            seed=row.seed,
        )
        return ask(self._connections, target, row.deployment, question), passages

    def _search(self, index_id: str, case: Case, most: int) -> list[dict[str, Any]]:
        found = self._indexes.search(index_id, case.question, top=most)
        return [{"title": one.title, "text": one.text[:PASSAGE_CHARACTERS], "score": one.score} for one in found]

    def _take_answer(
        self, held: Claim, row: Baseline, item: Request[BaselineAnswer, Found], future: Future[Found]
    ) -> AzureError | None:
        which = repository.answer(item.unit.id)
        try:
            answer, passages = future.result()
        except _NotSent as unsent:
            return self._take_error(held, BaselineAnswer, which, item.unit, Decimal(0), unsent.error)
        except AzureError as error:
            return self._take_error(held, BaselineAnswer, which, item.unit, item.most_usd, error)
        with self._bench.begin() as work:
            care.extend(work.session, held, lease_seconds=self._bench.policy.lease_seconds)
            asked.answer(
                work.session,
                BaselineAnswer,
                which,
                item.most_usd,
                {
                    "text": storable(answer.text),
                    **({} if passages is None else {"passages": storable(passages)}),
                    "finish_reason": answer.finish_reason,
                    "prompt_tokens": answer.prompt_tokens,
                    "completion_tokens": answer.completion_tokens,
                    "latency_seconds": round(answer.latency_seconds, 3),
                    "cost_usd": self._price(row, answer.prompt_tokens, answer.completion_tokens)
                    if row.has_price
                    else None,
                },
            )
            repository.add_grade(work.session, row.id, item.unit.id)
        failpoint("baselines.answer.recorded")
        return None

    def _take_error(
        self,
        held: Claim,
        table: type[BaselineAnswer | BaselineGrade],
        which: ColumnElement[bool],
        unit: BaselineAnswer | BaselineGrade,
        most_usd: Decimal,
        error: AzureError,
    ) -> AzureError | None:
        with self._bench.begin() as work:
            care.extend(work.session, held, lease_seconds=self._bench.policy.lease_seconds)
            return asked.take_error(work.session, table, which, most_usd, unit.attempts, error)

    # ── grading ─────────────────────────────────────────────────────────────

    def _grade_some(self, held: Claim, row: Baseline, units: Sequence[ToGrade]) -> bool:
        material, target = Material.from_json(row.material), self._connections.target_of(row.connection_id)

        def prepare(unit: ToGrade) -> Request[ToGrade, Graded]:
            return Request(unit, row.grading_usd, lambda: self._grade(held, row, target, material, unit[1]))

        return ask_all(
            units,
            concurrency=row.concurrency,
            left_usd=self._left(row),
            prepare=prepare,
            may_go_on=lambda: self._may_go_on(row),
            take=lambda item, future: self._take_grade(held, row, item, future),
        )

    def _grade(
        self, held: Claim, row: Baseline, target: AzureTarget, material: Material, answer: BaselineAnswer
    ) -> Graded:
        with self._bench.begin() as work:
            care.extend(work.session, held, lease_seconds=self._bench.policy.lease_seconds)
            asked.send(work.session, BaselineGrade, repository.grade(answer.id), row.grading_usd)
        failpoint("baselines.grade.sent")
        with self._connections.data(target, Traffic.READ) as azure:
            item = material.cases[answer.place].item
            return azure.run_grader(row.grader, item=item, answer=answer.text or "")

    def _take_grade(
        self, held: Claim, row: Baseline, item: Request[ToGrade, Graded], future: Future[Graded]
    ) -> AzureError | None:
        which = repository.grade(item.unit[1].id)
        try:
            graded = future.result()
        except AzureError as error:
            return self._take_error(held, BaselineGrade, which, item.unit[0], item.most_usd, error)
        failed: dict[str, Any] = {}
        if graded.reward is None:
            blamed = {"code": "not_graded", "message": "The grader gave no score.", "remote": dict(graded.errors)}
            failed = {"error": storable(blamed)}
        with self._bench.begin() as work:
            care.extend(work.session, held, lease_seconds=self._bench.policy.lease_seconds)
            asked.answer(
                work.session,
                BaselineGrade,
                which,
                item.most_usd,
                {
                    "score": graded.reward,
                    "detail": storable({"scores": dict(graded.scores), "errors": dict(graded.errors)}),
                    "prompt_tokens": sum(graded.tokens.values()) or None,
                    "latency_seconds": round(graded.latency_seconds, 3),
                    "cost_usd": _grading_cost(graded, item.most_usd) if row.has_price else None,
                    **failed,
                },
            )
        failpoint("baselines.grade.recorded")
        return None

    # ── ending ──────────────────────────────────────────────────────────────

    def _spent(self, held: Claim, row: Baseline, *, graded: bool) -> None:
        """The reservation does not bear another request: what is left is given up, and said to be.

        What was answered is still graded, if the reservation bears that.
        """
        error = {"code": "not-asked", "message": "The money that was set aside is spent."}
        with self._bench.begin() as work:
            care.finish(work.session, held, check_in_seconds=0, updated_at=func.clock_timestamp())
            count = repository.give_up_open(work.session, row.id, error, graded=graded)
        log.warning("baseline.money_spent", id=row.id, requests=count)

    def _report(self, held: Claim, row: Baseline) -> None:
        """Everything was asked: what it means."""
        material = Material.from_json(row.material)
        with self._bench.read() as session:
            answers = repository.answers(session, row.id)
            grades = repository.grades(session, row.id)
        ways = [_of_way(number, material, answers, grades, row) for number in range(len(material.ways))]
        if all(score is None for way in ways for score in way.scores):
            self._end(held, row, BaselineStatus.FAILED)
            return
        catalogue = self._bench.catalogue
        asked_price = catalogue.price(row.base_model, "input", row.sku)
        hosting = catalogue.price(row.base_model, "hosting", row.sku)
        prices = Prices(
            input_usd_per_million=asked_price.usd if asked_price else None,
            hosting_month_usd=hosting.usd * trainings().hosting_hours_per_month.value if hosting else None,
            plain_prompt_tokens=_plain_prompt_tokens(ways, material),
        )
        results = verdict.compare(ways, prices, seed=row.seed)
        found = verdict.judge(results, good_enough=row.good_enough, calls_per_month=row.calls_per_month)
        self._end(held, row, BaselineStatus.SUCCEEDED, report=verdict.to_json(results, found))

    def _end(
        self, held: Claim, row: Baseline, wanted: BaselineStatus, *, report: dict[str, Any] | None = None
    ) -> None:
        """The report, the settlement, what plans shall say of it, and the end, in one transaction."""
        values: dict[str, Any] = {}
        if wanted is BaselineStatus.FAILED:
            values["error"] = {
                "code": "nothing_scored",
                "message": "Not one answer could be scored.",
                "hint": f"GET /v1/baselines/{row.id}/answers says why, case by case.",
            }
        with self._bench.begin() as work:
            if report is not None:
                values["report"] = report
                untrained.record(
                    work,
                    UntrainedResult(
                        id=row.id,
                        project_id=row.project_id,
                        training_version_id=row.training_version_id,
                        cases_version_id=row.cases_version_id,
                        base_model=row.base_model,
                        verdict=report["verdict"],
                        headline=report["headline"],
                    ),
                )
            self._record_end(work, held, row, wanted, values)

    def _record_end(
        self, work: UnitOfWork, held: Claim, row: Baseline, wanted: BaselineStatus, values: dict[str, Any]
    ) -> None:
        BASELINE_LAW.check(BaselineStatus(row.status), wanted)
        answered, graded = repository.tallies(work.session, [row.id])[row.id]
        spent = answered.answers_usd + answered.lost_usd + graded.answers_usd + graded.lost_usd
        cost = spent.quantize(_PARTS, ROUND_UP) if row.has_price else None
        self._costs.settle(
            work,
            project_id=row.project_id,
            key_id=row.key_id,
            subject_id=row.id,
            category=CATEGORY,
            amount_usd=cost,
            note=f"{answered.answered} answers, {graded.answered} gradings",
        )
        care.finish(
            work.session,
            held,
            check_in_seconds=None,
            status=wanted,
            cost_usd=cost,
            updated_at=func.clock_timestamp(),
            finished_at=func.clock_timestamp(),
            **values,
        )
        work.announce(
            f"baseline.{wanted}",
            project_id=row.project_id,
            subject_id=row.id,
            **{"from": row.status, "to": str(wanted)},
            verdict=values.get("report", {}).get("verdict"),
            headline=values.get("report", {}).get("headline"),
        )


def _of_way(
    number: int,
    material: Material,
    answers: Sequence[BaselineAnswer],
    grades: dict[str, BaselineGrade],
    row: Baseline,
) -> Asked:
    own = [one for one in answers if one.way == number]
    told = [one for one in own if one.error is None]
    scores = [grades[one.id].score if one.id in grades else None for one in own]
    costs = [one.cost_usd or Decimal(0) for one in own]
    costs += [grades[one.id].cost_usd or Decimal(0) for one in own if one.id in grades]
    return Asked(
        name=material.ways[number].name,
        type=material.ways[number].type,
        scores=scores,
        passed=[score is not None and score >= row.pass_threshold for score in scores],
        prompt_tokens=[one.prompt_tokens or 0 for one in told],
        completion_tokens=[one.completion_tokens or 0 for one in told],
        latency_seconds=[one.latency_seconds or 0.0 for one in told],
        cost_usd=sum(costs, Decimal(0)) if row.has_price else None,
    )


def _plain_prompt_tokens(ways: Sequence[Asked], material: Material) -> float:
    """As Azure counted them where the cases were asked as they are, else as we do."""
    counted = next((way.prompt_tokens for way in ways if way.type == "zero_shot" and way.prompt_tokens), None)
    return material.plain_prompt_tokens if counted is None else sum(counted) / len(counted)


def _grading_cost(graded: Graded, most_usd: Decimal) -> Decimal:
    """At the price of answers, since Azure does not tell them from questions; never more than was set aside."""
    prices = {price.model: price.output_usd for price in trainings().grader_prices}
    cost = sum((prices.get(model, Decimal(0)) * count for model, count in graded.tokens.items()), Decimal(0))
    return min(most_usd, (cost / MILLION).quantize(_PARTS, ROUND_UP))
