"""Evaluates an alert's own expression again, and tells recovery from missing data."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from it_incident_response.domain.alert import Alert
from it_incident_response.errors import ConnectorRejected
from it_incident_response.integrations._prometheus_api import PrometheusApi
from it_incident_response.integrations._prometheus_wire import PromRule, PromSeries, without_name
from it_incident_response.integrations.promql.needs import NotTakenApart
from it_incident_response.integrations.promql.presence import presence_needs
from it_incident_response.ports.sources import ConditionReading

EXPRESSION_LENGTH_MAX = 20_000
_BAD_EXPRESSION = (400, 422)
_NO_SUCH_ENDPOINT = (404, 405)


class _Expression(NamedTuple):
    text: str
    rule_labels: Collection[str] | None
    """Labels that the rule sets by itself; None if they have not been looked up."""


class ConditionReader:
    """Asks Prometheus whether alerts' conditions hold."""

    def __init__(self, api: PrometheusApi) -> None:
        self._api = api

    async def condition(self, alert: Alert) -> ConditionReading:
        """Evaluate the alert's expression now, for its own labels only.

        It holds if the result has a sample whose labels agree with the alert's. It does not hold
        if there is none *and* the metrics that the expression reads exist for the alert's labels.
        Everything else is None, with the reason. Raises `ConnectorError`.
        """
        text = expression_of(alert.generator_url)
        if text is not None:
            return await self._reading(_Expression(text, None), alert)
        rules = await self._rules(alert)
        if not rules:
            return ConditionReading(
                holds=None, detail=f"no rule named {alert.name!r} gives its expression"
            )
        expressions = {_Expression(rule.query, frozenset(rule.labels)) for rule in rules}
        readings = [
            await self._reading(expression, alert) for expression in sorted(expressions, key=str)
        ]
        return _worst(readings)

    async def _reading(self, expression: _Expression, alert: Alert) -> ConditionReading:
        query = expression.text
        try:
            found = await self._api.query(query)
        except ConnectorRejected as error:
            if error.status not in _BAD_EXPRESSION:
                raise
            return ConditionReading(holds=None, query=query, detail=error.message)
        set_by_rule = expression.rule_labels
        if holding := _holding(query, found, alert.labels, set_by_rule or ()):
            return holding
        if set_by_rule is None:
            if not found:
                reading = await self._absence(query, alert.labels, ())
                if reading.holds is False:
                    return reading
            set_by_rule = await self._labels_set_by_rule(alert, query)
            if holding := _holding(query, found, alert.labels, set_by_rule):
                return holding
        return await self._absence(query, alert.labels, set_by_rule)

    async def _absence(
        self, query: str, labels: Mapping[str, str], ignored: Collection[str]
    ) -> ConditionReading:
        try:
            has_data = await self._has_data(query, labels, ignored)
        except NotTakenApart as error:
            detail = f"nothing is returned, but whether data exist cannot be told: {error}"
            return ConditionReading(holds=None, query=query, detail=detail)
        if has_data:
            detail = "the expression returns nothing for these labels, and its data are there"
            return ConditionReading(holds=False, query=query, detail=detail)
        detail = "the data that the expression reads are missing: that proves nothing"
        return ConditionReading(holds=None, query=query, detail=detail)

    async def _has_data(
        self, query: str, labels: Mapping[str, str], ignored: Collection[str]
    ) -> bool:
        needs = presence_needs(query, labels, ignored)
        queries = list(dict.fromkeys(needs.names()))
        answers = await asyncio.gather(*(self._api.query(text) for text in queries))
        answered = {text for text, found in zip(queries, answers, strict=True) if found}
        return needs.are_met(answered)

    async def _labels_set_by_rule(self, alert: Alert, query: str) -> Collection[str]:
        """Return the labels that the rule adds; `severity` alone if the rule is not found."""
        rules = [rule for rule in await self._rules(alert) if rule.query == query]
        return frozenset(name for rule in rules for name in rule.labels) or {"severity"}

    async def _rules(self, alert: Alert) -> Sequence[PromRule]:
        """Return the rules that can have made the alert; none where there is no such endpoint."""
        try:
            rules = await self._api.alerting_rules()
        except ConnectorRejected as error:
            if error.status in _NO_SUCH_ENDPOINT:
                return ()
            raise
        return [rule for rule in rules if rule.name == alert.name and _may_have_made(rule, alert)]


def expression_of(generator_url: str | None) -> str | None:
    """Return the expression in a link to Prometheus' graph page (`g0.expr`), if it is one."""
    if not generator_url:
        return None
    try:
        values = parse_qs(urlsplit(generator_url).query, max_num_fields=100).get("g0.expr", [])
    except ValueError:
        return None
    text = values[0].strip() if values else ""
    return text if 0 < len(text) <= EXPRESSION_LENGTH_MAX else None


def _holding(
    query: str,
    found: Sequence[PromSeries],
    labels: Mapping[str, str],
    ignored: Collection[str],
) -> ConditionReading | None:
    """Return the reading that a sample none of whose labels contradicts the alert's gives."""
    for series in found:
        if all(
            labels.get(name, value) == value
            for name, value in without_name(series.metric).items()
            if name != "alertname" and name not in ignored
        ):
            value = series.value[1] if series.value else "?"
            return ConditionReading(holds=True, query=query, detail=f"it holds, value {value}")
    return None


def _may_have_made(rule: PromRule, alert: Alert) -> bool:
    """Return whether the rule's own labels are on the alert; templated ones may be anything."""
    return all(
        "{{" in value or alert.labels.get(name, value) == value
        for name, value in rule.labels.items()
    )


def _worst(readings: Sequence[ConditionReading]) -> ConditionReading:
    """Return one that holds, else one that cannot be told, else one that does not hold."""
    order = {True: 0, None: 1, False: 2}
    return min(readings, key=lambda reading: order[reading.holds])
