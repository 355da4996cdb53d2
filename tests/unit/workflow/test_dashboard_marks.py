"""What happens to incidents is marked once, from the start of marking on, by one process."""

from datetime import UTC, datetime

import pytest

from it_incident_response.domain.audit import AuditEvent
from it_incident_response.errors import ConnectorUnavailable
from it_incident_response.simulation import VirtualClock
from it_incident_response.storage import open_store
from it_incident_response.workflow.dashboard_marks import ATTEMPTS, DashboardMarks

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Dashboard:
    def __init__(self):
        self.marks = []
        self.is_down = False
        self.asked = 0

    async def annotate(self, text, *, start, end=None, tags=()):
        self.asked += 1
        if self.is_down:
            raise ConnectorUnavailable("grafana", "down")
        self.marks.append((text, start, tags))
        return "1"


def event(kind, summary):
    return AuditEvent(at=NOW, actor="system", kind=kind, incident_id="i-1", summary=summary)


@pytest.fixture
async def store(tmp_path):
    store = open_store(f"sqlite:///{tmp_path}/iir.db", clock=VirtualClock(NOW))
    await store.open()
    yield store
    await store.close()


async def test_what_matters_is_marked_once_with_its_own_time(store):
    dashboard = Dashboard()
    marks = DashboardMarks(store, dashboard, VirtualClock(NOW), name="a")
    await store.append([event("incident.opened", "before anybody marked")])
    await marks.mark()
    await store.append([event("incident.opened", "db is down"), event("incident.note", "hm")])
    await marks.mark()
    await marks.mark()
    assert dashboard.marks == [("db is down", NOW, ("iir", "incident.opened", "i-1"))]


async def test_two_processes_mark_once(store):
    dashboard, clock = Dashboard(), VirtualClock(NOW)
    first = DashboardMarks(store, dashboard, clock, name="a")
    second = DashboardMarks(store, dashboard, clock, name="b")
    for marks in (first, second):
        await marks.mark()
    await store.append([event("incident.resolved", "over")])
    for marks in (first, second):
        await marks.mark()
    assert [text for text, *_ in dashboard.marks] == ["over"]


async def test_a_dashboard_that_was_down_gets_the_mark_later(store):
    dashboard = Dashboard()
    marks = DashboardMarks(store, dashboard, VirtualClock(NOW), name="a")
    await marks.mark()
    await store.append([event("action.started", "restart")])
    dashboard.is_down = True
    with pytest.raises(ConnectorUnavailable):
        await marks.mark()
    dashboard.is_down = False
    await marks.mark()
    assert [text for text, *_ in dashboard.marks] == ["restart"]


async def test_a_mark_that_is_refused_again_and_again_holds_up_no_other(store):
    dashboard = Dashboard()
    marks = DashboardMarks(store, dashboard, VirtualClock(NOW), name="a")
    await marks.mark()
    await store.append([event("action.started", "restart")])
    dashboard.is_down = True
    for _ in range(ATTEMPTS):
        with pytest.raises(ConnectorUnavailable):
            await marks.mark()
    dashboard.is_down = False
    await store.append([event("action.finished", "restarted")])
    await marks.mark()
    assert [text for text, *_ in dashboard.marks] == ["restarted"]
