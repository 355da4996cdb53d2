"""How outside systems are reached: address, credentials and TLS, as Prometheus configures them."""

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from it_incident_response.config.units import Duration

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")  # RFC 9110 token
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252})")


class Section(BaseModel):
    """Base of all sections: frozen, unknown keys refused, values never in an error's text.

    A field whose name ends in a unit (`timeout_s`) is written without it (`timeout: 30s`).
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        validate_by_name=True,
        validate_by_alias=True,
        str_max_length=100_000,
    )


def parse_http_url(value: object) -> str:
    """Return the URL without its trailing slash; raises `ValueError` with what to write."""
    text = value.strip() if isinstance(value, str) else ""
    example = "write for example http://prometheus.example.com:9090"
    if "@" in text:
        raise ValueError("a URL must not hold a user or password; use basic_auth or authorization")
    if "://" not in text:
        shown = f"http://{text}" if _HOST.match(text) else "http://HOST:PORT"
        raise ValueError(f"{text[:80]!r} is not a URL, the scheme is missing; write {shown[:87]}")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{text[:80]!r} is not a URL ({error}); {example}") from error
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"{text[:80]!r} is neither http nor https; {example}")
    if not _is_host(parts.hostname) or port == 0:
        raise ValueError(f"{text[:80]!r} names no valid host and port; {example}")
    if parts.query or parts.fragment or re.search(r"\s", text):
        raise ValueError(f"{text[:80]!r} has a query, fragment or space; {example}")
    return text.rstrip("/")


def _is_host(host: str | None) -> bool:
    if not host:
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return _HOST.fullmatch(host) is not None
    return True


def _check_headers(headers: Mapping[str, SecretStr]) -> Mapping[str, SecretStr]:
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError(f"{name[:60]!r} is not a header name")
        if name.lower() == "authorization":
            raise ValueError("write credentials under `authorization` or `basic_auth`, not here")
        if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value.get_secret_value()):
            raise ValueError(f"the value of header {name!r} has control characters")
    return headers


HttpUrl = Annotated[str, BeforeValidator(parse_http_url)]
Headers = Annotated[Mapping[str, SecretStr], AfterValidator(_check_headers)]


class Authorization(Section):
    """`authorization:` of Prometheus: a bearer token or another scheme."""

    type: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,40}$")] = "Bearer"
    credentials: SecretStr | None = None


class BasicAuth(Section):
    """`basic_auth:` of Prometheus."""

    username: str | None = None
    password: SecretStr | None = None

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if self.username is not None and ":" in self.username:
            raise ValueError("a basic-auth username cannot contain a colon")
        if (self.username is None) != (self.password is None):
            missing = "password (or password_file)" if self.password is None else "username"
            raise ValueError(f"{missing} is missing")
        return self


class TlsConfig(Section):
    """`tls_config:` of Prometheus."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    insecure_skip_verify: bool = False

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if self.ca_file is not None and self.insecure_skip_verify:
            raise ValueError("ca_file has no use where insecure_skip_verify is true; keep one")
        if (self.cert_file is None) != (self.key_file is None):
            missing = "key_file" if self.key_file is None else "cert_file"
            raise ValueError(f"{missing} is missing: a client certificate needs both files")
        return self


class HttpSystem(Section):
    """A system that speaks HTTP."""

    url: HttpUrl | None = None
    timeout_s: Duration = Field(default=10.0, alias="timeout", gt=0, le=300)
    authorization: Authorization = Authorization()
    basic_auth: BasicAuth = BasicAuth()
    tls_config: TlsConfig = TlsConfig()
    headers: Headers = {}
    """Further request headers, such as `X-Scope-OrgID`; values are treated as secrets."""

    def connector_fields(self) -> dict[str, object]:
        """Return address, credentials and TLS under the names that connectors' settings have."""
        scheme, token = self.authorization.type, self.authorization.credentials
        headers = dict(self.headers)
        if token is not None and scheme.lower() != "bearer":
            headers["Authorization"] = SecretStr(f"{scheme} {token.get_secret_value()}")
            token = None
        return {
            "url": self.url,
            "timeout_s": self.timeout_s,
            "bearer_token": token,
            "username": self.basic_auth.username,
            "password": self.basic_auth.password,
            "ca_file": self.tls_config.ca_file,
            "cert_file": self.tls_config.cert_file,
            "key_file": self.tls_config.key_file,
            "insecure_skip_verify": self.tls_config.insecure_skip_verify,
            "headers": headers,
        }

    @model_validator(mode="after")
    def _one_kind_of_credentials(self) -> Self:
        if self.authorization.credentials is not None and self.basic_auth.username is not None:
            raise ValueError("authorization and basic_auth exclude each other; keep one")
        return self


