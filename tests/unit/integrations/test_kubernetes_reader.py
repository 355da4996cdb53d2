"""The Kubernetes reader against kmock, which speaks the protocol and decides nothing.

No real API server was met: field selectors, paging and metadata-only answers are stated here as
Kubernetes documents them.
"""

import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import TimeWindow
from it_incident_response.errors import ConfigError, ConnectorRejected, ConnectorUnavailable
from it_incident_response.integrations._kubernetes_settings import KubernetesSettings
from it_incident_response.integrations.kubernetes_reader import KubernetesReader
from it_incident_response.ports import ChangeReader, ChangeSource, HealthCheck, TopologySource

kmock = pytest.importorskip("kmock")
pytest.importorskip("kubernetes")

WINDOW = TimeWindow(
    start=datetime(2026, 1, 31, 11, tzinfo=UTC), end=datetime(2026, 1, 31, 12, tzinfo=UTC)
)
EARLY, INSIDE = "2026-01-31T10:00:00Z", "2026-01-31T11:30:00Z"
LISTS = {
    "events": "/api/v1/events",
    "configmaps": "/api/v1/configmaps",
    "secrets": "/api/v1/secrets",
    "nodes": "/api/v1/nodes",
    "replicasets": "/apis/apps/v1/replicasets",
    "services": "/api/v1/services",
    "pods": "/api/v1/pods",
    "endpointslices": "/apis/discovery.k8s.io/v1/endpointslices",
}


class Cluster:
    """An API server of which a test says what it answers."""

    def __init__(self, server: Any, kubeconfig: Path) -> None:
        self.server = server
        self.kubeconfig = kubeconfig

    def holds(self, plural: str, *items: dict[str, Any], **metadata: Any) -> None:
        self.server[f"get {LISTS[plural]}"] << {"metadata": metadata, "items": list(items)}

    def fails(self, plural: str, status: int, message: str = "no") -> None:
        (
            self.server[f"get {LISTS[plural]}"]
            << status
            << {
                "kind": "Status",
                "code": status,
                "message": message,
            }
        )

    def is_empty_but_for(self, *plurals: str) -> None:
        for plural in LISTS.keys() - set(plurals):
            self.holds(plural)

    def reader(self, **settings: Any) -> KubernetesReader:
        given = {"kubeconfig": str(self.kubeconfig), "timeout_s": 5} | settings
        return KubernetesReader(KubernetesSettings(**given))

    def requests(self, plural: str) -> list[Any]:
        return list(self.server[f"get {LISTS[plural]}"])


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    emulator = kmock.KubernetesScaffold()
    async with kmock.Server(emulator):
        path = tmp_path / "kubeconfig"
        path.write_text(yaml.safe_dump(_kubeconfig(str(emulator.url).rstrip("/"))))
        path.chmod(0o600)
        yield Cluster(emulator, path)


def _kubeconfig(url: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": "sesame"}}],
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
    }


def _header(request: Any, name: str) -> str:
    return {key.lower(): text for key, text in request.headers.items()}[name]


def _meta(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "namespace": "shop", "uid": f"uid-{name}"} | fields


def _replica_set(name: str, revision: int, image: str, at: str, **notes: str) -> dict[str, Any]:
    annotations = {"deployment.kubernetes.io/revision": str(revision), **notes}
    owner = {"kind": "Deployment", "name": "checkout", "controller": True}
    return {
        "metadata": _meta(
            name, creationTimestamp=at, annotations=annotations, ownerReferences=[owner]
        ),
        "spec": {"template": {"spec": {"containers": [{"name": "app", "image": image}]}}},
    }


async def test_it_fills_the_ports(cluster: Cluster) -> None:
    reader = cluster.reader()
    for port in (ChangeSource, ChangeReader, TopologySource, HealthCheck):
        assert isinstance(reader, port)
    cluster.server["get /version/"] << {"gitVersion": "v1.34.2"}
    assert (await reader.check()).version == "v1.34.2"
    (request,) = cluster.server["get /version/"]
    assert _header(request, "authorization") == "Bearer sesame"
    await reader.aclose()


async def test_a_rollout_says_what_image_came_and_why(cluster: Cluster) -> None:
    cluster.is_empty_but_for("replicasets")
    cause = {"kubernetes.io/change-cause": "release 42"}
    cluster.holds(
        "replicasets",
        _replica_set("checkout-b", 2, "shop/checkout:42", INSIDE, **cause),
        _replica_set("checkout-a", 1, "shop/checkout:41", EARLY),
    )
    batch = await cluster.reader().read_changes(WINDOW)
    (change,) = batch.changes
    assert batch.gaps == ()
    assert (change.what, change.version) == ("deploy", "shop/checkout:42")
    assert change.entity == Entity(EntityKind.SERVICE, "checkout")
    assert change.summary == (
        "rollout of shop/checkout, revision 2: "
        "app shop/checkout:41 -> shop/checkout:42 (release 42)"
    )


