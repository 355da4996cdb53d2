"""One process of several on the same store: `python -m tests.contracts.store_process URL ROLE N`.

Prints `ready` once its store is open and waits for a line on standard input before it begins.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable

from it_incident_response.domain.ids import IncidentId, incident_key
from it_incident_response.errors import Conflict
from it_incident_response.ports.store import Ingestion, IngestOutcome, KnownAlert, Store
from it_incident_response.storage import open_store
from tests.contracts import store_fixtures as make

BODIES_AT_ONCE = 5


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def ingest(store: Store, _number: int) -> None:
    """Empty the inbox: each body names an alert; an unknown one opens an incident."""
    while await _ingest_some(store):
        pass


async def _ingest_some(store: Store) -> bool:
    async with store.ingestion(BODIES_AT_ONCE) as ingestion:
        if not ingestion.items:
            return False
        await ingestion.commit(await _outcome(ingestion))
        return True


async def _outcome(ingestion: Ingestion) -> IngestOutcome:
    alerts = {}
    for item in ingestion.items:
        one = make.alert(item.body.decode())
        alerts[one.fingerprint] = one
    known = await ingestion.known_alerts(list(alerts))
    changed = {one.id: one for one in await ingestion.candidates(make.NOW)}
    new, found, links, events = [], [], [], []
    for fingerprint, one in alerts.items():
        if fingerprint in known:
            owner = changed[known[fingerprint].incident_id]
        else:
            number = await ingestion.next_incident_number()
            owner = make.incident(number, key=incident_key(number))
            new.append(owner)
            links.append(make.link(owner, one))
        found.append(KnownAlert(alert=one, incident_id=IncidentId(owner.id)))
        events.append(make.event("alert.seen", summary=one.name, incident_id=owner.id))
    return IngestOutcome(
        alerts=tuple(found), incidents=tuple(new), links=tuple(links), events=tuple(events)
    )


async def decide(store: Store, number: int) -> None:
    """Try to decide the only request; says who won."""
    (request,) = await store.approvals()
    try:
        await store.decide(
            make.decided(request, f"user-{number}"), [make.event("approval.approved")]
        )
    except Conflict:
        _say("lost")
    else:
        _say("won")


async def append(store: Store, number: int) -> None:
    """Append many events, two at a time."""
    for n in range(50):
        await store.append([make.event(f"test.{number}.{n}.{m}") for m in range(2)])


async def hang(store: Store, _number: int) -> None:
    """Take the ingestion and never give it back."""
    async with store.ingestion(BODIES_AT_ONCE) as ingestion:
        await _outcome(ingestion)
        _say("holding")
        await asyncio.Event().wait()


async def hold(store: Store, number: int) -> None:
    """Want the one post a hundred times, each time a second later; says each token it got."""
    for second in range(100):
        lease = await store.hold_lease(
            "engine", holder=str(number), now=make.after(second), until=make.after(second + 0.5)
        )
        if lease.holder == str(number):
            _say(str(lease.token))


async def write(store: Store, _number: int) -> None:
    """Create incidents, each with one event, until killed."""
    while True:
        await store.create_incident(make.incident(1), [make.event("incident.opened")])


ROLES: dict[str, Callable[[Store, int], Awaitable[None]]] = {
    "ingest": ingest,
    "decide": decide,
    "append": append,
    "hang": hang,
    "hold": hold,
    "write": write,
}


async def main(url: str, role: str, number: int) -> None:
    """Play one role."""
    store = open_store(url, clock=make.FixedClock())
    await store.open()
    _say("ready")
    sys.stdin.readline()
    await ROLES[role](store, number)
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