def _listed(value: object) -> object:
    """Return one name as a list of one."""
    return (value,) if isinstance(value, str) else value


def _with_key(fields: dict[str, object], key: SecretStr | None, scheme: str) -> dict[str, object]:
    if key is None:
        return fields
    if scheme == "Bearer":
        return fields | {"bearer_token": key}
    header = SecretStr(f"{scheme} {key.get_secret_value()}")
    headers = fields["headers"]
    assert isinstance(headers, dict)  # noqa: S101 - made by connector_fields
    return fields | {"headers": {**headers, "Authorization": header}}


class Prometheus(HttpSystem):
    """Prometheus, and with the guide's key the address of its Alertmanager."""

    alert_manager_url: HttpUrl | None = None
    tenant: str | None = Field(default=None, max_length=150)
    """Whose data Mimir or Cortex reads: the header `X-Scope-OrgID`."""
    query_params: Mapping[str, str | bool] = {}
    """Sent with every query, such as `dedup: true` of Thanos."""
    external_labels: Mapping[str, str] | None = None
    """What it adds to alerts, where it does not tell (Thanos, Mimir, VictoriaMetrics)."""
    scrape_interval_s: Duration | None = Field(default=None, alias="scrape_interval", gt=0)
    """How often it scrapes, where it does not tell."""
    catalogue_files: tuple[Path, ...] = ()
    """Own query catalogues, tried before ours."""

    def connector_fields(self) -> dict[str, object]:
        """As for every HTTP system, and what is sent with its queries."""
        own = ("tenant", "query_params", "external_labels", "scrape_interval_s", "catalogue_files")
        return super().connector_fields() | {name: getattr(self, name) for name in own}


class Alertmanager(HttpSystem):
    """Alertmanager where it needs its own credentials or TLS; the address stands in either."""


_LogRole = Literal[
    "timestamp", "message", "level", "service", "host", "pod", "trace", "stack", "attributes"
]


class Elasticsearch(HttpSystem):
    """Elasticsearch or OpenSearch."""

    index_pattern: str = "logs-*"
    api_key: SecretStr | None = None
    distribution: Literal["auto", "elasticsearch", "opensearch"] = "auto"
    """Which of the two it is; `auto` asks it."""
    preset: Literal["auto", "ecs", "opentelemetry", "fluent-bit"] = "auto"
    """Which fields the documents have; `auto` tries those of all three."""
    fields: Mapping[_LogRole, str | tuple[str, ...]] = {}
    """Own field names by what they hold, tried before the preset's: `level: [sev, loglevel]`."""
    numeric_levels: Literal["auto", "syslog", "opentelemetry", "pino", "python"] = "auto"
    """What a level that is a number means."""
    page_size: Annotated[int, Field(ge=1, le=10_000)] = 6000
    """Documents a request."""
    time_budget_s: Duration = Field(default=20.0, alias="time_budget", gt=0, le=600)
    """After so long a search of several pages ends with what it has."""
    kibana_url: HttpUrl | None = None
    kibana_data_view: str | None = None
    """For links: Kibana or OpenSearch Dashboards, and the id of a data view there."""

    def connector_fields(self) -> dict[str, object]:
        """As for every HTTP system; an API key is sent as `Authorization: ApiKey`."""
        own = type(self).model_fields.keys() - HttpSystem.model_fields.keys() - {"api_key"}
        given = super().connector_fields() | {name: getattr(self, name) for name in own}
        return _with_key(given, self.api_key, "ApiKey")


class Splunk(HttpSystem):
    """Splunk's management port."""

    api_key: SecretStr | None = None
    index: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    """Indexes to search, `*` allowed; none: those that the user's roles search by default."""
    sourcetype: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    preset: Literal["plain", "opentelemetry", "kubernetes"] = "plain"
    fields: Mapping[str, str] = {}
    """Own field names for service, host, pod, trace, level and message."""
    search_timeout_s: Duration = Field(default=20.0, alias="search_timeout", gt=0, le=600)
    """For a whole search; then it is cancelled at the server."""
    web_url: HttpUrl | None = None
    """Address of Splunk Web, for links."""

    @property
    def has_credentials(self) -> bool:
        """Splunk answers nobody without; one half configured is not used by `ports.logs: real`."""
        given = (self.api_key, self.authorization.credentials, self.basic_auth.password)
        return any(secret is not None for secret in given)

    def connector_fields(self) -> dict[str, object]:
        """As for every HTTP system; the key is a Splunk authentication token, a bearer token."""
        return _with_key(super().connector_fields(), self.api_key, "Bearer") | {
            "indexes": self.index,
            "sourcetypes": self.sourcetype,
            "preset": self.preset,
            "fields": self.fields,
            "search_timeout_s": self.search_timeout_s,
            "web_url": self.web_url,
        }