async def test_warnings_scaling_nodes_and_configuration(cluster: Cluster) -> None:
    cluster.is_empty_but_for("events", "nodes", "configmaps")
    warning = {
        "metadata": _meta("e1"),
        "type": "Warning",
        "reason": "BackOff",
        "message": "Back-off restarting failed container",
        "count": 7,
        "lastTimestamp": INSIDE,
        "involvedObject": {"kind": "Pod", "name": "checkout-b-x"},
    }
    cluster.holds("events", warning, warning | {"lastTimestamp": EARLY})
    condition = {"type": "Ready", "status": "False", "reason": "KubeletNotReady"}
    cluster.holds(
        "nodes",
        {
            "metadata": {"name": "n1", "creationTimestamp": EARLY},
            "status": {"conditions": [condition | {"lastTransitionTime": INSIDE}]},
        },
    )
    written = [{"manager": "kubectl-edit", "time": INSIDE}]
    cluster.holds(
        "configmaps",
        {"metadata": _meta("settings", managedFields=written, labels={"app": "checkout"})},
        {"metadata": _meta("kube-root-ca.crt", managedFields=written)},
    )
    changes = (await cluster.reader().read_changes(WINDOW)).changes
    told = {change.summary: change for change in changes}
    assert set(told) == {
        "Pod checkout-b-x: BackOff (7 times): Back-off restarting failed container",
        "node n1: Ready became False: KubeletNotReady",
        "ConfigMap shop/settings written by kubectl-edit",
    }
    assert {str(change.entity) for change in changes} == {
        "pod checkout-b-x",
        "node n1",
        "service checkout",
    }


async def test_values_of_secrets_are_not_asked_for_and_not_kept(cluster: Cluster) -> None:
    cluster.is_empty_but_for("secrets")
    cluster.holds(
        "secrets",
        {"metadata": _meta("db", creationTimestamp=INSIDE), "data": {"password": "aHVudGVyMg=="}},
        {
            "metadata": _meta(
                "sh.helm.release.v1.checkout.v7",
                creationTimestamp=INSIDE,
                labels={"status": "deployed"},
            )
        },
    )
    batch = await cluster.reader().read_changes(WINDOW)
    assert "aHVudGVyMg" not in batch.model_dump_json()
    summaries = sorted(change.summary for change in batch.changes)
    assert summaries[0] == "Helm release checkout revision 7: deployed"
    for plural in ("secrets", "configmaps"):
        (request,) = cluster.requests(plural)
        assert "as=PartialObjectMetadataList" in _header(request, "accept")
    quiet = cluster.reader(reads_secret_metadata=False)
    await quiet.read_changes(WINDOW)
    assert len(cluster.requests("secrets")) == 1


async def test_a_list_is_read_page_by_page(cluster: Cluster) -> None:
    cluster.is_empty_but_for("nodes")
    node = {"metadata": {"name": "n1", "creationTimestamp": INSIDE}}
    pages = {
        None: {"metadata": {"continue": "c/1+="}, "items": [node]},
        "c/1+=": {
            "metadata": {},
            "items": [{"metadata": {"name": "n2"} | {"creationTimestamp": INSIDE}}],
        },
    }
    cluster.server[f"get {LISTS['nodes']}"] << (lambda r: pages[r.params.get("continue")])
    changes = (await cluster.reader(page_size=1).read_changes(WINDOW)).changes
    assert [change.entity.name for change in changes if change.entity] == ["n1", "n2"]
    first, second = cluster.requests("nodes")
    assert (first.params["limit"], second.params["continue"]) == ("1", "c/1+=")


async def test_a_list_that_expired_is_begun_anew_but_not_for_ever(cluster: Cluster) -> None:
    cluster.is_empty_but_for("nodes")
    node = {"metadata": {"name": "n1", "creationTimestamp": INSIDE}}
    turns = iter([True, False])

    def begun(_: Any) -> Any:
        more = next(turns, True)
        return {"metadata": {"continue": "old"} if more else {}, "items": [node]}

    path = f"get {LISTS['nodes']}"
    cluster.server[path, kmock.params({"continue": "old"})] << 410
    cluster.server[path] << begun
    batch = await cluster.reader().read_changes(WINDOW)
    assert (len(batch.changes), batch.gaps) == (1, ()), "nothing twice"
    batch = await cluster.reader().read_changes(WINDOW)
    assert batch.changes == ()
    assert batch.gaps == ("nodes: the list expired 3 times while it was read (410)",)


async def test_more_objects_than_are_read_is_a_gap(cluster: Cluster) -> None:
    cluster.is_empty_but_for("nodes")
    nodes = [{"metadata": {"name": f"n{n}", "creationTimestamp": INSIDE}} for n in range(9)]
    cluster.holds("nodes", *nodes)
    batch = await cluster.reader(objects_max=4).read_changes(WINDOW)
    assert len(batch.changes) == 4
    assert batch.gaps == ("nodes: there are more than 4; the rest is unread",)


