"""Checks by measurement whether a fix worked: every check must hold, unbroken, for a while."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from it_incident_response.domain.action import (
    Action,
    AlertsCleared,
    Check,
    ProbeSucceeds,
    SignalWithin,
)
from it_incident_response.domain.alert import Alert
from it_incident_response.domain.evidence import TimeWindow
from it_incident_response.domain.execution import Execution, StepState
from it_incident_response.domain.ids import IncidentId, new_id
from it_incident_response.domain.model import UtcTime, Value
from it_incident_response.domain.plan import Plan
from it_incident_response.domain.verification import (
    CheckReading,
    Verification,
    VerificationResult,
)
from it_incident_response.errors import ActionError, ConnectorError
from it_incident_response.ports import (
    Clock,
    ConditionSource,
    Executor,
    IncidentStore,
    MetricRequest,
    MetricSource,
)
from it_incident_response.ports.clock import Stopwatch

ALERTS_READ = 50
"""Conditions evaluated in one poll: an incident of a storm has thousands of alerts of one cause."""

GAP_POLLS = 3
"""A gap of more polls than this between two looks breaks the soak: nobody knows what was then."""

LAST_VALUE_WITHIN = timedelta(minutes=5)
"""Prometheus' own lookback: an older sample says nothing about now."""


class VerificationSettings(Value):
    """How long a fix is watched; all times in seconds."""

    soak_s: float = 60.0
    timeout_s: float = 600.0
    poll_s: float = 10.0


class Watch(Value):
    """How far a verification is: enough to go on with it in another process."""

    started_at: UtcTime
    watched_s: float = 0.0
    """Seconds of watching so far."""
    held_s: float | None = None
    """Seconds for which every check has held without a break; None while one does not."""
    seen_at: UtcTime
    """When it was looked at last."""


OnReading = Callable[[Watch, Sequence[CheckReading]], None]


class _Course:
    """Counts how long has been watched, and for how long every check has held."""

    def __init__(self, clock: Clock, before: Watch | None, *, longest_gap_s: float) -> None:
        self._clock = clock
        now = clock.now()
        self._started_at = before.started_at if before else now
        self._watched_before = before.watched_s if before else 0.0
        self._held_before = before.held_s if before else None
        if before and not 0 <= (now - before.seen_at).total_seconds() <= longest_gap_s:
            self._held_before = None
        self._watched = Stopwatch(clock)
        self._held = self._watched if self._held_before is not None else None

    def reading(self, *, holds: bool) -> Watch:
        """Return how far it is, now that every check `holds` or one does not."""
        if not holds:
            self._held, self._held_before = None, None
        elif self._held is None:
            self._held = Stopwatch(self._clock)
        held = self._held.elapsed_s + (self._held_before or 0.0) if self._held else None
        return Watch(
            started_at=self._started_at,
            watched_s=self._watched_before + self._watched.elapsed_s,
            held_s=held,
            seen_at=self._clock.now(),
        )


