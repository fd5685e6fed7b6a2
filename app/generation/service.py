"""What one can do with generations: estimate, begin, cancel, retry, read; and ask what a dataset lacks."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_UP, Decimal
from typing import Any, Final

from sqlalchemy import func

from app.access.service import refuse_if_paused
from app.costs.service import CostService
from app.datasets.engine.tokens import counter
from app.datasets.service import DatasetService
from app.datasets.tables import DatasetVersion
from app.deployments.asking import Answerer, tokenizer_of
from app.deployments.service import DeploymentService
from app.generation import repository
from app.generation.craft.coverage import ROWS_MAX, CoverageReport, cover
from app.generation.craft.facts import Name
from app.generation.craft.kinds import Kept, Kind, Unit
from app.generation.craft.paraphrases import Paraphrases
from app.generation.craft.verdicts import REASONS
from app.generation.material import (
    kind_of,
    of_documents,
    of_paraphrases,
    of_tool_use,
    pairs_in,
    question_and_answer,
)
from app.generation.schemas import (
    PAIRS_MAX,
    FromDocuments,
    GenerationCreate,
    GenerationEstimate,
    GenerationRead,
    GenerationRowRead,
    Paraphrase,
    TooFew,
    ToolUse,
)
from app.generation.states import GENERATION_LAW, GenerationStatus
from app.generation.tables import Generation, GenerationRow
from app.kit.caller import Caller
from app.kit.errors import Conflict, FieldError, Invalid, NotFound
from app.kit.ids import new_id
from app.kit.pagination import Page, Slice
from app.workbench import Workbench

ROUNDS_MAX: Final = 3
"""How often a subject that has too few rows is asked about. What three rounds did not bring, a fourth will not."""
AVOIDED_TOKENS: Final = 600
"""Room for the phrasings that a request tells the generator to avoid."""
MESSAGE_TOKENS: Final = 8
"""Of the frame around two messages. Source: OpenAI cookbook, how to count tokens, 2025 (3 a message, 3 a reply)."""
TOKENS_OF_AN_ITEM: Final = 8
"""Of quotes, commas and names of members around each item of an answer."""
SHORT_SHOWN: Final = 100
COVERED_CHARACTERS: Final = 2_000_000
"""Of questions and answers that are looked at while a caller waits: three seconds of a core (measured)."""
CATEGORY: Final = "generation"
_PARTS: Final = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class _Draft:
    """A generation that could be begun."""

    generator: Answerer
    kind: Kind
    kind_name: str
    material: dict[str, Any]
    units: Sequence[Unit]
    estimate: GenerationEstimate


class GenerationService:
    """The generations of a project."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._datasets = DatasetService(bench)
        self._deployments = DeploymentService(bench)
        self._costs = CostService(bench)

    # ── before ──────────────────────────────────────────────────────────────

    def estimate(self, caller: Caller, ref: str, wanted: GenerationCreate) -> GenerationEstimate:
        """What it would ask and may cost; nothing is made. Raises as `create` does."""
        return self._draft(caller.project_id, ref, wanted).estimate

    def _draft(self, project_id: str, ref: str, wanted: GenerationCreate) -> _Draft:
        dataset = self._datasets.get(project_id, ref)
        if dataset.method != "supervised":
            raise Conflict(
                f"{dataset.name!r} is a dataset for {dataset.method}; what is generated are supervised examples.",
                code="wrong_method",
                hint="Generate into a supervised dataset.",
            )
        generator = self._generator(project_id, wanted)
        material = self._material(project_id, wanted, generator)
        kind = kind_of(wanted.source.type, material)
        units = kind.units()
        if not units:
            detail = "None of the styles fits these pairs: they need a name, or another language."
            raise Invalid(
                detail,
                code="nothing_to_ask",
                hint="Declare `names`, or choose styles that need none, such as formal, casual or typos.",
                errors=[FieldError(pointer="/source/styles", detail=detail, code="nothing_to_ask")],
            )
        return _Draft(
            generator, kind, wanted.source.type, material, units, self._estimate(generator, kind, units, wanted)
        )

    def _material(self, project_id: str, wanted: GenerationCreate, generator: Answerer) -> dict[str, Any]:
        source = wanted.source
        if isinstance(source, ToolUse):
            return of_tool_use(source)
        if isinstance(source, FromDocuments):
            return of_documents(source, tokenizer_of(generator.base))
        return of_paraphrases(source, source.pairs or self._pairs(project_id, source))

    def _pairs(self, project_id: str, source: Paraphrase) -> list[Any]:
        with self._datasets.content(project_id, source.version or "") as (_, file):
            found = pairs_in([line for line, _ in zip(file, range(PAIRS_MAX), strict=False)])
        if not found:
            detail = "The version has no row with a question and an answer."
            raise Invalid(
                detail,
                code="no_pairs",
                errors=[FieldError(pointer="/source/version", detail=detail, code="no_pairs")],
            )
        return found

    def _generator(self, project_id: str, wanted: GenerationCreate) -> Answerer:
        return self._deployments.answerer(
            project_id, wanted.deployment, connection=wanted.connection, base=wanted.generator, pointer="/generator"
        )

    def _estimate(
        self, generator: Answerer, kind: Kind, units: Sequence[Unit], wanted: GenerationCreate
    ) -> GenerationEstimate:
        count = counter(tokenizer_of(generator.base)).many
        prompts = [kind.messages(unit, ()) for unit in units]
        prompt_tokens = int(count([message["content"] for messages in prompts for message in messages]).sum())
        prompt_tokens += MESSAGE_TOKENS * len(units)
        of_items = count([kind.label(unit.subject) for unit in units])
        completion = sum(
            min(wanted.max_tokens, unit.count * (int(tokens) + TOKENS_OF_AN_ITEM))
            for unit, tokens in zip(units, of_items, strict=True)
        )
        expected = self._price(generator, prompt_tokens, completion)
        high = self._price(
            generator,
            ROUNDS_MAX * (prompt_tokens + AVOIDED_TOKENS * len(units)),
            ROUNDS_MAX * wanted.max_tokens * len(units),
        )
        price = self._bench.catalogue.price(generator.base.id, "output", generator.sku)
        warnings = []
        if expected is None:
            warnings.append(
                f"No price is known for {generator.base.id} as {generator.sku}: nothing is reserved, and no cap "
                "holds. An operator can add one to the catalogue file."
            )
        styles: dict[str, int] = {}
        for unit in units:
            if unit.style:
                styles[unit.style] = styles.get(unit.style, 0) + unit.count
        warnings += _thin(kind)
        return GenerationEstimate(
            subjects=kind.subjects,
            requests=len(units),
            requests_most=ROUNDS_MAX * len(units),
            prompt_tokens=prompt_tokens,
            completion_tokens=completion,
            expected_usd=expected,
            high_usd=high,
            price_source=price.source if price else None,
            warnings=warnings,
            styles=styles,
        )

    def _price(self, generator: Answerer, prompt_tokens: int, completion_tokens: int) -> Decimal | None:
        cost = self._costs.inference_cost(
            base_model=generator.base.id,
            sku=generator.sku,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
        )
        return None if cost is None else cost.quantize(_PARTS, ROUND_UP)

    # ── making ──────────────────────────────────────────────────────────────

    def create(
        self, caller: Caller, ref: str, wanted: GenerationCreate, *, reservation_id: str | None = None
    ) -> GenerationRead:
        """Accept a generation: its highest cost is reserved, workers ask.

        Args:
            reservation_id: of an idempotent request; the same one again answers the generation it made.

        Raises:
            NotFound: no such dataset, deployment, connection or version.
            Invalid: the material cannot be used, or it may cost more than `max_cost_usd`.
            Conflict: the deployment is not ready, the project is paused, or a cap forbids it.
        """
        if reservation_id is not None:
            with self._bench.read() as session:
                made = repository.find_reserved(session, reservation_id)
            if made is not None:
                return self.get(caller.project_id, made.id)
        draft = self._draft(caller.project_id, ref, wanted)
        dataset = self._datasets.get(caller.project_id, ref)
        checked_for = self._datasets.known_model(wanted.model)
        high = draft.estimate.high_usd
        _refuse_dear(wanted, high)
        generation_id = new_id("gen")
        with self._bench.begin() as work:
            refuse_if_paused(work.session, caller.project_id, policy=self._bench.policy)
            self._costs.reserve(
                work,
                caller,
                subject_id=generation_id,
                category=CATEGORY,
                amount_usd=high or Decimal(0),
                note=f"{draft.kind_name} by {draft.generator.name}, {len(draft.units)} requests",
            )
            repository.add(
                work.session,
                Generation(
                    id=generation_id,
                    project_id=caller.project_id,
                    dataset_id=dataset.id,
                    connection_id=draft.generator.connection_id,
                    key_id=caller.key_id,
                    reservation_id=reservation_id,
                    deployment_id=draft.generator.deployment_id,
                    deployment=draft.generator.name,
                    base_model=draft.generator.base.id,
                    remote_model=draft.generator.remote_model,
                    sku=draft.generator.sku,
                    status=GenerationStatus.RUNNING,
                    kind=draft.kind_name,
                    prompt_version=draft.kind.prompt_version,
                    checked_for=checked_for,
                    material=draft.material,
                    concurrency=wanted.concurrency,
                    max_tokens=wanted.max_tokens,
                    temperature=wanted.temperature,
                    reserved_usd=high or Decimal(0),
                    has_price=high is not None,
                    next_check_at=func.clock_timestamp(),
                ),
            )
            repository.add_units(work.session, numbered(generation_id, draft.units, first=0, round_=0))
            repository.add_rows(work.session, generation_id, _of_material(draft.kind))
            work.announce(
                "generation.running",
                project_id=caller.project_id,
                subject_id=generation_id,
                dataset=dataset.name,
                kind=draft.kind_name,
                deployment=draft.generator.name,
                requests=len(draft.units),
                reserved_usd=f"{high or Decimal(0):.4f}",
            )
            work.nudge("generations.advance", generation_id)
        return self.get(caller.project_id, generation_id)

    # ── wishes ──────────────────────────────────────────────────────────────

    def cancel(self, project_id: str, generation_id: str) -> GenerationRead:
        """Ask nothing more. What is under way is still paid for; twice is as good as once."""
        with self._bench.begin() as work:
            row = self._known(repository.find(work.session, project_id, generation_id, lock=True), generation_id)
            if GenerationStatus(row.status) not in GENERATION_LAW.terminal:
                first = row.cancel_requested_at is None
                repository.ask(
                    work.session, row.id, {"cancel_requested_at": func.clock_timestamp()} if first else {}
                )
                if first:
                    work.announce("generation.cancel_requested", project_id=project_id, subject_id=row.id)
                work.nudge("generations.advance", row.id)
        return self.get(project_id, generation_id)

    def retry(self, project_id: str, generation_id: str) -> GenerationRead:
        """Look again at a parked generation. Raises `Conflict` (`not_parked`)."""
        with self._bench.begin() as work:
            row = self._known(repository.find(work.session, project_id, generation_id, lock=True), generation_id)
            if row.parked_reason is None:
                raise Conflict("The generation is not parked; it is being looked after.", code="not_parked")
            repository.ask(work.session, row.id, {})
            work.announce("generation.retry_requested", project_id=project_id, subject_id=row.id)
            work.nudge("generations.advance", row.id)
        return self.get(project_id, generation_id)

    # ── reading ─────────────────────────────────────────────────────────────

    def get(self, project_id: str, generation_id: str) -> GenerationRead:
        """Raises `NotFound`."""
        with self._bench.read() as session:
            row = self._known(repository.find(session, project_id, generation_id), generation_id)
        return self._read([row])[0]

    def page(
        self, project_id: str, wanted: Page, *, dataset: str | None, status: GenerationStatus | None
    ) -> Slice[GenerationRead]:
        dataset_id = self._datasets.get(project_id, dataset).id if dataset else None
        with self._bench.read() as session:
            found = repository.page(session, project_id, wanted, dataset_id=dataset_id, status=status)
        return Slice(self._read(found.rows), found.has_more)

    def rows(
        self, project_id: str, generation_id: str, wanted: Page, *, kept: bool | None, reason: str | None
    ) -> Slice[GenerationRowRead]:
        """Its items, those that were left out with why. Raises `NotFound`."""
        with self._bench.read() as session:
            row = self._known(repository.find(session, project_id, generation_id), generation_id)
            found = repository.row_page(session, row.id, wanted, kept=kept, reason=reason)
            units = repository.units_of(session, row.id, [one.unit for one in found.rows])
        kind = kind_of(row.kind, row.material)
        styles = {number: unit.style for number, unit in units.items()}
        return Slice([_read_row(one, row, kind, styles.get(one.unit)) for one in found.rows], found.has_more)

    def _read(self, rows: Sequence[Generation]) -> list[GenerationRead]:
        ids = [row.id for row in rows]
        with self._bench.read() as session:
            tallies, counts = repository.tallies(session, ids), repository.counts(session, ids)
            kept = {
                row.id: repository.kept_by_subject(session, row.id)
                for row in rows
                if row.status != GenerationStatus.RUNNING
            }
        same = (
            *("id", "kind", "status", "deployment", "base_model", "prompt_version", "concurrency", "reserved_usd"),
            *(
                "cost_usd",
                "cancel_requested_at",
                "error",
                "parked_reason",
                "last_error",
                "created_at",
                "updated_at",
            ),
            "finished_at",
        )
        shown = []
        for row in rows:
            tally, of_row, kind = tallies[row.id], counts[row.id], kind_of(row.kind, row.material)
            shown.append(
                GenerationRead(
                    dataset=row.dataset_id,
                    subjects=kind.subjects,
                    requests=tally.units,
                    requests_answered=tally.answered,
                    requests_failed=tally.unanswered,
                    rows_kept=of_row.get(None, 0),
                    rows_filtered={code: count for code, count in sorted(of_row.items(), key=str) if code},
                    short_of=_short(kind, kept[row.id]) if row.id in kept else [],
                    prompt_tokens=tally.prompt_tokens,
                    completion_tokens=tally.completion_tokens,
                    spent_usd=tally.answers_usd,
                    lost_usd=tally.lost_usd,
                    version=row.version_id,
                    **{name: getattr(row, name) for name in same},
                )
            )
        return shown

    @staticmethod
    def _known(row: Generation | None, generation_id: str) -> Generation:
        if row is None:
            raise NotFound(
                f"There is no generation {generation_id!r} in this project.", code="generation_not_found"
            )
        return row

    # ── coverage ────────────────────────────────────────────────────────────

    def coverage(self, project_id: str, version: DatasetVersion) -> CoverageReport:
        """Which ways of asking a version has and lacks. Names that a generation was told are known of what it made.

        Raises `Conflict` (`still_checking`).
        """
        names = self._names_of(project_id, str(version.lineage.get("generation") or ""))
        with self._datasets.content(project_id, version.id) as (_, file):
            pairs = ((number, question_and_answer(line)) for number, line in enumerate(file, 1))
            told = ((number, *pair) for number, pair in pairs if pair)
            return cover(told, rows_max=ROWS_MAX, characters_max=COVERED_CHARACTERS, declared=names)

    def _names_of(self, project_id: str, generation_id: str) -> list[Name]:
        with self._bench.read() as session:
            row = repository.find(session, project_id, generation_id)
        if row is None or row.kind != "paraphrases":
            return []
        told = (Name(full, tuple(also)) for pair in row.material["pairs"] for full, *also in pair["names"])
        return list(dict.fromkeys(told))


