"""What one can do with baselines: estimate, begin, cancel, retry, read."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from decimal import ROUND_UP, Decimal
from typing import Any, Final

from sqlalchemy import func

from app.access.service import refuse_if_paused
from app.azure.catalogue.trainings import trainings
from app.baselines import repository
from app.baselines.cases import POOL_MAX, Case, sample, shots, text_of
from app.baselines.schemas import (
    BaselineAnswerRead,
    BaselineCreate,
    BaselineEstimate,
    BaselineRead,
    BaselineReport,
    FewShot,
    InlineCase,
    Retrieval,
    WayWanted,
    ZeroShot,
)
from app.baselines.states import BASELINE_LAW, BaselineStatus
from app.baselines.tables import Baseline, BaselineAnswer, BaselineGrade
from app.baselines.ways import PASSAGE_CHARACTERS, Way, messages
from app.connections.service import ConnectionService
from app.costs.estimates import MILLION
from app.costs.service import CostService
from app.datasets.engine.tokens import counter
from app.datasets.service import DatasetService
from app.deployments.asking import Answerer, tokenizer_of
from app.deployments.service import DeploymentService
from app.graders import Grader, GraderFault, as_sent, missing_fields, models, parse, pass_threshold
from app.kit.caller import Caller
from app.kit.db import storable
from app.kit.errors import Conflict, FieldError, Invalid, NotFound
from app.kit.ids import new_id
from app.kit.pagination import Page, Slice
from app.retrieval.service import SearchIndexService
from app.workbench import Workbench

CATEGORY: Final = "baseline"
MESSAGE_TOKENS: Final = 4
"""Of the frame around a message. Source: OpenAI cookbook, how to count tokens, 2025 (3 a message, 3 a reply)."""
GRADER_ANSWER_TOKENS: Final = 1000
"""The most that a model which grades is taken to answer; it reasons before it says a number."""
MATERIAL_BYTES_MAX: Final = 8_000_000
"""Cases, examples and ways of one baseline, as they are kept in its row."""
SIMILAR: Final[dict[str, Any]] = {
    "type": "text_similarity",
    "name": "like the reference",
    "input": "{{sample.output_text}}",
    "reference": "{{item.reference}}",
    "evaluation_metric": "fuzzy_match",
}
"""The grader where none is named."""
_PARTS: Final = Decimal("0.000001")


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Everything that is asked, fixed from the beginning."""

    cases: Sequence[Case]
    pool: Sequence[Case]
    """Examples that some way shows."""
    ways: Sequence[Way]
    plain_prompt_tokens: float
    """Mean of what the cases alone take."""

    def to_json(self) -> dict[str, Any]:
        return {
            "cases": [case.to_json() for case in self.cases],
            "pool": [case.to_json() for case in self.pool],
            "ways": [asdict(way) for way in self.ways],
            "plain_prompt_tokens": self.plain_prompt_tokens,
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "Material":
        return cls(
            cases=[Case.from_json(one) for one in stored["cases"]],
            pool=[Case.from_json(one) for one in stored["pool"]],
            ways=[Way.from_json(one) for one in stored["ways"]],
            plain_prompt_tokens=stored["plain_prompt_tokens"],
        )

    def sent(self, way: int, place: int, passages: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """What is sent for a case."""
        found = messages(self.ways[way], place, self.cases[place], self.pool, passages)
        return [dict(one) for one in found]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """A baseline that could be begun."""

    answerer: Answerer
    material: Material
    grader: dict[str, Any]
    threshold: float
    grading_usd: Decimal
    validation_id: str | None
    training_id: str | None
    estimate: BaselineEstimate


class BaselineService:
    """The baselines of a project."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._datasets = DatasetService(bench)
        self._deployments = DeploymentService(bench)
        self._connections = ConnectionService(bench)
        self._indexes = SearchIndexService(bench)
        self._costs = CostService(bench)

    # ── before ──────────────────────────────────────────────────────────────

    def estimate(self, caller: Caller, wanted: BaselineCreate) -> BaselineEstimate:
        """What it would ask and may cost; nothing is made. Raises as `create` does."""
        return self._draft(caller.project_id, wanted).estimate

    def _draft(self, project_id: str, wanted: BaselineCreate) -> _Draft:
        answerer = self._deployments.answerer(
            project_id,
            wanted.deployment,
            connection=wanted.connection,
            base=wanted.base_model,
            pointer="/base_model",
        )
        self._refuse_without_graders(project_id, answerer)
        grader = _grader(wanted.grader or SIMILAR)
        warnings: list[str] = []
        if answerer.is_tuned:
            warnings.append(
                f"{answerer.name} runs a tuned model; what no training reaches is asked of a base model."
            )
        cases, validation_id = self._cases(project_id, wanted, warnings)
        _refuse_missing_fields(grader, cases)
        pool, training_id = self._pool(project_id, wanted)
        ways = self._ways(project_id, wanted, cases, pool, warnings)
        material = _compact(cases, pool, ways, answerer)
        config = as_sent(wanted.grader or SIMILAR, grader)
        grading_usd = self._grading_usd(grader, config, material, wanted.max_tokens, warnings)
        return _Draft(
            answerer=answerer,
            material=material,
            grader=config,
            threshold=pass_threshold(grader) if wanted.pass_threshold is None else wanted.pass_threshold,
            grading_usd=grading_usd,
            validation_id=validation_id,
            training_id=training_id,
            estimate=self._estimate(answerer, material, wanted, grading_usd, warnings),
        )

    def _refuse_without_graders(self, project_id: str, answerer: Answerer) -> None:
        if self._connections.get(project_id, answerer.connection_id).api_style != "v1":
            raise Conflict(
                "The connection speaks the dated form, in which Azure has no graders.",
                code="azure_graders_unsupported",
                hint="Ask a deployment on a connection whose api style is v1.",
            )

    def _cases(
        self, project_id: str, wanted: BaselineCreate, warnings: list[str]
    ) -> tuple[Sequence[Case], str | None]:
        if wanted.cases is not None:
            return [_inline(case) for case in wanted.cases], None
        with self._datasets.content(project_id, wanted.validation or "") as (version, file):
            found, left_out = sample(file, count=wanted.cases_max, seed=wanted.seed)
        if not found:
            detail = "The version has no row that can be asked: a question, and an answer in words."
            raise Invalid(
                detail, code="no_cases", errors=[FieldError(pointer="/validation", detail=detail, code="no_cases")]
            )
        if left_out:
            warnings.append(f"{left_out} rows cannot be asked: they call tools, or end without an answer in words.")
        return found, version.id

    def _pool(self, project_id: str, wanted: BaselineCreate) -> tuple[Sequence[Case], str | None]:
        if wanted.training is None:
            return [], None
        with self._datasets.content(project_id, wanted.training) as (version, file):
            found, _ = sample(file, count=POOL_MAX, seed=wanted.seed)
        return [example for example in found if example.reference is not None], version.id

    def _ways(
        self,
        project_id: str,
        wanted: BaselineCreate,
        cases: Sequence[Case],
        pool: Sequence[Case],
        warnings: list[str],
    ) -> list[Way]:
        usual: list[WayWanted] = [ZeroShot(type="zero_shot")]
        if wanted.training is not None:
            usual.append(FewShot(type="few_shot"))
        made = [self._way(project_id, one, cases, pool, wanted.seed) for one in wanted.ways or usual]
        names = [way.name for way in made]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            detail = f"Two ways are the same, or are named alike: {', '.join(twice)}."
            raise Invalid(
                detail, code="ways_alike", errors=[FieldError(pointer="/ways", detail=detail, code="ways_alike")]
            )
        for way in made:
            bare = sum(not shown for shown in way.shots)
            if way.type == "few_shot" and bare:
                warnings.append(
                    f"{way.name}: for {bare} of {len(cases)} cases every example is a near duplicate of the case, "
                    "so none is shown."
                )
        return made

    def _way(
        self, project_id: str, wanted: WayWanted, cases: Sequence[Case], pool: Sequence[Case], seed: int
    ) -> Way:
        if isinstance(wanted, FewShot):
            nearest = wanted.choose == "nearest"
            return Way(
                name=f"few-shot {wanted.examples}" + ("" if nearest else " seeded"),
                type="few_shot",
                system=wanted.system,
                shots=tuple(shots(cases, pool, count=wanted.examples, nearest=nearest, seed=seed)),
            )
        if isinstance(wanted, Retrieval):
            index = self._indexes.get(project_id, wanted.search_index)
            return Way(
                name=f"retrieval {index.name} {wanted.passages}",
                type="retrieval",
                system=wanted.system,
                search_index=index.id,
                passages=wanted.passages,
            )
        if isinstance(wanted, ZeroShot):
            return Way(name="zero-shot", type="zero_shot")
        return Way(name=wanted.name or "prompt", type="prompt", system=wanted.system)

    # ── money ───────────────────────────────────────────────────────────────

    def _grading_usd(
        self, grader: Grader, config: dict[str, Any], material: Material, max_tokens: int, warnings: list[str]
    ) -> Decimal:
        """The most that one grading may cost: its templates, the longest case, and the longest answer."""
        judges = models(grader)
        if not judges:
            return Decimal(0)
        prices = {price.model: price for price in trainings().grader_prices}
        unknown = sorted(judges - prices.keys())
        if unknown:
            warnings.append(
                f"No price is known for {', '.join(unknown)} as a grader: its tokens are not in the cost."
            )
        count = counter("o200k_base")
        fixed = count.one(json.dumps(config, ensure_ascii=False))
        longest = max(count.one(json.dumps(case.item, ensure_ascii=False, default=str)) for case in material.cases)
        tokens = fixed + longest + max_tokens
        most = sum(
            (
                (prices[name].input_usd * tokens + prices[name].output_usd * GRADER_ANSWER_TOKENS) / MILLION
                for name in judges & prices.keys()
            ),
            Decimal(0),
        )
        return most.quantize(_PARTS, ROUND_UP)

    def _estimate(
        self,
        answerer: Answerer,
        material: Material,
        wanted: BaselineCreate,
        grading_usd: Decimal,
        warnings: list[str],
    ) -> BaselineEstimate:
        requests = len(material.ways) * len(material.cases)
        prompts = [
            prompt_tokens_most(material, way, place, answerer)
            for way in range(len(material.ways))
            for place in range(len(material.cases))
        ]
        prompt_tokens = sum(prompts)
        count = counter(tokenizer_of(answerer.base))
        answers = sum(
            min(wanted.max_tokens, count.one(case.reference) if case.reference else wanted.max_tokens)
            for case in material.cases
        ) * len(material.ways)
        expected = self.price(answerer.base.id, answerer.sku, prompt_tokens, answers)
        most = [self.price(answerer.base.id, answerer.sku, tokens, wanted.max_tokens) for tokens in prompts]
        high = None if None in most else _with_lost([usd for usd in most if usd is not None], wanted.concurrency)
        if high is None or expected is None:
            warnings.append(
                f"No price is known for {answerer.base.id} as {answerer.sku}: nothing is reserved, and no cap "
                "holds. An operator can add one to the catalogue file."
            )
        price = self._bench.catalogue.price(answerer.base.id, "output", answerer.sku)
        grading = grading_usd * requests
        return BaselineEstimate(
            cases=len(material.cases),
            ways=[way.name for way in material.ways],
            requests=requests,
            gradings=requests,
            prompt_tokens=prompt_tokens,
            expected_usd=None if expected is None else expected + grading,
            high_usd=None if high is None else high + grading + grading_usd * wanted.concurrency,
            price_source=price.source if price else None,
            warnings=warnings,
        )

    def price(self, base_model: str, sku: str, prompt_tokens: int, completion_tokens: int) -> Decimal | None:
        """Of one answer, rounded up; None where no price is known."""
        cost = self._costs.inference_cost(
            base_model=base_model, sku=sku, prompt_tokens=prompt_tokens, completion_tokens=completion_tokens
        )
        return None if cost is None else cost.quantize(_PARTS, ROUND_UP)

    # ── making ──────────────────────────────────────────────────────────────

    def create(self, caller: Caller, wanted: BaselineCreate, *, reservation_id: str | None = None) -> BaselineRead:
        """Accept a baseline: its highest cost is reserved, workers ask and grade.

        Args:
            reservation_id: of an idempotent request; the same one again answers the baseline it made.

        Raises:
            NotFound: no such deployment, connection, version or search index.
            Invalid: cases, ways or grader cannot be used, or it may cost more than `max_cost_usd`.
            Conflict: the deployment is not ready, the project is paused, or a cap forbids it.
        """
        if reservation_id is not None:
            with self._bench.read() as session:
                made = repository.find_reserved(session, reservation_id)
            if made is not None:
                return self.get(caller.project_id, made.id)
        draft = self._draft(caller.project_id, wanted)
        high = draft.estimate.high_usd
        _refuse_dear(wanted, high)
        units = [
            (way, place) for way in range(len(draft.material.ways)) for place in range(len(draft.material.cases))
        ]
        row = _row(caller, draft, wanted, reservation_id)
        with self._bench.begin() as work:
            refuse_if_paused(work.session, caller.project_id, policy=self._bench.policy)
            self._costs.reserve(
                work,
                caller,
                subject_id=row.id,
                category=CATEGORY,
                amount_usd=row.reserved_usd,
                note=f"{len(draft.material.cases)} cases in {len(draft.material.ways)} ways, {row.deployment}",
            )
            repository.add(work.session, row, units)
            work.announce(
                "baseline.running",
                project_id=caller.project_id,
                subject_id=row.id,
                deployment=row.deployment,
                cases=len(draft.material.cases),
                ways=draft.estimate.ways,
                reserved_usd=f"{row.reserved_usd:.4f}",
            )
            work.nudge("baselines.advance", row.id)
        return self.get(caller.project_id, row.id)

    # ── wishes ──────────────────────────────────────────────────────────────

    def cancel(self, project_id: str, baseline_id: str) -> BaselineRead:
        """Ask nothing more. What is under way is still paid for; twice is as good as once."""
        with self._bench.begin() as work:
            row = _known(repository.find(work.session, project_id, baseline_id, lock=True), baseline_id)
            if BaselineStatus(row.status) not in BASELINE_LAW.terminal:
                first = row.cancel_requested_at is None
                repository.ask(
                    work.session, row.id, {"cancel_requested_at": func.clock_timestamp()} if first else {}
                )
                if first:
                    work.announce("baseline.cancel_requested", project_id=project_id, subject_id=row.id)
                work.nudge("baselines.advance", row.id)
        return self.get(project_id, baseline_id)

    def retry(self, project_id: str, baseline_id: str) -> BaselineRead:
        """Look again at a parked baseline. Raises `Conflict` (`not_parked`)."""
        with self._bench.begin() as work:
            row = _known(repository.find(work.session, project_id, baseline_id, lock=True), baseline_id)
            if row.parked_reason is None:
                raise Conflict("The baseline is not parked; it is being looked after.", code="not_parked")
            repository.ask(work.session, row.id, {})
            work.announce("baseline.retry_requested", project_id=project_id, subject_id=row.id)
            work.nudge("baselines.advance", row.id)
        return self.get(project_id, baseline_id)

    # ── reading ─────────────────────────────────────────────────────────────

    def get(self, project_id: str, baseline_id: str) -> BaselineRead:
        """Raises `NotFound`."""
        with self._bench.read() as session:
            row = _known(repository.find(session, project_id, baseline_id), baseline_id)
        return self._read([row])[0]

    def page(self, project_id: str, wanted: Page, *, status: BaselineStatus | None) -> Slice[BaselineRead]:
        with self._bench.read() as session:
            found = repository.page(session, project_id, wanted, status=status)
        return Slice(self._read(found.rows), found.has_more)

    def answers(
        self, project_id: str, baseline_id: str, wanted: Page, *, way: str | None
    ) -> Slice[BaselineAnswerRead]:
        """What was sent, what came back, and its score. Raises `NotFound`, also for a way it has not."""
        with self._bench.read() as session:
            row = _known(repository.find(session, project_id, baseline_id), baseline_id)
            material = Material.from_json(row.material)
            names = [one.name for one in material.ways]
            if way is not None and way not in names:
                raise NotFound(f"There is no way {way!r}; there are {', '.join(names)}.", code="way_not_found")
            number = None if way is None else names.index(way)
            found = repository.answer_page(session, row.id, wanted, way=number)
            graded = repository.grades(session, row.id, [one.id for one in found.rows])
        shown = [_read_answer(one, graded.get(one.id), row, material) for one in found.rows]
        return Slice(shown, found.has_more)

    def _read(self, rows: Sequence[Baseline]) -> list[BaselineRead]:
        with self._bench.read() as session:
            tallies = repository.tallies(session, [row.id for row in rows])
        same = (
            *("id", "status", "deployment", "base_model", "grader", "pass_threshold", "good_enough", "seed"),
            *("reserved_usd", "cost_usd", "cancel_requested_at", "error", "parked_reason", "last_error"),
            *("created_at", "updated_at", "finished_at"),
        )
        shown = []
        for row in rows:
            answered, graded = tallies[row.id]
            shown.append(
                BaselineRead(
                    validation=row.cases_version_id,
                    training=row.training_version_id,
                    cases=len(row.material["cases"]),
                    ways=[way["name"] for way in row.material["ways"]],
                    requests=answered.units,
                    requests_answered=answered.answered,
                    requests_failed=answered.unanswered,
                    graded=graded.answered - graded.unanswered,
                    prompt_tokens=answered.prompt_tokens,
                    completion_tokens=answered.completion_tokens,
                    spent_usd=answered.answers_usd + graded.answers_usd,
                    lost_usd=answered.lost_usd + graded.lost_usd,
                    report=BaselineReport.model_validate(row.report) if row.report else None,
                    **{name: getattr(row, name) for name in same},
                )
            )
        return shown


def _with_lost(most: Sequence[Decimal], concurrency: int) -> Decimal:
    """Every request at its highest, and once more the dearest that a crash can lose, which may be paid twice."""
    return sum(most, Decimal(0)) + sum(sorted(most)[-concurrency:], Decimal(0))


def prompt_tokens_most(material: Material, way: int, place: int, answerer: Answerer) -> int:
    """Of what is sent for a case; passages are counted at their longest, two characters a token."""
    count = counter(tokenizer_of(answerer.base))
    sent = material.sent(way, place)
    passages = material.ways[way].passages * PASSAGE_CHARACTERS // 2
    return sum(count.one(text_of(one)) + MESSAGE_TOKENS for one in sent) + MESSAGE_TOKENS + passages


def _compact(cases: Sequence[Case], pool: Sequence[Case], ways: Sequence[Way], answerer: Answerer) -> Material:
    """With only those examples that some way shows. Raises `Invalid` (`too_much_material`)."""
    used = sorted({one for way in ways for shown in way.shots for one in shown})
    place = {old: new for new, old in enumerate(used)}
    kept = [
        Way(**{**asdict(way), "shots": tuple(tuple(place[one] for one in shown) for shown in way.shots)})
        for way in ways
    ]
    count = counter(tokenizer_of(answerer.base))
    plain = [sum(count.one(text_of(one)) + MESSAGE_TOKENS for one in case.messages) for case in cases]
    material = Material(
        cases=cases,
        pool=[pool[one] for one in used],
        ways=kept,
        plain_prompt_tokens=sum(plain) / len(plain),
    )
    size = len(json.dumps(material.to_json(), ensure_ascii=False).encode())
    if size > MATERIAL_BYTES_MAX:
        detail = f"Cases and examples come to {size:,} bytes; a baseline takes {MATERIAL_BYTES_MAX:,}."
        raise Invalid(
            detail,
            code="too_much_material",
            hint="Ask fewer cases, or show fewer examples.",
            errors=[FieldError(pointer="/cases_max", detail=detail, code="too_much_material")],
        )
    return material


def _inline(wanted: InlineCase) -> Case:
    said: list[dict[str, Any]] = [{"role": "system", "content": wanted.system}] if wanted.system else []
    return Case(
        messages=(*said, {"role": "user", "content": wanted.question}),
        reference=wanted.reference,
        fields=wanted.item,
    )


def _grader(config: dict[str, Any]) -> Grader:
    try:
        return parse(config, at="/grader")
    except GraderFault as fault:
        errors = [FieldError(pointer=one.pointer, detail=one.detail, code=one.code) for one in fault.faults]
    raise Invalid("The grader cannot be used.", code="grader_unusable", errors=errors)


def _refuse_missing_fields(grader: Grader, cases: Sequence[Case]) -> None:
    lacking = next(
        ((place, names) for place, case in enumerate(cases) if (names := missing_fields(grader, case.item))), None
    )
    if lacking is None:
        return
    place, names = lacking
    where = f"line {cases[place].line}" if cases[place].line else f"case {place + 1}"
    detail = f"The grader looks at {', '.join(names)}, which {where} has not."
    raise Invalid(
        detail,
        code="grader_field_missing",
        hint="A case has item.question, item.reference where the row has an answer, and the row's own members.",
        errors=[FieldError(pointer="/grader", detail=detail, code="grader_field_missing")],
    )


def _refuse_dear(wanted: BaselineCreate, high: Decimal | None) -> None:
    if wanted.max_cost_usd is None:
        return
    if high is None:
        detail = "No price is known for this deployment, so what it may cost cannot be limited."
    elif high > wanted.max_cost_usd:
        detail = f"It may cost ${high:.4f}, more than the ${wanted.max_cost_usd} that were allowed."
    else:
        return
    raise Invalid(
        detail,
        code="too_expensive",
        hint="Allow more, or ask fewer cases, fewer ways, a lower max_tokens or a cheaper model.",
        errors=[FieldError(pointer="/max_cost_usd", detail=detail, code="too_expensive")],
    )


def _row(caller: Caller, draft: _Draft, wanted: BaselineCreate, reservation_id: str | None) -> Baseline:
    high = draft.estimate.high_usd
    return Baseline(
        id=new_id("bas"),
        project_id=caller.project_id,
        connection_id=draft.answerer.connection_id,
        key_id=caller.key_id,
        reservation_id=reservation_id,
        deployment_id=draft.answerer.deployment_id,
        deployment=draft.answerer.name,
        base_model=draft.answerer.base.id,
        sku=draft.answerer.sku,
        status=BaselineStatus.RUNNING,
        cases_version_id=draft.validation_id,
        training_version_id=draft.training_id,
        material=storable(draft.material.to_json()),
        grader=draft.grader,
        pass_threshold=draft.threshold,
        good_enough=wanted.good_enough,
        calls_per_month=wanted.calls_per_month,
        seed=wanted.seed,
        concurrency=wanted.concurrency,
        max_tokens=wanted.max_tokens,
        temperature=wanted.temperature,
        grading_usd=draft.grading_usd,
        reserved_usd=high or Decimal(0),
        has_price=high is not None,
        next_check_at=func.clock_timestamp(),
    )


def _known(row: Baseline | None, baseline_id: str) -> Baseline:
    if row is None:
        raise NotFound(f"There is no baseline {baseline_id!r} in this project.", code="baseline_not_found")
    return row


def _read_answer(
    one: BaselineAnswer, graded: BaselineGrade | None, row: Baseline, material: Material
) -> BaselineAnswerRead:
    case = material.cases[one.place]
    score = graded.score if graded else None
    return BaselineAnswerRead(
        id=one.id,
        way=material.ways[one.way].name,
        case=one.place,
        line=case.line,
        messages=material.sent(one.way, one.place, one.passages or ()),
        passages=one.passages,
        reference=case.reference,
        text=one.text,
        score=score,
        passed=None if score is None else score >= row.pass_threshold,
        grade=graded.detail if graded else None,
        finish_reason=one.finish_reason,
        prompt_tokens=one.prompt_tokens,
        completion_tokens=one.completion_tokens,
        latency_seconds=one.latency_seconds,
        error=one.error or (graded.error if graded else None),
    )