class Verifier:
    """Reads the checks of a plan again and again until they hold, or time is up."""

    def __init__(
        self,
        store: IncidentStore,
        clock: Clock,
        settings: VerificationSettings,
        *,
        conditions: ConditionSource | None,
        metrics: MetricSource | None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings
        self._conditions = conditions
        self._metrics = metrics

    async def watch(
        self,
        incident_id: IncidentId,
        checks: Sequence["BoundCheck"],
        *,
        plan_id: str,
        watch: Watch | None = None,
        on_reading: OnReading | None = None,
    ) -> Verification:
        """Poll until every check has held for the soak time, or the time limit has passed.

        Both are counted, not read off the clock: a clock set forward proves no recovery.
        `on_reading` is given how far it is after each poll; handed over as `watch`, it goes on from
        there after a crash. Time in which nobody looked counts for nothing: after a longer gap
        the soak begins anew.
        """
        course = _Course(self._clock, watch, longest_gap_s=GAP_POLLS * self._settings.poll_s)
        while True:
            readings = await self._read(incident_id, checks)
            seen = course.reading(holds=_all_hold(readings))
            is_soaked = seen.held_s is not None and seen.held_s >= self._settings.soak_s
            if is_soaked or seen.watched_s >= self._settings.timeout_s:
                return self._conclude(incident_id, plan_id, seen.started_at, readings, is_soaked)
            if on_reading is not None:
                on_reading(seen, readings)
            await self._clock.sleep(self._settings.poll_s)

    def _conclude(
        self,
        incident_id: IncidentId,
        plan_id: str,
        started: datetime,
        readings: Sequence[CheckReading],
        is_soaked: bool,
    ) -> Verification:
        now = self._clock.now()
        result, reason = _judge(readings, is_soaked, self._settings)
        return Verification(
            id=new_id(now),
            incident_id=incident_id,
            plan_id=plan_id,
            result=result,
            started_at=started,
            ended_at=now,
            soak_s=self._settings.soak_s,
            readings=tuple(readings),
            reason=reason,
        )

    async def _read(
        self, incident_id: IncidentId, checks: Sequence["BoundCheck"]
    ) -> list[CheckReading]:
        return list(await asyncio.gather(*(self._one(incident_id, check) for check in checks)))

    async def _one(self, incident_id: IncidentId, bound: "BoundCheck") -> CheckReading:
        check = bound.check
        try:
            if isinstance(check, AlertsCleared):
                return await self._alerts_cleared(incident_id, check)
            if isinstance(check, SignalWithin):
                return await self._signal_within(check)
            return await self._probe(bound)
        except (ConnectorError, ActionError) as error:
            return self._reading(check, None, f"cannot be measured: {error.message}")

    async def _alerts_cleared(self, incident_id: IncidentId, check: AlertsCleared) -> CheckReading:
        alerts = [alert for _, alert in await self._store.alerts_of(incident_id)]
        if not alerts:
            return self._reading(check, True, "the incident has no alerts to clear")
        # Prefer the worst and the newest: they decide, and a storm has more than can be asked.
        asked = sorted(alerts, key=lambda a: (-a.severity.rank, -a.starts_at.timestamp()))
        readings = [await self._alert_cleared(check, alert) for alert in asked[:ALERTS_READ]]
        return next(
            (r for holds in (False, None) for r in readings if r.holds is holds),
            self._reading(
                check,
                True,
                f"{len(readings)} alert expressions are false again",
                readings[0].query,
            ),
        )

    async def _alert_cleared(self, check: Check, alert: Alert) -> CheckReading:
        if self._conditions is None:
            return self._reading(
                check,
                None if alert.is_firing else True,
                f"alert {alert.name} is {alert.status} as last reported",
            )
        condition = await self._conditions.condition(alert)
        if condition.holds is None and not alert.is_firing:
            return self._reading(check, True, f"alert {alert.name} was reported resolved")
        cleared = None if condition.holds is None else not condition.holds
        words = {True: "no longer holds", False: "still holds", None: "cannot be evaluated"}
        detail = f"alert {alert.name} {words[cleared]}"
        if condition.detail:
            detail = f"{detail}: {condition.detail}"
        return self._reading(check, cleared, detail, condition.query)

    async def _signal_within(self, check: SignalWithin) -> CheckReading:
        name = f"{check.signal} of {check.entity}"
        if self._metrics is None:
            return self._reading(check, None, f"{name}: no metric source is configured")
        now = self._clock.now()
        window = TimeWindow(start=now - LAST_VALUE_WITHIN, end=now)
        request = MetricRequest(signals=(check.signal,), entities=(check.entity,), window=window)
        found = [s for s in await self._metrics.series(request) if s.values]
        if not found:
            return self._reading(check, None, f"{name} has no data")
        low, high = check.at_least, check.at_most
        values = [series.values[-1] for series in found]
        holds = all((low is None or v >= low) and (high is None or v <= high) for v in values)
        wanted = f"at least {low:g}" if low is not None else f"at most {high or 0:g}"
        worst = min(values) if low is not None else max(values)
        return self._reading(check, holds, f"{name} is {worst:.4g}, {wanted}", found[0].query)

    async def _probe(self, bound: "BoundCheck") -> CheckReading:
        if bound.executor is None or bound.action is None:
            return self._reading(bound.check, None, "nothing can probe this action")
        probe = await bound.executor.probe(bound.action, before=bound.before)
        return self._reading(bound.check, probe.took_effect, probe.detail)

    def _reading(
        self, check: Check, holds: bool | None, detail: str, query: str | None = None
    ) -> CheckReading:
        return CheckReading(
            check=check, holds=holds, detail=detail, query=query, at=self._clock.now()
        )


class BoundCheck:
    """A check with what is needed to read it."""

    def __init__(
        self,
        check: Check,
        *,
        action: Action | None = None,
        executor: Executor | None = None,
        before: tuple[str, ...] | None = None,
    ) -> None:
        self.check = check
        self.action = action
        self.executor = executor
        self.before = before


def bind_checks(
    plan: Plan,
    executions: Sequence[Execution],
    executors: Mapping[str, Executor],
    actions: Mapping[int, Action],
) -> list[BoundCheck]:
    """Return every check of the plan once, each probe with its own step's action."""
    before = {e.step: e.before for e in executions if e.state is StepState.FINISHED}
    bound: list[BoundCheck] = []
    seen: set[str] = set()
    for step in plan.steps:
        for check in step.checks:
            mark = f"{step.number}" if isinstance(check, ProbeSucceeds) else ""
            if (key := mark + check.model_dump_json()) in seen:
                continue
            seen.add(key)
            bound.append(
                BoundCheck(
                    check,
                    action=actions.get(step.number),
                    executor=executors.get(step.executor),
                    before=before.get(step.number),
                )
            )
    return bound


def _all_hold(readings: Sequence[CheckReading]) -> bool:
    return bool(readings) and all(reading.holds for reading in readings)


def _judge(
    readings: Sequence[CheckReading], is_soaked: bool, settings: VerificationSettings
) -> tuple[VerificationResult, str]:
    if is_soaked:
        details = "; ".join(r.detail for r in readings)
        return VerificationResult.VERIFIED, f"held for {settings.soak_s:g} s: {details}"
    failed = [r.detail for r in readings if r.holds is False]
    if failed:
        why = f"not recovered within {settings.timeout_s:g} s: {'; '.join(failed)}"
        return VerificationResult.FAILED, why
    unknown = [r.detail for r in readings if r.holds is None]
    if unknown or not readings:
        why = "; ".join(unknown) or "there is nothing to measure"
        return VerificationResult.UNVERIFIABLE, f"nobody can tell whether it worked: {why}"
    why = f"it recovered, but not for {settings.soak_s:g} s without a break"
    return VerificationResult.FAILED, why