def numbered(generation_id: str, units: Sequence[Unit], *, first: int, round_: int) -> list[dict[str, Any]]:
    """Units as rows."""
    return [
        {
            "generation_id": generation_id,
            "number": first + at,
            "subject": unit.subject,
            "style": unit.style,
            "count": unit.count,
            "round": round_,
        }
        for at, unit in enumerate(units)
    ]


def kept_of(texts: Sequence[tuple[int, str]]) -> list[Kept]:
    return [Kept(subject, text) for subject, text in texts]


def _of_material(kind: Kind) -> list[dict[str, Any]]:
    return [
        {
            "unit": repository.OF_MATERIAL,
            "place": place,
            "subject": subject,
            "kept": True,
            "reason": None,
            "text": kind.label(subject),
            "content": row,
        }
        for place, (subject, row) in enumerate(kind.seeds())
    ]


def _refuse_dear(wanted: GenerationCreate, high: Decimal | None) -> None:
    if wanted.max_cost_usd is None:
        return
    if high is None:
        detail = "No price is known for this generator, so what it may cost cannot be limited."
    elif high > wanted.max_cost_usd:
        detail = f"It may cost ${high:.4f}, more than the ${wanted.max_cost_usd} that were allowed."
    else:
        return
    raise Invalid(
        detail,
        code="too_expensive",
        hint="Allow more, or ask for fewer phrasings, fewer pairs, a lower max_tokens or a cheaper model.",
        errors=[FieldError(pointer="/max_cost_usd", detail=detail, code="too_expensive")],
    )


