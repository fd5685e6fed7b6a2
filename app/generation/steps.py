"""A generation's steps, taken by workers under a claim: ask some units, record each answer as it comes, end.

What is recorded is never asked for again. A chat has no idempotency key, so a request whose answer was lost is made
again and may be paid twice; it is counted at the most it can have cost.
"""

from collections.abc import Sequence
from concurrent.futures import Future
from decimal import ROUND_UP, Decimal
from typing import Any, Final

import orjson
import structlog
from sqlalchemy import func

from app.access.service import AccessService
from app.azure.port import AzureError, AzureTarget, ChatAnswer, Refused
from app.connections.service import ConnectionService
from app.costs.service import CostService
from app.datasets.engine.tokens import counter
from app.datasets.service import DatasetService
from app.deployments import asked
from app.deployments.asking import UNITS_A_STEP, Request, ask_all, tokenizer_of
from app.deployments.inference import Question, ask
from app.deployments.service import DeploymentService
from app.generation import repository
from app.generation.craft.kinds import Kept, Kind, Unit
from app.generation.material import kind_of
from app.generation.service import CATEGORY, MESSAGE_TOKENS, ROUNDS_MAX, kept_of, numbered
from app.generation.states import GENERATION_LAW, GenerationStatus
from app.generation.tables import Generation, GenerationUnit
from app.kit import care
from app.kit.care import Claim
from app.kit.db import storable
from app.kit.errors import Conflict, NotFound
from app.kit.failpoints import failpoint
from app.workbench import UnitOfWork, Workbench

log = structlog.get_logger("kitae.generation")

PAUSED_LOOK_SECONDS: Final = 15.0
"""How often a generation of a paused project looks whether it may go on."""
_PARTS: Final = Decimal("0.000001")


_Asked = Request[GenerationUnit, ChatAnswer]


