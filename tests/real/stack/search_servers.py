"""Real Elasticsearch and OpenSearch nodes, from the zips that both projects publish for tests."""

import os
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from tests.real.stack.process import LOOPBACK, Server, free_port, require_binary

CACHE = Path(__file__).parents[3] / "build" / "search-servers"
"""Where the zips stay between runs; `build/` is not under version control."""
ARTIFACTS = {
    "elasticsearch": "org.elasticsearch.distribution.integ-test-zip:elasticsearch:8.19.21:zip",
    "opensearch": "org.opensearch.distribution.integ-test-zip:opensearch:3.4.0:zip",
}
PASSWORD = "a-password-of-the-tests"
"""Of `admin`, who may do all, of `reader`, who may read `it-*`, and of `stranger`."""
_JAVA_OPTIONS = "-Xms384m -Xmx384m -XX:TieredStopAtLevel=1"
"""Small, and quick to start: these nodes live for a minute."""
_UNPRIVILEGED = "65534"
"""User and group `nobody`."""
_DOWNLOAD_LIMIT_S = 300


@dataclass(kw_only=True)
class SearchServer(Server):
    """One node; `admin` speaks to it with all rights."""

    url: str
    distribution: str
    admin: httpx.Client

    def index(
        self,
        name: str,
        documents: Iterable[Mapping[str, Any]],
        *,
        mapping: Mapping[str, Any] | None = None,
        shards: int = 1,
    ) -> None:
        """Make the index anew and fill it; what the node refuses is an error."""
        self.admin.delete(f"/{name}", params={"ignore_unavailable": "true"}).raise_for_status()
        settings = {"number_of_shards": shards, "number_of_replicas": 0}
        body = {"settings": settings, "mappings": mapping or {}}
        self.admin.put(f"/{name}", json=body).raise_for_status()
        for chunk in _chunks(documents):
            reply = self.admin.post(
                f"/{name}/_bulk",
                content=chunk,
                headers={"Content-Type": "application/x-ndjson"},
                timeout=60,
            ).raise_for_status()
            assert not reply.json()["errors"], reply.text[:1000]
        self.admin.post(f"/{name}/_refresh").raise_for_status()

    def drop(self, *names: str) -> None:
        """Delete indices, also absent ones."""
        for name in names:
            self.admin.delete(f"/{name}", params={"ignore_unavailable": "true"}).raise_for_status()


def _chunks(documents: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    lines: list[bytes] = []
    size = 0
    for document in documents:
        lines += [b'{"index":{}}', orjson.dumps(document)]
        size += len(lines[-1])
        if size > 5_000_000:
            yield b"\n".join(lines) + b"\n"
            lines, size = [], 0
    if lines:
        yield b"\n".join(lines) + b"\n"


@contextmanager
def search_server(
    distribution: str, *, tls: tuple[Path, Path] | None = None
) -> Iterator[SearchServer]:
    """Run a node on loopback; with `tls` (certificate and key) Elasticsearch's security is on.

    Skips the test, naming what to install, without a JDK or the zip and Maven to fetch it.
    """
    java = _java()
    # Not below pytest's folder, which it closes to other users at the start of each run.
    with tempfile.TemporaryDirectory(prefix=f"iir-{distribution}-") as folder:
        yield from _node(distribution, Path(folder), java, tls)


def _node(
    distribution: str, folder: Path, java: str, tls: tuple[Path, Path] | None
) -> Iterator[SearchServer]:
    home = folder / "node"
    _unpack(_zip(distribution), home)
    port, transport = free_port(), free_port()
    scheme = "http" if tls is None else "https"
    (home / "config" / f"{distribution}.yml").write_bytes(
        orjson.dumps(_settings(distribution, port, transport, tls is not None))
    )
    if tls is not None:
        for source, name in zip(tls, ("http.crt", "http.key"), strict=True):
            shutil.copy(source, home / "config" / name)
    environment = {
        "ES_JAVA_HOME": java,
        "OPENSEARCH_JAVA_HOME": java,
        "ES_JAVA_OPTS": _JAVA_OPTIONS,
        "OPENSEARCH_JAVA_OPTS": _JAVA_OPTIONS,
        "HOME": str(home),
    }
    if tls is not None:
        _add_users(home / "config")
    run_as = _hand_over(folder)
    url = f"{scheme}://{LOOPBACK}:{port}"
    auth = None if tls is None else ("admin", PASSWORD)
    verify = False  # the tests of trust are made with the connector, not with this client
    with httpx.Client(base_url=url, auth=auth, timeout=20, verify=verify) as admin:
        server = SearchServer(
            name=distribution,
            argv=[str(home / "bin" / distribution)],
            log=folder / f"{distribution}.log",
            environment=environment,
            run_as=run_as,
            start_deadline_s=180.0,
            url=url,
            distribution=distribution,
            admin=admin,
        )
        server.ready = lambda: _is_healthy(admin)
        with server:
            yield server


def _is_healthy(admin: httpx.Client) -> bool:
    """Tell whether every shard can be read; before that, a node that is back knows no index."""
    reply = admin.get("/_cluster/health", timeout=2)
    return reply.status_code == 200 and reply.json()["status"] == "green"


def _settings(distribution: str, port: int, transport: int, is_secured: bool) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "discovery.type": "single-node",
        "network.host": LOOPBACK,
        "http.port": port,
        "transport.port": transport,
        "cluster.routing.allocation.disk.threshold_enabled": False,
        "action.auto_create_index": False,
    }
    if distribution != "elasticsearch":
        return settings
    settings["xpack.security.enabled"] = is_secured
    if is_secured:
        settings |= {
            "xpack.security.autoconfiguration.enabled": False,
            "xpack.security.http.ssl.enabled": True,
            "xpack.security.http.ssl.certificate": "http.crt",
            "xpack.security.http.ssl.key": "http.key",
            "xpack.security.authc.api_key.enabled": True,
        }
    return settings


