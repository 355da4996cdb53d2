"""Errors of the engine become ours, and being ready is told from being there."""

import pytest
from pydantic import SecretStr
from temporalio.service import RPCError, RPCStatusCode

from it_incident_response.errors import ConfigError, ConnectorRejected, ConnectorUnavailable
from it_incident_response.workflow.engine.connection import (
    answered,
    connect,
    data_converter,
    probe,
    translated,
    until_ready,
)
from it_incident_response.workflow.engine.settings import EngineSettings

NO_WORKFLOW = (RPCStatusCode.NOT_FOUND, "workflow not found for ID: iir-is-ready")
NO_NAMESPACE = (RPCStatusCode.NOT_FOUND, "Namespace default is not found.")
NO_SHARD = (RPCStatusCode.UNAVAILABLE, "shard status unknown")
DENIED = (RPCStatusCode.PERMISSION_DENIED, "Request unauthorized.")


class Config:
    target_host = "temporal.example.com:7233"


class Engine:
    """Answers signals with the given errors in turn, the last one for ever."""

    namespace = "default"

    def __init__(self, *answers):
        self.service_client = self
        self.config = Config
        self.workflow_service = self
        self.asked = 0
        self._answers = answers

    async def signal_workflow_execution(self, request, *, retry, timeout):
        assert not retry
        assert request.namespace == "default"
        answer = self._answers[min(self.asked, len(self._answers) - 1)]
        self.asked += 1
        if answer is not None:
            raise RPCError(answer[1], answer[0], b"")


class Clock:
    """Sleeps are noted, not slept."""

    def __init__(self):
        self.slept = []

    async def sleep(self, seconds):
        self.slept.append(seconds)


@pytest.mark.parametrize("answer", [NO_WORKFLOW, None])
async def test_no_such_workflow_is_the_good_answer(answer):
    await probe(Engine(answer))


@pytest.mark.parametrize("answer", [NO_NAMESPACE, NO_SHARD, DENIED])
async def test_every_other_answer_is_none(answer):
    with pytest.raises(RPCError, match=answer[1]):
        await probe(Engine(answer))


async def test_it_is_asked_until_a_workflow_could_be_started():
    engine, clock = Engine(NO_SHARD, NO_NAMESPACE, NO_SHARD, NO_WORKFLOW), Clock()
    await until_ready(engine, 10, clock)
    assert engine.asked == 4
    assert clock.slept == [0.05, 0.1, 0.2]


async def test_a_refusal_is_told_at_once():
    engine = Engine(DENIED)
    with pytest.raises(ConnectorRejected, match=r"temporal.example.com:7233 refused us") as refused:
        await until_ready(engine, 10, Clock())
    assert engine.asked == 1
    assert "temporal.api_key" in str(refused.value)


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (NO_SHARD, ConnectorUnavailable, "shard status unknown"),
        (NO_NAMESPACE, ConnectorRejected, "has no namespace 'default'"),
    ],
)
async def test_the_last_answer_is_told_when_time_is_up(answer, kind, words):
    with pytest.raises(kind, match=words):
        await until_ready(Engine(answer), 0.12)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (RPCStatusCode.UNAVAILABLE, ConnectorUnavailable),
        (RPCStatusCode.DEADLINE_EXCEEDED, ConnectorUnavailable),
        (RPCStatusCode.RESOURCE_EXHAUSTED, ConnectorUnavailable),
        (RPCStatusCode.UNAUTHENTICATED, ConnectorRejected),
        (RPCStatusCode.PERMISSION_DENIED, ConnectorRejected),
        (RPCStatusCode.INVALID_ARGUMENT, ConnectorRejected),
    ],
)
def test_kinds_of_errors(status, kind):
    error = translated(RPCError("why\nsecond line" + "x" * 9000, status, b""), "t:1", "ns")
    assert type(error) is kind
    assert error.connector == "temporal"
    assert "second line" not in str(error)


async def test_a_call_is_answered_in_our_words():
    async def call(error=None):
        if error:
            raise error
        return 7

    assert await answered(call(), Engine()) == 7
    lost = RPCError("overloaded", RPCStatusCode.RESOURCE_EXHAUSTED, b"")
    with pytest.raises(ConnectorUnavailable, match="overloaded"):
        await answered(call(lost), Engine())


async def test_without_an_address_the_server_has_to_be_started_first():
    with pytest.raises(ConfigError, match="address is not known yet"):
        await connect(EngineSettings())


async def test_failures_are_sealed_with_a_key_only():
    key = SecretStr("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
    plain, sealed = (
        data_converter(EngineSettings()),
        data_converter(EngineSettings(encryption_keys=(key,))),
    )
    assert plain.failure_converter_class is not sealed.failure_converter_class
    (payload,) = await sealed.encode(["text"])
    assert b"text" not in payload.SerializeToString()
    assert await sealed.decode([payload], [str]) == ["text"]
