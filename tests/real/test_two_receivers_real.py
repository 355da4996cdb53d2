"""Two `iir serve` on one PostgreSQL: one incident a cause, whoever hears of it, whoever dies."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.real.stack.fixtures import StartPrometheus
from tests.real.stack.iir import Iir
from tests.real.stack.installation import firing, installed, post, tell, webhook
from tests.real.stack.process import Server
from tests.real.stack.waiting import WaitUntil

CAUSES = 12
ALERTS_A_CAUSE = 25


class Pair:
    """Two installations and their processes, and what is in their database."""

    def __init__(self, url: str, iirs: Sequence[Iir], serves: Sequence[Server]) -> None:
        self.url, self.iirs, self.serves = url, iirs, serves

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(query.encode()).fetchall()

    def both(self, body: bytes) -> list[int]:
        """Post a body to both at the same moment and return the statuses."""
        with ThreadPoolExecutor(2) as threads:
            return list(threads.map(lambda iir: post(iir, body).status_code, self.iirs))

    def is_at_rest(self) -> bool:
        """Tell whether everything is read, and every incident was looked at and let go."""
        (row,) = self.rows(
            "SELECT (SELECT count(*) FROM inbox),"
            " (SELECT count(*) FROM incidents i WHERE NOT EXISTS"
            "   (SELECT 1 FROM diagnoses d WHERE d.incident_id = i.id)),"
            " (SELECT count(*) FROM work WHERE worker IS NOT NULL)"
        )
        return row == (0, 0, 0)

    def assert_sound(self, causes: Sequence[str], alerts_a_cause: int) -> None:
        """Check that there is one incident a cause with each alert once, and the trail is whole."""
        found = self.rows(
            "SELECT incident_id, body::jsonb #>> '{labels,service}', count(*)"
            " FROM incident_alerts GROUP BY 1, 2"
        )
        assert sorted(service for _, service, _ in found) == sorted(causes)
        assert {count for _, _, count in found} == {alerts_a_cause}
        assert len({incident for incident, _, _ in found}) == len(causes)
        assert self.rows("SELECT count(*) FROM incidents") == [(len(causes),)]
        opened = self.rows(
            "SELECT count(*) FROM audit WHERE body::jsonb ->> 'kind' = 'incident.opened'"
        )
        assert opened == [(len(causes),)]
        self.iirs[1].command("audit", "verify")


@pytest.fixture
def pair(postgres_url: str, start_prometheus: StartPrometheus, tmp_path: Path) -> Iterator[Pair]:
    prometheus = start_prometheus()
    with ExitStack() as stack:
        iirs = [
            installed(tmp_path / name, prometheus, store={"url": postgres_url})
            for name in ("one", "two")
        ]
        yield Pair(postgres_url, iirs, [stack.enter_context(iir.serve()) for iir in iirs])


def storm(causes: Sequence[str]) -> list[bytes]:
    """Return one body for each alert, the causes mixed."""
    return [
        webhook(firing(f"Trouble{number}", service=cause, host=f"host-of-{cause}"))
        for number in range(ALERTS_A_CAUSE)
        for cause in causes
    ]


def test_the_same_webhook_to_both_at_once(pair: Pair, wait_until: WaitUntil) -> None:
    causes = [f"svc-{number}" for number in range(20)]
    for cause in causes:
        assert (
            pair.both(webhook(firing("Down", service=cause, host=f"host-of-{cause}"))) == [200] * 2
        )
    wait_until(pair.is_at_rest, 40, "every incident to be looked at")
    pair.assert_sound(causes, 1)


def test_a_storm_over_both_while_one_is_killed(pair: Pair, wait_until: WaitUntil) -> None:
    causes = [f"svc-{number}" for number in range(CAUSES)]
    bodies = storm(causes)
    acknowledged: list[int] = []

    def deliver(numbered: tuple[int, bytes]) -> None:
        """Post to one or the other, as Alertmanager would: again until somebody took it."""
        number, body = numbered
        for attempt in range(20):
            try:
                if post(pair.iirs[(number + attempt) % 2], body).status_code == 200:
                    acknowledged.append(number)
                    return
            except httpx.TransportError:
                continue
        raise AssertionError(f"nobody took body {number}")

    with ThreadPoolExecutor(16) as threads:
        storming = threads.map(deliver, enumerate(bodies))
        held = "SELECT 1 FROM work WHERE worker LIKE '%%' || ':{}:' || '%%'"
        held = held.format(pair.serves[0].pid)
        wait_until(lambda: len(acknowledged) > 100 and pair.rows(held), 30, "it to have incidents")
        pair.serves[0].kill()
        list(storming)

    assert len(acknowledged) == len(bodies)
    # What the dead one had in its hands comes back when its leases run out.
    wait_until(pair.is_at_rest, 60, "the other to finish everything")
    pair.assert_sound(causes, ALERTS_A_CAUSE)
    tell(pair.iirs[1], firing("Down", service="one-more", host="host-of-one-more"))
    wait_until(lambda: len(pair.rows("SELECT 1 FROM incidents")) == CAUSES + 1, 20, "one more")
