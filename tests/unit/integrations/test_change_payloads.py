"""Bodies of GitHub, GitLab, Argo CD, LaunchDarkly, Unleash and our own form, honest and hostile."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from it_incident_response.domain.evidence import Change
from it_incident_response.errors import InputRejected
from it_incident_response.integrations.change_payloads import (
    SENDERS,
    ServiceNames,
    read_posted,
)

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
REPOSITORY = {"full_name": "acme/checkout", "default_branch": "main", "pushed_at": 1769860000}


def _read(sender: str, content: Any, **headers: str) -> list[Change]:
    body = content if isinstance(content, bytes) else orjson.dumps(content)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return list(read_posted(sender, body, given, NOW, ServiceNames()))


def _github(event: str, **content: Any) -> list[Change]:
    return _read("github", {"repository": REPOSITORY, **content}, x_github_event=event)


def test_states_of_one_deployment_are_one_change() -> None:
    deployment = {
        "id": 7,
        "ref": "v2",
        "sha": "c" * 40,
        "environment": "production",
        "created_at": "2026-01-31T11:00:00Z",
        "creator": {"login": "al"},
    }
    (begun,) = _github("deployment", deployment=deployment)
    status = {"state": "success", "created_at": "2026-01-31T11:05:00Z", "log_url": "https://ci/1"}
    (done,) = _github("deployment_status", deployment=deployment, deployment_status=status)
    assert begun.change_id == done.change_id
    assert (done.what, done.version, done.link) == ("deploy", "c" * 40, "https://ci/1")
    assert done.at - begun.at == timedelta(minutes=5)
    assert done.summary == "acme/checkout v2 to production: success"
    gone = status | {"state": "inactive"}
    assert _github("deployment_status", deployment=deployment, deployment_status=gone) == []


@pytest.mark.parametrize("ref", ["refs/heads/feature", "refs/tags/v1", "refs/heads/main/x", ""])
def test_pushes_elsewhere_change_nothing_that_runs(ref: str) -> None:
    assert _github("push", ref=ref, commits=[{"id": "a" * 40}]) == []


def test_releases_and_workflow_runs() -> None:
    release = {"id": 1, "tag_name": "v3", "published_at": "2026-01-31T10:00:00Z"}
    (change,) = _github("release", action="published", release=release)
    assert (change.what, change.version) == ("release", "v3")
    assert _github("release", action="deleted", release=release) == []
    run = {"id": 5, "name": "Deploy", "head_branch": "main", "conclusion": "success"}
    (change,) = _github("workflow_run", action="completed", workflow_run=run)
    assert change.summary == "acme/checkout: Deploy on main: success"
    assert _github("workflow_run", action="requested", workflow_run=run) == []


def test_an_argo_cd_application() -> None:
    app = {
        "metadata": {"name": "checkout", "namespace": "argocd"},
        "spec": {"source": {"repoURL": "https://git.example/acme/deploy"}},
        "status": {
            "operationState": {
                "phase": "Succeeded",
                "startedAt": "2026-01-31T11:00:00Z",
                "syncResult": {"revision": "d" * 40},
                "operation": {"initiatedBy": {"automated": True}},
            },
            "summary": {"images": ["registry/checkout:42"]},
        },
    }
    (change,) = _read("argocd", {"app": app})
    assert _read("argocd", app) == [change]
    assert (change.entity.name, change.version) == ("checkout", "d" * 40)  # type: ignore[union-attr]
    assert change.author == "argocd automation"
    assert "registry/checkout:42" in change.summary


def test_switched_flags() -> None:
    launchdarkly = {
        "_id": "abc",
        "date": 1769860000000,
        "kind": "flag",
        "name": "New pool",
        "titleVerb": "turned on the flag",
        "member": {"email": "al@example.com"},
        "target": {"resources": ["proj/shop:env/production:flag/new-pool"]},
    }
    (change,) = _read("flags", launchdarkly)
    assert (change.what, change.summary) == ("flag", "turned on the flag New pool in production")
    assert change.version == "new-pool"
    assert change.at.timestamp() == 1769860000
    unleash = {
        "id": 9,
        "type": "feature-environment-enabled",
        "createdAt": "2026-01-31T11:00:00Z",
        "createdBy": "al",
        "featureName": "new-pool",
        "project": "shop",
        "environment": "production",
    }
    (change,) = _read("flags", unleash)
    assert change.summary == "new-pool: feature environment enabled in production"


def test_the_generic_form_in_its_three_shapes() -> None:
    one = {"what": "config", "service": "shop", "version": "2", "at": "2026-01-31T11:00:00+01:00"}
    (alone,) = _read("generic", one)
    assert alone.at == datetime(2026, 1, 31, 10, tzinfo=UTC)
    assert _read("generic", [one, one]) == [alone, alone]
    assert _read("generic", orjson.dumps(one) + b"\n\n" + orjson.dumps(one) + b"\n") == [alone] * 2
    assert _read("generic", orjson.dumps(one, option=orjson.OPT_INDENT_2)) == [alone]


def test_an_error_names_the_item_and_the_field() -> None:
    with pytest.raises(InputRejected, match="change 2: unknown field 'sevrice'"):
        _read("generic", [{"version": "1"}, {"version": "1", "sevrice": "x"}])


def test_everything_is_bounded() -> None:
    huge = "x" * 1_000_000
    (change,) = _read(
        "generic",
        {
            "summary": huge,
            "service": huge,
            "author": huge,
            "version": huge,
            "diff": huge,
            "link": "https://" + huge,
            "files": ["x" * 10_000] * 1000,
        },
    )
    assert len(change.model_dump_json()) < 100_000
    assert len(change.diff or "") == 20_000
    assert change.link is None
    many = ["f"] * 500
    commits = [{"id": f"{n:040x}", "message": "m" * 1000, "modified": many} for n in range(200)]
    told = _github("push", ref="refs/heads/main", commits=commits)
    assert len(told) == 50
    assert told[-1].version == f"{199:040x}", "the newest are kept"
    assert len(told[0].files) == 200


def test_links_that_lead_astray_are_dropped() -> None:
    for link in ("javascript:alert(1)", "file:///etc/passwd", "https://a/\u202e", "https://a/\n"):
        (change,) = _read("generic", {"version": "1", "link": link + "x"})
        assert change.link is None


def test_a_time_in_the_future_is_not_believed_of_a_webhook() -> None:
    status = {"state": "success", "created_at": "2999-01-01T00:00:00Z"}
    (change,) = _github("deployment_status", deployment={"id": 1}, deployment_status=status)
    assert change.at == NOW


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "repository",
                    "full_name",
                    "commits",
                    "id",
                    "after",
                    "ref",
                    "deployment",
                    "deployment_status",
                    "state",
                    "created_at",
                    "status",
                    "app",
                    "metadata",
                    "name",
                    "operationState",
                    "startedAt",
                    "object_kind",
                    "project",
                    "titleVerb",
                    "_id",
                    "kind",
                    "target",
                    "resources",
                    "type",
                    "createdAt",
                    "featureName",
                    "version",
                    "at",
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=25,
)


@given(st.sampled_from(SENDERS), _JSON, st.sampled_from(["push", "deployment_status", "release"]))
def test_any_json_ends_in_changes_or_a_refusal(sender: str, content: Any, event: str) -> None:
    try:
        for change in _read(sender, content, x_github_event=event):
            assert change.at <= NOW + timedelta(hours=1)
    except InputRejected:
        pass