def _add_users(config: Path) -> None:
    """Add users by file: what keeps users and API keys in an index is not in the published zip."""
    import bcrypt

    secret = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4, prefix=b"2a")).decode()
    reading = {"indices": [{"names": ["it-*"], "privileges": ["read", "view_index_metadata"]}]}
    nothing: dict[str, Any] = {"cluster": []}
    (config / "users").write_text(
        "".join(f"{user}:{secret}\n" for user in ("admin", "reader", "stranger"))
    )
    (config / "users_roles").write_text("superuser:admin\nreads:reader\nnothing:stranger\n")
    (config / "roles.yml").write_bytes(
        b"reads: " + orjson.dumps(reading) + b"\nnothing: " + orjson.dumps(nothing) + b"\n"
    )


def _hand_over(folder: Path) -> str | None:
    """Give the folder to an unprivileged user, if we are root: both servers refuse root."""
    if os.geteuid() != 0:
        return None
    for path in (folder, *folder.rglob("*")):
        os.chown(path, int(_UNPRIVILEGED), int(_UNPRIVILEGED))
    return _UNPRIVILEGED


def _java() -> str:
    """Return the newest installed JDK that both servers run on: 21 or later."""
    found: dict[int, str] = {}
    for folder in Path("/usr/lib/jvm").glob("*/"):
        release = folder / "release"
        if not (folder / "bin" / "java").exists() or not release.exists():
            continue
        for line in release.read_text().splitlines():
            if line.startswith("JAVA_VERSION="):
                found[int(line.partition('"')[2].split(".")[0])] = str(folder)
    usable = {version: path for version, path in found.items() if version >= 21}
    if not usable:
        pytest.skip("no JDK of version 21 or later: install one under /usr/lib/jvm")
    return usable[max(usable)]


def _zip(distribution: str) -> Path:
    """Return the zip, fetched by Maven if it is not there."""
    _, name, version, _ = ARTIFACTS[distribution].split(":")
    path = CACHE / f"{name}-{version}.zip"
    if path.exists():
        return path
    maven = require_binary("mvn", package="maven")
    CACHE.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [
            *(maven, "-q", "--batch-mode", "dependency:copy"),
            *(f"-Dartifact={ARTIFACTS[distribution]}", f"-DoutputDirectory={CACHE}"),
        ],
        capture_output=True,
        text=True,
        timeout=_DOWNLOAD_LIMIT_S,
        cwd=CACHE,
    )
    if done.returncode != 0 or not path.exists():
        pytest.skip(f"Maven could not fetch {ARTIFACTS[distribution]}: {done.stdout[-300:]}")
    return path


def _unpack(archive: Path, home: Path) -> None:
    """Unpack without the folder that everything in the zip is in; scripts stay executable."""
    with zipfile.ZipFile(archive) as opened:
        for entry in opened.infolist():
            inner = Path(*Path(entry.filename).parts[1:])
            target = home / inner
            if entry.is_dir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with opened.open(entry) as source, target.open("wb") as written:
                shutil.copyfileobj(source, written)
            if inner.parts[0] == "bin":
                target.chmod(0o755)
    (home / "logs").mkdir(exist_ok=True)
    (home / "data").mkdir(exist_ok=True)
