"""The stack as pytest fixtures; every server is stopped at the end of the fixture's scope."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from tests.real.stack import alertmanager as alertmanager_module
from tests.real.stack import exporters
from tests.real.stack import prometheus as prometheus_module
from tests.real.stack.alertmanager import Alertmanager
from tests.real.stack.exporters import Exporter
from tests.real.stack.host import Host, booted_host
from tests.real.stack.postgres import Postgres, running_postgres
from tests.real.stack.prometheus import Prometheus, Rule, ScrapeJob
from tests.real.stack.scene import Scene, watched_host
from tests.real.stack.search_servers import SearchServer, search_server
from tests.real.stack.temporal import TemporalServer, running_temporal


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """One PostgreSQL server for the whole run."""
    log = tmp_path_factory.mktemp("postgres") / "postgres.log"
    with running_postgres(log) as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: Postgres) -> Iterator[str]:
    """URL of an empty PostgreSQL database of the test's own."""
    url = postgres_server.create_database()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture
def engine_folder(tmp_path: Path) -> Path:
    """A folder for the durable engine's file; it is not made yet."""
    return tmp_path / "engine"


@pytest.fixture
def temporal_server(tmp_path: Path) -> Iterator[TemporalServer]:
    """A Temporal server of the test's own: `address`, `settings`, `kill`, `stop`, `start`..."""
    with running_temporal(tmp_path / "temporal") as server:
        yield server


class StartPrometheus(Protocol):
    """Type of the `start_prometheus` fixture."""

    def __call__(
        self,
        *,
        scrapes: Sequence[ScrapeJob] = (),
        rules: Sequence[Rule] = (),
        alertmanager: str | None = None,
    ) -> Prometheus:
        """Start a Prometheus of the test's own, stopped when the test ends."""
        ...


@pytest.fixture
def start_prometheus(tmp_path: Path) -> Iterator[StartPrometheus]:
    """Start Prometheus servers with given scrapes and rules: see `stack.prometheus`."""
    with ExitStack() as stack:

        def start(
            *,
            scrapes: Sequence[ScrapeJob] = (),
            rules: Sequence[Rule] = (),
            alertmanager: str | None = None,
        ) -> Prometheus:
            directory = tmp_path / f"prometheus-{len(list(tmp_path.glob('prometheus-*')))}"
            return stack.enter_context(
                prometheus_module.prometheus_server(
                    directory, scrapes=scrapes, rules=rules, alertmanager=alertmanager
                )
            )

        yield start


@pytest.fixture
def start_alertmanager(tmp_path: Path) -> Iterator[Callable[..., Alertmanager]]:
    """Start Alertmanagers; takes the arguments of `stack.alertmanager.alertmanager_server`."""
    with ExitStack() as stack:

        def start(**options: object) -> Alertmanager:
            directory = tmp_path / f"alertmanager-{len(list(tmp_path.glob('alertmanager-*')))}"
            server = alertmanager_module.alertmanager_server(directory, **options)  # type: ignore[arg-type]
            return stack.enter_context(server)

        yield start


@pytest.fixture(scope="session")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A shared Prometheus that scrapes itself; `AlwaysFiring` fires in it, `NeverFiring` not."""
    rules = [
        prometheus_module.alert(
            "AlwaysFiring",
            'up{job="prometheus"} == 1',
            severity="critical",
            summary="This one always fires",
            hold="0s",
            labels={"team": "test"},
        ),
        prometheus_module.alert(
            "NeverFiring", 'up{job="prometheus"} == 2', severity="warning", summary="Never"
        ),
    ]
    directory = tmp_path_factory.mktemp("prometheus")
    with prometheus_module.prometheus_server(directory, rules=rules) as server:
        yield server


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alertmanager]:
    """An Alertmanager of the module's own that tells nobody."""
    directory = tmp_path_factory.mktemp("alertmanager")
    with alertmanager_module.alertmanager_server(directory) as server:
        yield server


@pytest.fixture(scope="session")
def node_exporter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    """A node_exporter on this machine."""
    with exporters.node_exporter(tmp_path_factory.mktemp("node")) as server:
        yield server


@pytest.fixture(scope="session")
def blackbox_exporter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    """A blackbox_exporter on this machine."""
    with exporters.blackbox_exporter(tmp_path_factory.mktemp("blackbox")) as server:
        yield server


def clean_command(host: str = "web-1") -> tuple[str, ...]:
    """Return what cleaning `/srv/data/cache` of files older than a day runs, to be granted."""
    from it_incident_response.actions import CleanDisk  # late: the stack must load without it

    (command,) = CleanDisk(host=host, path="/srv/data/cache").commands()
    return command


class BootHost(Protocol):
    """Type of the `boot_host` fixture."""

    def __call__(
        self,
        name: str = "web-1",
        *,
        services: Sequence[str] = ("checkout",),
        sudo_commands: Sequence[tuple[str, ...]] = (),
    ) -> Host:
        """Boot a host that ends with the module."""
        ...


@pytest.fixture(scope="module")
def boot_host() -> Iterator[BootHost]:
    """Boot systemd hosts, gone at the end of the module."""
    with ExitStack() as stack:

        def boot(
            name: str = "web-1",
            *,
            services: Sequence[str] = ("checkout",),
            sudo_commands: Sequence[tuple[str, ...]] = (),
        ) -> Host:
            return stack.enter_context(
                booted_host(name, services=services, sudo_commands=sudo_commands)
            )

        yield boot


@pytest.fixture(scope="module")
def _module_host() -> Iterator[Host]:
    with booted_host(sudo_commands=[clean_command()]) as server:
        yield server


@pytest.fixture
def host(_module_host: Host) -> Host:
    """The module's host `web-1`: `checkout` is well and the disk clean when the test begins."""
    _module_host.remove_cause()
    _module_host.filesystem.empty()
    if _module_host.unit_state() != "active":
        _module_host.restart_service()
    return _module_host


@pytest.fixture
def scene(host: Host, tmp_path: Path) -> Iterator[Scene]:
    """The module's host, watched by monitoring and an `iir serve` of the test's own."""
    with watched_host(tmp_path, host) as scene:
        yield scene


@pytest.fixture(scope="session")
def elasticsearch_server() -> Iterator[SearchServer]:
    """One Elasticsearch node for the whole run, without security."""
    with search_server("elasticsearch") as server:
        yield server


@pytest.fixture(scope="session")
def opensearch_server() -> Iterator[SearchServer]:
    """One OpenSearch node for the whole run, without security."""
    with search_server("opensearch") as server:
        yield server