class GenerationSteps:
    """What workers do for generations."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._access = AccessService(bench)
        self._connections = ConnectionService(bench)
        self._costs = CostService(bench)
        self._datasets = DatasetService(bench)
        self._deployments = DeploymentService(bench)

    def advance(self, generation_id: str) -> None:
        """Ask until nothing is left to ask, or time is up."""
        self._bench.tend(Generation, generation_id, self._step, noun="generation")

    def _step(self, held: Claim) -> None:
        with self._bench.read() as session:
            row = repository.get_unscoped(session, held.row_id)
            units = repository.open_units(session, row.id, limit=UNITS_A_STEP * row.concurrency)
        if row.status != GenerationStatus.RUNNING:
            with self._bench.begin() as work:
                care.finish(work.session, held, check_in_seconds=None)
            return
        if row.cancel_requested_at is not None:
            self._end(held, row, GenerationStatus.CANCELLED)
            return
        kind = kind_of(row.kind, row.material)
        if not units:
            self._close_round(held, row, kind)
            return
        if self._access.is_paused(row.project_id):
            self._finish(held, check_in_seconds=PAUSED_LOOK_SECONDS)
            return
        if self._ask_some(held, row, kind, units):
            self._finish(held, check_in_seconds=0)
        else:
            self._spent(held, row)

    def _finish(self, held: Claim, *, check_in_seconds: float) -> None:
        with self._bench.begin() as work:
            care.finish(work.session, held, check_in_seconds=check_in_seconds, updated_at=func.clock_timestamp())
            repository.heed_cancel(work.session, held.row_id)

    # ── asking ──────────────────────────────────────────────────────────────

    def _ask_some(self, held: Claim, row: Generation, kind: Kind, units: Sequence[GenerationUnit]) -> bool:
        """Ask, so many at a time, and record what comes; afterwards raise the first thing to be tried again.

        Returns: False when the money that was set aside does not bear another request.
        """
        self._refuse_unready(row)
        with self._bench.read() as session:
            kept = kept_of(repository.kept_texts(session, row.id))
            tally = repository.tallies(session, [row.id])[row.id]
        target = self._connections.target_of(row.connection_id)
        return ask_all(
            units,
            concurrency=row.concurrency,
            left_usd=row.reserved_usd - tally.answers_usd - tally.lost_usd if row.has_price else None,
            prepare=lambda unit: self._prepare(held, row, kind, unit, kept, target),
            may_go_on=lambda: self._may_ask(row),
            take=lambda item, future: self._take(held, row, kind, item, future, kept),
        )

    def _may_ask(self, row: Generation) -> bool:
        """Whether nobody has cancelled it, nor thrown a kill switch, since the step began."""
        with self._bench.read() as session:
            cancelled = repository.is_cancel_requested(session, row.id)
        return not cancelled and not self._access.is_paused(row.project_id)

    def _refuse_unready(self, row: Generation) -> None:
        """A generator that is being made, or is gone, is waited for, and in the end parks the generation."""
        if row.deployment_id is None:
            return
        try:
            self._deployments.ready(row.project_id, row.deployment_id)
        except Conflict as error:
            raise Refused(error.detail, code=error.code, hint=error.hint) from error

    def _prepare(
        self,
        held: Claim,
        row: Generation,
        kind: Kind,
        unit: GenerationUnit,
        kept: Sequence[Kept],
        target: AzureTarget,
    ) -> _Asked:
        """What is sent for a unit, and the most it can cost."""
        base = self._bench.catalogue.find(row.base_model)
        count = counter(tokenizer_of(base) if base else "o200k_base")
        messages = kind.messages(Unit(unit.subject, unit.style, unit.count), kept)
        tokens = sum(count.one(message["content"]) for message in messages) + MESSAGE_TOKENS
        most_usd = self._price(row, tokens, row.max_tokens)
        question = Question(messages=messages, max_tokens=row.max_tokens, temperature=row.temperature)
        return Request(unit, most_usd, lambda: self._ask(held, row, target, question, unit.number, most_usd))

    def _price(self, row: Generation, prompt_tokens: int, completion_tokens: int) -> Decimal:
        cost = self._costs.inference_cost(
            base_model=row.base_model,
            sku=row.sku,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
        )
        return (cost or Decimal(0)).quantize(_PARTS, ROUND_UP)

    def _ask(
        self, held: Claim, row: Generation, target: AzureTarget, question: Question, number: int, most_usd: Decimal
    ) -> ChatAnswer:
        with self._bench.begin() as work:
            care.extend(work.session, held, lease_seconds=self._bench.policy.lease_seconds)
            asked.send(work.session, GenerationUnit, repository.unit(row.id, number), most_usd)
        failpoint("generations.unit.sent")
        return ask(self._connections, target, row.deployment, question)

    def _take(
        self,
        held: Claim,
        row: Generation,
        kind: Kind,
        item: _Asked,
        future: Future[ChatAnswer],
        kept: list[Kept],
    ) -> AzureError | None:
        """Record what came of one request. Returns the error when it should be made again."""
        try:
            answer = future.result()
        except AzureError as error:
            with self._bench.begin() as work:
                care.extend(work.session, held, lease_seconds=self._bench.policy.lease_seconds)
                which = repository.unit(row.id, item.unit.number)
                return asked.take_error(
                    work.session, GenerationUnit, which, item.most_usd, item.unit.attempts, error
                )
        unit = Unit(item.unit.subject, item.unit.style, item.unit.count)
        items = kind.read(unit, storable(answer.text), answer.finish_reason, kept)
        rows = [
            {
                "unit": item.unit.number,
                "place": place,
                "subject": unit.subject,
                "kept": one.fault is None,
                "reason": one.fault.code if one.fault else None,
                "detail": storable(one.fault.detail[:500]) or None if one.fault else None,
                "text": storable(one.text),
                "content": storable(one.row) if one.row else None,
            }
            for place, one in enumerate(items)
        ]
        with self._bench.begin() as work:
            care.extend(work.session, held, lease_seconds=self._bench.policy.lease_seconds)
            repository.add_rows(work.session, row.id, rows)
            asked.answer(
                work.session,
                GenerationUnit,
                repository.unit(row.id, item.unit.number),
                item.most_usd,
                {
                    "finish_reason": answer.finish_reason,
                    "prompt_tokens": answer.prompt_tokens,
                    "completion_tokens": answer.completion_tokens,
                    "latency_seconds": round(answer.latency_seconds, 3),
                    "cost_usd": self._price(row, answer.prompt_tokens, answer.completion_tokens)
                    if row.has_price
                    else None,
                },
            )
        failpoint("generations.unit.recorded")
        kept += [Kept(unit.subject, storable(one.text)) for one in items if one.fault is None]
        return None

    # ── ending ──────────────────────────────────────────────────────────────

    def _spent(self, held: Claim, row: Generation) -> None:
        """The reservation does not bear another request: what is left is given up, and said to be."""
        error = {"code": "not-asked", "message": "The money that was set aside is spent."}
        with self._bench.begin() as work:
            care.finish(work.session, held, check_in_seconds=0, updated_at=func.clock_timestamp(), error=error)
            count = repository.give_up_open(work.session, row.id, error)
        log.warning("generation.money_spent", id=row.id, units=count)

    def _close_round(self, held: Claim, row: Generation, kind: Kind) -> None:
        """Everything was answered: ask once more for what has too few rows, or end."""
        with self._bench.read() as session:
            kept = repository.kept_by_subject(session, row.id)
            round_, first = repository.last_round(session, row.id)
        missing = {
            subject: kind.wanted - kept.get(subject, 0)
            for subject in range(kind.subjects)
            if kept.get(subject, 0) < kind.wanted
        }
        more = [unit for subject, count in missing.items() for unit in kind.more(subject, count)]
        if not more or round_ + 1 >= ROUNDS_MAX or row.error is not None:
            self._end(held, row, GenerationStatus.SUCCEEDED if kept else GenerationStatus.FAILED)
            return
        with self._bench.begin() as work:
            repository.add_units(work.session, numbered(row.id, more, first=first, round_=round_ + 1))
            care.finish(work.session, held, check_in_seconds=0, updated_at=func.clock_timestamp())
            repository.heed_cancel(work.session, row.id)

    def _end(self, held: Claim, row: Generation, wanted: GenerationStatus) -> None:
        """The version, the settlement and the end, in one transaction."""
        if wanted is not GenerationStatus.SUCCEEDED:
            with self._bench.begin() as work:
                values: dict[str, Any] = {}
                if wanted is GenerationStatus.FAILED:
                    values["error"] = row.error or {
                        "code": "nothing_kept",
                        "message": "Nothing that the generator answered could be kept.",
                        "hint": f"GET /v1/generations/{row.id}/rows?kept=false says why, item by item.",
                    }
                self._record_end(work, held, row, wanted, values)
            return
        try:
            dataset = self._datasets.get(row.project_id, row.dataset_id)
        except NotFound as error:
            with self._bench.begin() as work:
                gone = {"code": "dataset_archived", "message": error.detail}
                self._record_end(work, held, row, GenerationStatus.FAILED, {"error": gone})
            return
        with self._bench.read() as session:
            rows = repository.kept_rows(session, row.id)
        with self._datasets.receive() as upload:
            for one in rows:
                upload.write(_line(one.content or {}))
        failpoint("generations.version.written")
        with self._bench.begin() as work:
            version, fresh = self._datasets.place(
                work,
                dataset,
                upload,
                original_name=f"{row.id}.jsonl",
                base_model=row.checked_for,
                lineage={
                    "source": "generation",
                    "generation": row.id,
                    "kind": row.kind,
                    "deployment": row.deployment,
                    "model": row.remote_model,
                    "prompt_version": row.prompt_version,
                    "rows": len(rows),
                },
            )
            repository.number_lines(work.session, row.id)
            self._record_end(work, held, row, wanted, {"version_id": version.id})
        failpoint("generations.version.recorded")
        if not fresh:
            self._datasets.forget(upload)

    def _record_end(
        self, work: UnitOfWork, held: Claim, row: Generation, wanted: GenerationStatus, values: dict[str, Any]
    ) -> None:
        GENERATION_LAW.check(GenerationStatus(row.status), wanted)
        tally = repository.tallies(work.session, [row.id])[row.id]
        cost = (tally.answers_usd + tally.lost_usd).quantize(_PARTS, ROUND_UP) if row.has_price else None
        counts = repository.counts(work.session, [row.id])[row.id]
        self._costs.settle(
            work,
            project_id=row.project_id,
            key_id=row.key_id,
            subject_id=row.id,
            category=CATEGORY,
            amount_usd=cost,
            note=f"{tally.answered} answers" + (f", {tally.lost} lost" if tally.lost else ""),
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
            f"generation.{wanted}",
            project_id=row.project_id,
            subject_id=row.id,
            **{"from": row.status, "to": str(wanted)},
            kept=counts.get(None, 0),
            filtered=sum(count for code, count in counts.items() if code),
            version=values.get("version_id"),
        )


def _line(row: dict[str, Any]) -> bytes:
    """The row as a line of the version: the conversation before its tools, as people write it."""
    return orjson.dumps({"messages": row.get("messages"), **row}) + b"\n"
