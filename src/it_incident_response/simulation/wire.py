"""The wire depth: one ASGI app that speaks Prometheus' and Alertmanager's HTTP over one world."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from it_incident_response.simulation.alertmanager_wire import AlertmanagerWire
from it_incident_response.simulation.ports_adapter import SimulatedSources
from it_incident_response.simulation.prometheus_wire import PrometheusWire
from it_incident_response.simulation.world import SimulatedWorld


def wire_app(world: SimulatedWorld, sources: SimulatedSources | None = None) -> Starlette:
    """Return the app; pass the `sources` whose silences it should share.

    Prometheus lies below `/api/v1`, Alertmanager below `/api/v2`, so both have the same base
    address. It neither needs nor checks credentials: serve it on loopback only.
    """
    shared = sources if sources is not None else SimulatedSources(world)
    return Starlette(
        routes=[
            *PrometheusWire(world).routes(),
            *AlertmanagerWire(world, shared).routes(),
            Route("/-/ready", _ready),
            Route("/-/healthy", _ready),
        ]
    )


async def _ready(request: Request) -> Response:
    return PlainTextResponse("The simulated world is ready.\n")
