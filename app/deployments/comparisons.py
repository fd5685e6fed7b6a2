"""Comparisons: the same prompts put to several deployments, answers kept side by side."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import func

from app.access.service import refuse_if_paused
from app.deployments import repository
from app.deployments.schemas import (
    AnswerRead,
    CandidateRead,
    ComparisonCreate,
    ComparisonDetail,
    ComparisonRead,
    ComparisonRow,
)
from app.deployments.service import no_such, refuse_unless_ready
from app.deployments.states import ComparisonStatus
from app.deployments.tables import Comparison, ComparisonAnswer
from app.kit.caller import Caller
from app.kit.errors import Conflict, NotFound
from app.kit.ids import new_id
from app.kit.pagination import Page, Slice
from app.workbench import Workbench


class ComparisonService:
    """The comparisons of a project."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench

    def create(
        self, caller: Caller, wanted: ComparisonCreate, *, reservation_id: str | None = None
    ) -> ComparisonDetail:
        """Accept a comparison; workers ask.

        Raises:
            NotFound: no such deployment.
            Conflict: one of them is not ready, or the project is paused.
        """
        if reservation_id is not None:
            with self._bench.read() as session:
                made = repository.find_reserved_comparison(session, reservation_id)
            if made is not None:
                return self.get(caller.project_id, made.id)
        comparison_id = new_id("cmp")
        with self._bench.begin() as work:
            refuse_if_paused(work.session, caller.project_id, policy=self._bench.policy)
            candidates = []
            for candidate in wanted.candidates:
                deployment = repository.find(work.session, caller.project_id, candidate.deployment)
                if deployment is None:
                    raise no_such(candidate.deployment)
                refuse_unless_ready(deployment)
                candidates.append(
                    {"deployment": deployment.id, "name": deployment.name, "system": candidate.system}
                )
            comparison = Comparison(
                id=comparison_id,
                project_id=caller.project_id,
                key_id=caller.key_id,
                reservation_id=reservation_id,
                status=ComparisonStatus.RUNNING,
                candidates=candidates,
                prompts=list(wanted.prompts),
                max_tokens=wanted.max_tokens,
                temperature=wanted.temperature,
                next_check_at=func.clock_timestamp(),
            )
            repository.add_comparison(work.session, comparison)
            work.announce(
                "comparison.running",
                project_id=caller.project_id,
                subject_id=comparison_id,
                candidates=[item["deployment"] for item in candidates],
                prompts=len(wanted.prompts),
            )
            work.nudge("comparisons.advance", comparison_id)
        return self.get(caller.project_id, comparison_id)

    def get(self, project_id: str, comparison_id: str) -> ComparisonDetail:
        """With every answer recorded so far. Raises `NotFound`."""
        with self._bench.read() as session:
            comparison = repository.find_comparison(session, project_id, comparison_id)
            if comparison is None:
                raise _no_such_comparison(comparison_id)
            answers = repository.answers(session, [comparison.id])
        by_place = {(item.prompt, item.candidate): _answer(item) for item in answers}
        rows = [
            ComparisonRow(
                prompt=str(prompt),
                answers=[by_place.get((number, index)) for index in range(len(comparison.candidates))],
            )
            for number, prompt in enumerate(comparison.prompts)
        ]
        return ComparisonDetail(**_summary(comparison, answers), rows=rows)

    def page(self, project_id: str, wanted: Page) -> Slice[ComparisonRead]:
        with self._bench.read() as session:
            found = repository.comparison_page(session, project_id, wanted)
            answers = repository.answers(session, [row.id for row in found.rows])
        of_row: dict[str, list[ComparisonAnswer]] = {row.id: [] for row in found.rows}
        for item in answers:
            of_row[item.comparison_id].append(item)
        return Slice([ComparisonRead(**_summary(row, of_row[row.id])) for row in found.rows], found.has_more)

    def retry(self, project_id: str, comparison_id: str) -> ComparisonDetail:
        """Look again at a parked comparison. Raises `Conflict` (`not_parked`)."""
        with self._bench.begin() as work:
            if repository.find_comparison(work.session, project_id, comparison_id) is None:
                raise _no_such_comparison(comparison_id)
            if not repository.unpark_comparison(work.session, comparison_id):
                raise Conflict("The comparison is not parked; it is being looked after.", code="not_parked")
            work.announce("comparison.retry_requested", project_id=project_id, subject_id=comparison_id)
            work.nudge("comparisons.advance", comparison_id)
        return self.get(project_id, comparison_id)


def _answer(row: ComparisonAnswer) -> AnswerRead:
    return AnswerRead(**{name: getattr(row, name) for name in AnswerRead.model_fields})


def _summary(comparison: Comparison, answers: Sequence[ComparisonAnswer]) -> dict[str, Any]:
    return {
        "id": comparison.id,
        "status": comparison.status,
        "prompts": len(comparison.prompts),
        "answers_recorded": len(answers),
        "candidates": [
            _candidate(candidate, [item for item in answers if item.candidate == index])
            for index, candidate in enumerate(comparison.candidates)
        ],
        "max_tokens": comparison.max_tokens,
        "temperature": comparison.temperature,
        "cost_usd": comparison.cost_usd,
        "parked_reason": comparison.parked_reason,
        "last_error": comparison.last_error,
        "created_at": comparison.created_at,
        "updated_at": comparison.updated_at,
        "finished_at": comparison.finished_at,
    }


def _candidate(candidate: Mapping[str, Any], answers: list[ComparisonAnswer]) -> CandidateRead:
    told = [item for item in answers if item.text is not None]
    costs = [item.cost_usd for item in told]
    latencies = [item.latency_seconds for item in told if item.latency_seconds is not None]
    return CandidateRead(
        deployment=candidate["deployment"],
        name=candidate["name"],
        system=candidate["system"],
        answered=len(told),
        refused=len(answers) - len(told),
        prompt_tokens=sum(item.prompt_tokens or 0 for item in told),
        completion_tokens=sum(item.completion_tokens or 0 for item in told),
        latency_seconds_mean=round(sum(latencies) / len(latencies), 3) if latencies else None,
        cost_usd=None
        if any(cost is None for cost in costs)
        else sum((cost for cost in costs if cost is not None), Decimal(0)),
    )


def _no_such_comparison(comparison_id: str) -> NotFound:
    return NotFound(f"There is no comparison {comparison_id!r} in this project.", code="comparison_not_found")
