"""Reading alerts from JSON: every form, and every way it can be wrong."""

import contextlib
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from it_incident_response.domain.alert import AlertStatus
from it_incident_response.errors import InputRejected
from it_incident_response.integrations import (
    check_alerts,
    check_webhook,
    parse_alerts,
    parse_webhook,
)
from it_incident_response.integrations.alert_json import read_webhook

RECORDED = Path(__file__).parents[2] / "recorded" / "alertmanager"
NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


def webhook(**changes):
    content = json.loads((RECORDED / "webhook_firing.json").read_bytes())
    return content | changes


def encoded(content) -> bytes:
    return json.dumps(content).encode()


def test_a_firing_webhook_of_a_real_alertmanager():
    (alert,) = parse_webhook((RECORDED / "webhook_firing.json").read_bytes(), NOW)
    assert alert.fingerprint == "1de5451a84cc11d2"
    assert alert.status is AlertStatus.FIRING
    assert alert.starts_at == datetime(2026, 11, 23, 9, 57, 49, 393000, tzinfo=UTC)
    assert alert.ends_at is None, "endsAt of year 1 means that it has not ended"
    assert alert.received_at == NOW
    assert alert.source == "alertmanager"
    assert alert.generator_url.startswith("http://vm:19090/graph?g0.expr=")
    assert alert.annotations["summary"] == "error ratio 0.42 on "


def test_a_resolved_webhook_keeps_its_identity_and_says_when_it_ended():
    (alert,) = parse_webhook((RECORDED / "webhook_resolved.json").read_bytes(), NOW)
    assert alert.fingerprint == "1de5451a84cc11d2"
    assert alert.status is AlertStatus.RESOLVED
    assert alert.ends_at == datetime(2026, 11, 23, 9, 57, 51, 393000, tzinfo=UTC)


def test_our_fingerprints_are_those_of_alertmanager():
    listed = json.loads((RECORDED / "api_v2_alerts.json").read_bytes())
    alerts = parse_alerts(encoded(listed), NOW)
    assert [alert.fingerprint for alert in alerts] == [item["fingerprint"] for item in listed]


def test_truncated_alerts_are_counted_and_logged(caplog):
    body = encoded(webhook(truncatedAlerts=7))
    assert read_webhook(body, NOW).truncated_alerts == 7
    parse_webhook(body, NOW)
    assert "left 7 alerts out" in caplog.text


def test_unknown_fields_are_ignored():
    content = webhook(novelty={"a": 1})
    content["alerts"][0]["another"] = [1]
    assert len(parse_webhook(encoded(content), NOW)) == 1


def change_alert(**changes):
    content = webhook()
    content["alerts"][0] |= changes
    return encoded(content)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"", "the body is empty"),
        (b"  \n", "the body is empty"),
        (b"<html>", "not JSON"),
        (b'{"version": "4", "alerts": [', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "the body: must be an object"),
        (b"null", "the body: must be an object"),
        (b'{"alerts": []}', "version"),
        (encoded(webhook(version="3")), "version"),
        (encoded(webhook(version=4)), "version"),
        (encoded(webhook(alerts=None)), "alerts: must be a list"),
        (encoded(webhook(alerts={"a": 1})), "alerts: must be a list"),
        (encoded(webhook(alerts=["x"])), "alerts[0]"),
        (encoded(webhook(truncatedAlerts="many")), "truncatedAlerts"),
        (encoded(webhook(truncatedAlerts=-1)), "truncatedAlerts"),
        (encoded(webhook(truncatedAlerts=True)), "truncatedAlerts"),
        (change_alert(status="burning"), "alerts[0]: status"),
        (change_alert(status=None), "alerts[0]: status"),
        (change_alert(labels=None), "alerts[0]: labels"),
        (change_alert(labels={}), "alerts[0]: labels: is empty"),
        (change_alert(labels=[]), "alerts[0]: labels"),
        (change_alert(labels={"alertname": 7}), "alerts[0]: labels.alertname"),
        (change_alert(labels={"a": None}), "alerts[0]: labels.a"),
        (change_alert(annotations={"summary": {}}), "alerts[0]: annotations.summary"),
        (change_alert(startsAt="yesterday"), "alerts[0]: startsAt"),
        (change_alert(startsAt="2026-11-23T09:57:49"), "alerts[0]: startsAt"),
        (change_alert(startsAt="2026-11-23"), "alerts[0]: startsAt"),
        (change_alert(startsAt=17), "alerts[0]: startsAt"),
        (change_alert(endsAt="9999-99-99T00:00:00Z"), "alerts[0]: endsAt"),
        (change_alert(endsAt="0001-01-01T00:00:00+23:00"), "alerts[0]: endsAt"),
    ],
)
def test_garbage_is_rejected_and_the_field_is_named(body, named):
    with pytest.raises(InputRejected) as caught:
        parse_webhook(body, NOW)
    assert named in caught.value.message
    assert caught.value.hint


def test_a_webhook_without_starts_at_is_rejected():
    content = webhook()
    del content["alerts"][0]["startsAt"]
    with pytest.raises(InputRejected, match="startsAt: is missing"):
        parse_webhook(encoded(content), NOW)


def test_messages_stay_short_whatever_comes():
    body = change_alert(labels={"x" * 100_000: 1}, status="firing")
    with pytest.raises(InputRejected) as caught:
        parse_webhook(body, NOW)
    assert len(str(caught.value)) < 500


HOSTILE = 'x"} or vector(1) # $(reboot) `id` ; rm -rf / \n\u202e\u0000'


