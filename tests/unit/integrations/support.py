"""A clock that tests move, and a server that answers what they say."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx

from it_incident_response.integrations._http import HttpClient
from it_incident_response.integrations.connector import ConnectorSettings
from it_incident_response.ports.registry import Surroundings

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
URL = "http://mon.invalid:9090"


class StillClock:
    """Stands still; sleeping moves it at once."""

    def __init__(self, start: datetime = NOW) -> None:
        self.at = start
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.move(seconds)

    def move(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


class FakeServer:
    """Answers requests from a list (the last answer repeats) or a function; keeps them."""

    def __init__(self, *answers: httpx.Response | Exception | Callable) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer(request) if callable(answer) else answer

    @property
    def paths(self) -> list[str]:
        return [f"{request.method} {request.url.raw_path.decode()}" for request in self.requests]


def surroundings(server: FakeServer, clock: StillClock | None = None, **more) -> Surroundings:
    transport = httpx.MockTransport(server)
    return Surroundings(clock=clock or StillClock(), transport=transport, **more)


def http_client(
    server: FakeServer, clock: StillClock | None = None, **settings
) -> tuple[HttpClient, StillClock]:
    clock = clock or StillClock()
    given = ConnectorSettings(**({"url": URL} | settings))
    return HttpClient("fake", given, surroundings(server, clock)), clock


def success(data) -> httpx.Response:
    """Return an answer in Prometheus' envelope; a fresh one for each request."""
    return httpx.Response(200, json={"status": "success", "data": data})
