"""Reads signals of entities from Prometheus: which queries, over which window, as series."""

import asyncio
import logging
import math
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import Signal, SignalSeries
from it_incident_response.domain.inventory import Inventory
from it_incident_response.errors import ConnectorRejected, ConnectorReplyInvalid
from it_incident_response.integrations._prometheus_answers import Answers
from it_incident_response.integrations._prometheus_api import NAME, PrometheusApi
from it_incident_response.integrations._prometheus_origin import ServerFacts
from it_incident_response.integrations._prometheus_wire import (
    PromSeries,
    finite_points,
    without_name,
)
from it_incident_response.integrations.promql.catalogue import Candidate, Catalogue
from it_incident_response.integrations.promql.targets import Target, targets_of
from it_incident_response.ports.sources import MetricRequest, SeriesBatch

WINDOW_S = 300.0
"""Rate window where series are scraped every 15 s or more rarely: the customary 5 minutes."""
WINDOW_MIN_S = 10.0
SERIES_MAX = 100
"""Series kept of one query; a machine with more mounts than this is read in part."""
CONCURRENT_MAX = 8
"""Queries under way at once, so as not to add to a struggling Prometheus' troubles."""
_NOT_EVALUABLE = (400, 422)
_MISFIT = re.compile(r"match|labelset")
"""Prometheus' words where series cannot be joined: they are labelled in an unusual way here."""
_ATTRIBUTION = (
    EntityKind.SERVICE,
    EntityKind.POD,
    EntityKind.CONTAINER,
    EntityKind.HOST,
    EntityKind.NODE,
    EntityKind.INSTANCE,
    EntityKind.JOB,
)
"""Whose a series is when it was found for several entities: the first of these kinds."""
_EVERY_WITNESS = frozenset({Signal.UP})
"""Signals for which all queries count: a service may answer its scrape and fail its probe."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Found:
    """An entity with what is stored about it."""

    entity: Entity
    metrics: Sequence[tuple[Target, Collection[str]]]
    window: str
    """Rate window, as PromQL writes it."""


@dataclass(frozen=True)
class _Reading:
    """One request under way."""

    request: MetricRequest
    server: ServerFacts
    labels: Collection[str]
    """Names of all labels in use."""
    answers: Answers
    gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CONCURRENT_MAX))


class SeriesReader:
    """Reads series for one request after the other."""

    def __init__(self, api: PrometheusApi, catalogue: Catalogue, inventory: Inventory) -> None:
        self._api = api
        self._catalogue = catalogue
        self._inventory = inventory

    async def series(self, request: MetricRequest, server: ServerFacts) -> Sequence[SignalSeries]:
        """Return the series that exist, each attributed to one entity; raises `ConnectorError`.

        First it asks which metrics are stored for each entity at all, so that only queries that
        can give something are sent.
        """
        answers = Answers(is_strict=True)
        await self._ask(request, server, answers)
        return _without_doubles(answers.in_order())

    async def batch(
        self, request: MetricRequest, server: ServerFacts, budget_s: float
    ) -> SeriesBatch:
        """Return what came within the budget, and as gaps the queries that failed.

        Raises `ConnectorError` only if nothing was answered at all.
        """
        answers = Answers(is_strict=False)
        try:
            async with asyncio.timeout(budget_s):
                await self._ask(request, server, answers)
        except TimeoutError:
            answers.out_of_time(budget_s)
        gaps = answers.gaps()
        return SeriesBatch(series=tuple(_without_doubles(answers.in_order())), gaps=gaps)

    async def _ask(self, request: MetricRequest, server: ServerFacts, answers: Answers) -> None:
        entities = sorted(
            dict.fromkeys(e for e in request.entities if e.kind in _ATTRIBUTION),
            key=lambda entity: _ATTRIBUTION.index(entity.kind),
        )
        if not entities:
            return
        labels = set(await self._api.label_names(request.window))
        reading = _Reading(request, server, labels, answers)
        await asyncio.gather(*(self._of(e, number, reading) for number, e in enumerate(entities)))

    async def _of(self, entity: Entity, number: int, reading: _Reading) -> None:
        found = None
        with reading.answers.judging(f"which metrics there are of {entity}"):
            found = await self._find(entity, reading)
        if found is None:
            return
        signals = list(dict.fromkeys(reading.request.signals))
        keys = [(number, position) for position in range(len(signals))]
        reading.answers.series.update({key: [] for key in keys})
        pairs = zip(signals, keys, strict=True)
        await asyncio.gather(
            *(
                self._read(found, signal, reading, reading.answers.series[key])
                for signal, key in pairs
            )
        )

    async def _find(self, entity: Entity, reading: _Reading) -> _Found:
        request, server, gate = reading.request, reading.server, reading.gate
        targets = [t for t in targets_of(entity, self._inventory) if t.label in reading.labels]

        async def names(wanted: Sequence[Target]) -> Collection[str]:
            selectors = [f"{{{target.matcher}}}" for target in wanted]
            async with gate:
                return frozenset(
                    await self._api.label_values("__name__", selectors, request.window)
                )

        # One question for all ways to name it: about most neighbours nothing is stored at all.
        everything = await names(targets) if targets else ()
        if len(targets) == 1 or not everything:
            metrics = [(target, everything) for target in targets if everything]
        else:
            each = await asyncio.gather(*(names([target]) for target in targets))
            metrics = [item for item in zip(targets, each, strict=True) if item[1]]
        jobs: Sequence[str] = ()
        if server.has_several_intervals and metrics:
            selectors = [f"{{{target.matcher}}}" for target, _ in metrics]
            async with gate:
                jobs = await self._api.label_values("job", selectors, request.window)
        window_s = rate_window_s(server.interval_s(jobs), request.step_s)
        return _Found(entity, metrics, f"{math.ceil(window_s)}s")

    async def _read(
        self, found: _Found, signal: Signal, reading: _Reading, collected: list[SignalSeries]
    ) -> None:
        misfits: dict[str, str] = {}
        for candidate, target in self._answerable(found, signal):
            query = candidate.filled(target.matcher, found.window)
            with reading.answers.judging(query):
                async with reading.gate:
                    result = await self._evaluated(query, reading, misfits)
                link = self._api.graph_link(query, reading.request.window)
                collected += [
                    built
                    for one in result
                    if (built := _signal_series(signal, found.entity, query, link, one))
                ]
            if collected and signal not in _EVERY_WITNESS:
                break
        if not collected:
            for query, reason in misfits.items():
                reading.answers.missing(query, reason)

    def _answerable(self, found: _Found, signal: Signal) -> Iterator[tuple[Candidate, Target]]:
        for candidate in self._catalogue.candidates(signal, found.entity.kind):
            for target, names in found.metrics:
                if candidate.is_answerable(names):
                    yield candidate, target

    async def _evaluated(
        self, query: str, reading: _Reading, misfits: dict[str, str]
    ) -> Sequence[PromSeries]:
        request = reading.request
        try:
            answer = await self._api.range_answer(query, request.window, request.step_s)
        except ConnectorRejected as error:
            if error.status not in _NOT_EVALUABLE:
                raise
            # The next candidate may fit. The signal is missing if none does.
            _log.warning("a query of the catalogue fails here: %s: %s", query, error.message)
            said = error.message.removeprefix(f"{error.connector}: ")
            if _MISFIT.search(said):
                misfits[query] = said
            else:
                reading.answers.missing(query, said)
            return ()
        for warning in answer.warnings:
            reading.answers.missing(query, f"answered in part: {warning}")
        if len(answer.series) > SERIES_MAX:
            reason = f"{SERIES_MAX} of its {len(answer.series)} series were read"
            reading.answers.missing(query, reason)
        ordered = sorted(answer.series, key=lambda one: sorted(one.metric.items()))
        return ordered[:SERIES_MAX]


def rate_window_s(interval_s: float | None, step_s: float) -> float:
    """Return the window for `rate()`, from the scrape interval of what is read.

    Usually 5 minutes. Where scrapes are more frequent than every 15 s it shrinks to 20 scrapes
    (but not below 10 s), so that changes show sooner; where they are rarer than every 75 s it
    grows to 4 scrapes, since a rate needs at least two samples even when one scrape fails. Never
    shorter than the step, so that no sample falls between two points.
    """
    if interval_s is None:
        return max(WINDOW_S, step_s)
    usual = min(WINDOW_S, max(WINDOW_MIN_S, 20 * interval_s))
    return max(4 * interval_s, usual, step_s)


def _signal_series(
    signal: Signal, entity: Entity, query: str, link: str, series: PromSeries
) -> SignalSeries | None:
    try:
        times, values = finite_points(series)
    except ValueError as error:
        raise ConnectorReplyInvalid(NAME, f"a sample is no number ({query})") from error
    if not times:
        return None
    return SignalSeries(
        signal=signal,
        entity=entity,
        source=NAME,
        query=query,
        link=link,
        labels=without_name(series.metric),
        times=times,
        values=values,
    )


def _without_doubles(every: Iterable[SignalSeries]) -> Sequence[SignalSeries]:
    """Keep the first of the series that are the same but were found for several entities."""
    kept: dict[object, SignalSeries] = {}
    for series in every:
        identity = (series.signal, frozenset(series.labels.items()), series.times, series.values)
        kept.setdefault(identity, series)
    return tuple(kept.values())