async def test_a_missing_permission_is_named_and_the_rest_is_told(cluster: Cluster) -> None:
    cluster.is_empty_but_for("nodes", "replicasets")
    cluster.holds("nodes", {"metadata": {"name": "n1", "creationTimestamp": INSIDE}})
    cluster.fails("replicasets", 403, "replicasets.apps is forbidden")
    batch = await cluster.reader().read_changes(WINDOW)
    assert len(batch.changes) == 1
    assert batch.gaps == (
        "replicasets: kubernetes: not allowed: needs the "
        'verb "list" on replicasets (apiGroups: ["apps"])',
    )


async def test_an_expired_token_is_an_error_that_says_so(cluster: Cluster) -> None:
    for plural in LISTS:
        cluster.fails(plural, 401, "Unauthorized")
    with pytest.raises(ConnectorRejected, match="the token has expired or is wrong") as caught:
        await cluster.reader().changes(WINDOW)
    assert "sesame" not in str(caught.value)
    with pytest.raises(ConnectorRejected):
        await cluster.reader().topology()


async def test_no_server_is_an_error_that_says_so(cluster: Cluster) -> None:
    cluster.kubeconfig.write_text(yaml.safe_dump(_kubeconfig("http://127.0.0.1:1")))
    with pytest.raises(ConnectorUnavailable, match="cannot be reached"):
        await cluster.reader().changes(WINDOW)


@pytest.mark.parametrize("answer", [b"<html>", b"[]", b'{"items": 7}', b'{"items": [7, null]}'])
async def test_nonsense_is_survived(cluster: Cluster, answer: bytes) -> None:
    cluster.is_empty_but_for("nodes")
    cluster.server[f"get {LISTS['nodes']}"] << answer
    batch = await cluster.reader().read_changes(WINDOW)
    assert batch.changes == ()


async def test_one_namespace_is_asked_for_where_so_configured(cluster: Cluster) -> None:
    for path in (
        "/api/v1/namespaces/shop/services",
        "/api/v1/namespaces/shop/pods",
        "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices",
    ):
        cluster.server[f"get {path}"] << {"items": []}
    topology = await cluster.reader(namespaces=("shop",)).topology()
    assert topology.runs_on == {}
    assert cluster.requests("pods") == []


async def test_where_services_and_workloads_run(cluster: Cluster) -> None:
    owner = {"kind": "ReplicaSet", "name": "checkout-7d9f", "controller": True}
    labels = {"app": "shop-checkout", "pod-template-hash": "7d9f"}
    pod = {
        "metadata": _meta("checkout-7d9f-x", labels=labels, ownerReferences=[owner]),
        "spec": {"nodeName": "n1"},
        "status": {"phase": "Running"},
    }
    done = pod | {"spec": {"nodeName": "n9"}, "status": {"phase": "Succeeded"}}
    cluster.holds("pods", pod, done)
    cluster.holds(
        "services",
        {"metadata": _meta("front"), "spec": {"selector": {"app": "shop-checkout"}}},
        {"metadata": _meta("headless"), "spec": {}},
    )
    service_name = {"kubernetes.io/service-name": "headless"}
    cluster.holds(
        "endpointslices",
        {"metadata": _meta("s", labels=service_name), "endpoints": [{"nodeName": "n2"}]},
    )
    topology = await cluster.reader().topology()
    assert topology.runs_on == {
        "checkout": frozenset({"n1"}),
        "shop-checkout": frozenset({"n1"}),
        "front": frozenset({"n1"}),
        "headless": frozenset({"n2"}),
    }


@pytest.mark.parametrize(
    ("text", "context"), [("", None), (": [", None), ("a: b", None), (None, "elsewhere")]
)
async def test_a_kubeconfig_that_cannot_be_used(
    cluster: Cluster, text: str | None, context: str | None
) -> None:
    if text is not None:
        cluster.kubeconfig.write_text(text)
    with pytest.raises(ConfigError, match="kubeconfig"):
        await cluster.reader(context=context).changes(WINDOW)


async def test_outside_a_cluster_there_is_no_service_account() -> None:
    with pytest.raises(ConfigError, match="service account"):
        await KubernetesReader(KubernetesSettings(in_cluster=True)).changes(WINDOW)


async def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    module = "it_incident_response.integrations._kubernetes_sdk"
    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    import it_incident_response.integrations as package

    monkeypatch.delattr(package, "_kubernetes_sdk", raising=False)
    with pytest.raises(ConfigError) as caught:
        await KubernetesReader().changes(WINDOW)
    assert "pip install 'it-incident-response[kubernetes]'" in str(caught.value)