def _thin(kind: Kind) -> list[str]:
    """What the material lacks for filters and styles to work well."""
    if not isinstance(kind, Paraphrases):
        return []
    unnamed = sum(not pair.names for pair in kind.pairs)
    if not unnamed:
        return []
    warning = (
        f"{unnamed} of {len(kind.pairs)} questions name nothing that their writing shows: styles that play with "
        "the name are left out for them, and nothing watches that it stays. Declare `names` if they name something."
    )
    return [warning]


def _short(kind: Kind, kept: dict[int, int]) -> list[TooFew]:
    short = [subject for subject in range(kind.subjects) if kept.get(subject, 0) < kind.wanted]
    return [
        TooFew(subject=kind.label(subject), kept=kept.get(subject, 0), wanted=kind.wanted)
        for subject in short[:SHORT_SHOWN]
    ]


def _read_row(row: GenerationRow, generation: Generation, kind: Kind, style: str | None) -> GenerationRowRead:
    made = row.unit != repository.OF_MATERIAL
    return GenerationRowRead(
        id=row.id,
        text=row.text,
        kept=row.kept,
        reason=row.reason,
        meaning=REASONS.get(row.reason or ""),
        detail=row.detail,
        subject=row.subject,
        subject_label=kind.label(row.subject),
        style=style or None,
        generator=generation.deployment if made else None,
        prompt_version=generation.prompt_version if made else None,
        line=row.line,
        content=row.content,
    )