def test_hostile_labels_stay_text():
    (alert,) = parse_webhook(change_alert(labels={"alertname": HOSTILE, "instance": HOSTILE}), NOW)
    assert alert.labels["instance"].startswith('x"} or vector(1)')
    assert "\0" not in alert.labels["instance"]


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_any_json_gives_alerts_or_a_rejection(content):
    body = json.dumps(content).encode("utf-8", "replace")
    for parse in (parse_webhook, parse_alerts):
        with contextlib.suppress(InputRejected):
            assert all(alert.received_at == NOW for alert in parse(body, NOW))


@given(st.binary(max_size=200))
def test_any_bytes_give_alerts_or_a_rejection(body):
    for parse in (parse_webhook, parse_alerts):
        with contextlib.suppress(InputRejected):
            assert all(alert.received_at == NOW for alert in parse(body, NOW))


PAIRS = ((check_webhook, parse_webhook), (check_alerts, parse_alerts))

values = st.none() | st.booleans() | st.integers() | st.text(max_size=6)
moments = st.sampled_from(
    ["2026-11-23T09:57:49.393Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00", "x", "", None]
)
texts = st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3)
items = st.fixed_dictionaries(
    {"labels": texts | st.dictionaries(st.text(max_size=5), values, max_size=2)},
    optional={
        "status": st.sampled_from(["firing", "resolved", {"state": "suppressed"}]) | values,
        "annotations": texts | values,
        "startsAt": moments | values,
        "endsAt": moments,
        "activeAt": moments,
        "state": st.sampled_from(["firing", "pending"]),
        "generatorURL": values,
    },
)
messages = (
    st.fixed_dictionaries(
        {"version": st.sampled_from(["4"] * 9 + [4]), "alerts": st.lists(items, max_size=3)},
        optional={"truncatedAlerts": st.sampled_from([0, 3, -1, True, None])},
    )
    | st.lists(items | values, max_size=3)
    | items
    | st.fixed_dictionaries({"data": st.fixed_dictionaries({"alerts": st.lists(items)})})
)


def outcome(function, body):
    """How many alerts there are, or the message of the refusal."""
    try:
        result = function(body, NOW)
    except InputRejected as error:
        return error.message
    return result if isinstance(result, int) else len(result)


@settings(max_examples=300)
@given(st.lists(messages.map(encoded), min_size=1, max_size=2).map(b"\n".join))
def test_checking_accepts_counts_and_refuses_exactly_as_reading_does(body):
    for check, parse in PAIRS:
        assert outcome(check, body) == outcome(parse, body)


class TestParseAlerts:
    def test_a_plain_list(self):
        (alert,) = parse_alerts(b'[{"labels": {"alertname": "DiskFull"}}]', NOW)
        assert alert.name == "DiskFull"
        assert alert.is_firing
        assert alert.starts_at == NOW
        assert alert.source == "alerts"

    def test_an_end_in_the_past_means_resolved(self):
        item = {"labels": {"alertname": "A"}, "endsAt": "2026-11-23T09:59:00Z"}
        (alert,) = parse_alerts(encoded([item]), NOW)
        assert alert.status is AlertStatus.RESOLVED

    def test_an_end_in_the_future_means_firing(self):
        item = {"labels": {"alertname": "A"}, "endsAt": "2026-11-23T10:04:00Z"}
        (alert,) = parse_alerts(encoded([item]), NOW)
        assert alert.is_firing
        assert alert.ends_at is None

    def test_an_explicit_status_counts(self):
        item = {"labels": {"alertname": "A"}, "status": "resolved"}
        (alert,) = parse_alerts(encoded(item), NOW)
        assert alert.status is AlertStatus.RESOLVED
        assert alert.ends_at == NOW

    def test_suppressed_ones_are_left_out(self):
        listed = json.loads((RECORDED / "api_v2_alerts.json").read_bytes())
        listed[1]["status"] = {"state": "suppressed", "silencedBy": ["x"], "inhibitedBy": []}
        alerts = parse_alerts(encoded(listed), NOW)
        assert [alert.name for alert in alerts] == ["ProbeFailed", "ServiceDown"]

    def test_a_whole_webhook(self):
        assert len(parse_alerts((RECORDED / "webhook_firing.json").read_bytes(), NOW)) == 1

    def test_the_answer_of_prometheus_without_its_pending_ones(self):
        answer = json.loads((RECORDED.parent / "prometheus" / "alerts.json").read_bytes())
        answer["data"]["alerts"][0]["state"] = "pending"
        alerts = parse_alerts(encoded(answer), NOW)
        assert [alert.name for alert in alerts] == ["ServiceDown", "ProbeFailed"]
        assert alerts[0].starts_at == datetime(2026, 11, 23, 9, 57, 48, 393121, tzinfo=UTC)

    def test_one_a_line(self):
        lines = b'{"labels": {"alertname": "A"}}\n\n{"labels": {"alertname": "B"}}\n'
        assert [alert.name for alert in parse_alerts(lines, NOW)] == ["A", "B"]

    def test_a_wrong_line_is_named(self):
        lines = b'{"labels": {"alertname": "A"}}\n{"labels": {"alertname": 1}}\n'
        with pytest.raises(InputRejected, match=r"line 2: alerts\[0\]: labels\.alertname"):
            parse_alerts(lines, NOW)

    def test_an_empty_list_is_no_alert(self):
        assert parse_alerts(b"[]", NOW) == ()