class Grafana(HttpSystem):
    """Grafana."""

    api_key: SecretStr | None = None
    org_id: int | None = Field(default=None, ge=1)
    """Of a token that is valid in several organisations."""
    dashboards: Mapping[str, tuple[str, ...]] = {}
    """Uids of the dashboards of each service; `"*"`: of every incident. Else searched by name."""
    signals: Mapping[str, str] = {}
    """What panels show, by their titles: a signal such as `error_ratio`."""
    search: bool = True
    """Look for dashboards that have a service's name where none is configured."""
    annotations: bool = False
    """Mark incidents' start, actions and end on the dashboards."""

    @field_validator("dashboards", mode="before")
    @classmethod
    def _one_or_several(cls, dashboards: object) -> object:
        if not isinstance(dashboards, Mapping):
            return dashboards
        return {k: (v,) if isinstance(v, str) else v for k, v in dashboards.items()}

    def connector_fields(self) -> dict[str, object]:
        """As for every HTTP system; the key is a service-account token, a bearer token."""
        own = ("org_id", "dashboards", "signals", "search")
        fields = super().connector_fields() | {name: getattr(self, name) for name in own}
        return _with_key(fields, self.api_key, "Bearer")


class Jira(HttpSystem):
    """Jira Cloud or Data Center."""

    enabled: bool = False
    username: str | None = None
    token: SecretStr | None = None
    project_key: str | None = None
    issue_type: str = "Incident"

    def connector_fields(self) -> dict[str, object]:
        """Cloud: user and API token as basic auth; Data Center: a token alone is a bearer token."""
        fields = super().connector_fields()
        if self.token is not None and self.username is not None:
            return fields | {"username": self.username, "password": self.token}
        return _with_key(fields, self.token, "Bearer")


class Ssh(Section):
    """How hosts are logged in to; the inventory may name another user for a host."""

    username: str | None = None
    private_key: Path | None = None
    """None: keys of the running ssh-agent."""
    passphrase: SecretStr | None = None
    """Of the private key."""
    known_hosts: Path = Path("~/.ssh/known_hosts")
    """Host keys we accept; a host that is not in it is refused."""
    timeout_s: Duration = Field(default=30.0, alias="timeout", gt=0, le=3600)
    """To connect and log in."""
    command_timeout_s: Duration | None = Field(default=None, alias="command_timeout", gt=0)
    """Upper bound of any command; None: what each action allows itself."""
    sudo: bool = True
    """Run changing commands by `sudo -n`; false if the user may make the changes itself."""

    def executor_fields(self) -> dict[str, object]:
        """Return these settings under the names that the SSH executor's settings have."""
        return {
            "username": self.username,
            "private_key": self.private_key,
            "passphrase": self.passphrase,
            "known_hosts": self.known_hosts,
            "connect_timeout_s": self.timeout_s,
            "command_timeout_s": self.command_timeout_s,
            "sudo": self.sudo,
        }


class Ansible(Section):
    """Ansible; not executed by this version."""

    inventory_file: Path | None = None
    playbook_dir: Path | None = None


class Kubernetes(Section):
    """Kubernetes; read where `infrastructure.changes` or `.topology` says so, never changed."""

    kubeconfig: str | None = None
    """One path, or several joined by the platform's path separator as `kubectl` takes them."""
    context: str | None = None
    """None: the current one of the kubeconfig."""
    in_cluster: bool = False
    """Use the service account of the pod that we run in, and no kubeconfig."""
    namespaces: tuple[str, ...] = ()
    """Empty: all."""
    reads_secret_metadata: bool = True
    """Learn from the metadata of Secrets when one was written; their values are never read."""

    def reader_fields(self) -> dict[str, object]:
        """Return these settings under the names that the Kubernetes reader's settings have."""
        return self.model_dump()

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if self.in_cluster and (self.kubeconfig or self.context):
            raise ValueError("in_cluster excludes kubeconfig and context; keep one way")
        return self


class Terraform(Section):
    """Terraform; not executed by this version."""

    state_dir: Path | None = None
    auto_approve: bool = False
