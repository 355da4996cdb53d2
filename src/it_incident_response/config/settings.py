"""Settings: the keys of the configuration file, composed; the guide's keys have its names."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from it_incident_response.config import connections as c
from it_incident_response.config.changes import ChangesSection, TopologySection
from it_incident_response.config.connections import Section
from it_incident_response.config.detection import DetectionSection
from it_incident_response.config.redaction import RedactionSettings
from it_incident_response.config.temporal import Temporal
from it_incident_response.config.tracing import Tracing
from it_incident_response.config.units import Duration, Size
from it_incident_response.config.worker import WorkerSection
from it_incident_response.domain.inventory import Inventory
from it_incident_response.workflow.engine.settings import EngineSettings


class Monitoring(Section):
    """`infrastructure.monitoring`."""

    prometheus: c.Prometheus = c.Prometheus()
    alertmanager: c.Alertmanager = c.Alertmanager()

    @model_validator(mode="after")
    def _one_alertmanager(self) -> Self:
        old, new = self.prometheus.alert_manager_url, self.alertmanager.url
        if old and new and old != new:
            raise ValueError(
                "prometheus.alert_manager_url and alertmanager.url differ; keep one of them"
            )
        return self


class Logging(Section):
    """`infrastructure.logging`."""

    elasticsearch: c.Elasticsearch = c.Elasticsearch()
    splunk: c.Splunk = c.Splunk()


class Visualization(Section):
    """`infrastructure.visualization`."""

    grafana: c.Grafana = c.Grafana()


class Infrastructure(Section):
    """Systems that are read."""

    monitoring: Monitoring = Monitoring()
    logging: Logging = Logging()
    visualization: Visualization = Visualization()
    tracing: Tracing = Tracing()
    changes: ChangesSection = ChangesSection()
    topology: TopologySection = TopologySection()


class Deployment(Section):
    """`automation.deployment`."""

    ansible: c.Ansible = c.Ansible()
    kubernetes: c.Kubernetes = c.Kubernetes()


class Remediation(Section):
    """`automation.remediation`."""

    ssh: c.Ssh = c.Ssh()
    terraform: c.Terraform = c.Terraform()


class Automation(Section):
    """Systems that change something."""

    deployment: Deployment = Deployment()
    remediation: Remediation = Remediation()


class DiagnosticAgent(Section):
    """`agents.diagnostic`."""

    use_ml_model: bool = False
    ml_model_path: Path | None = None
    use_rules_engine: bool = True


class ResolutionAgent(Section):
    """`agents.resolution`: the three switches between a plan and a real change."""

    execute_real_commands: bool = False
    require_approval: bool = True
    dry_run: bool = True
    """If the file leaves it out: false where everything is simulated, else true."""


class Agents(Section):
    """What the agents may use and do."""

    diagnostic: DiagnosticAgent = DiagnosticAgent()
    resolution: ResolutionAgent = ResolutionAgent()


class Ticketing(Section):
    """Ticket systems."""

    jira: c.Jira = c.Jira()


class Ports(Section):
    """Simulated or real, for each port on its own; never a silent fall-back from one to other."""

    alerts: Literal["simulated", "prometheus", "alertmanager"] = "simulated"
    metrics: Literal["simulated", "prometheus", "none"] = "simulated"
    logs: Literal["simulated", "elasticsearch", "splunk", "real", "none"] = "simulated"
    """Elasticsearch is OpenSearch too; real: every log system that can be used, all at once."""
    changes: Literal["simulated", "real", "none"] = "simulated"
    """Real: what was posted or written to files, git, Kubernetes, and our own actions."""
    traces: Literal["real", "none"] = "none"
    """Real: every tracing system that has an address."""
    silences: Literal["simulated", "alertmanager", "none"] = "simulated"
    execution: Literal["simulated", "ssh"] = "simulated"

    @property
    def is_all_simulated(self) -> bool:
        """True if no port touches a real system."""
        return all(
            choice in ("simulated", "none")
            for choice in (
                self.alerts,
                self.metrics,
                self.logs,
                self.changes,
                self.traces,
                self.silences,
                self.execution,
            )
        )


class RetentionSettings(Section):
    """How long and how much is kept."""

    days: float = Field(default=90.0, gt=0)
    max_size_bytes: Size = Field(default=5_000_000_000, alias="max_size", ge=1_000_000)
    every_s: Duration = Field(default=3600.0, alias="every", ge=10)


class StoreSettings(Section):
    """The database."""

    url: SecretStr | None = None
    """`sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST/NAME`; default a file in `data_dir`."""
    retention: RetentionSettings = RetentionSettings()

    @model_validator(mode="after")
    def _known_database(self) -> Self:
        text = self.url.get_secret_value() if self.url else "sqlite:///"
        scheme, separator, _ = text.partition("://")
        if not separator or scheme.partition("+")[0] not in ("sqlite", "postgresql", "postgres"):
            raise ValueError(
                "url is not a database URL; write sqlite:////var/lib/iir/iir.db "
                "or postgresql://USER:PASSWORD@HOST:5432/NAME"
            )
        return self


class ServerTls(Section):
    """The receiver's own certificate."""

    cert_file: Path | None = None
    key_file: Path | None = None

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            missing = "key_file" if self.key_file is None else "cert_file"
            raise ValueError(f"{missing} is missing: TLS needs both files")
        return self


class ServerSettings(Section):
    """The webhook receiver."""

    host: str = "127.0.0.1"
    port: int = Field(default=9095, ge=0, le=65535)
    """0: any free one, printed at start."""
    authorization: c.Authorization = c.Authorization()
    basic_auth: c.BasicAuth = c.BasicAuth()
    tls: ServerTls = ServerTls()
    max_body_bytes: Size = Field(default=20_000_000, alias="max_body", ge=1000, le=1_000_000_000)
    """Of one request: about 15,000 alerts. While it is checked it takes 20 times its size."""
    max_waiting_bytes: Size = Field(default=200_000_000, alias="max_waiting", ge=1000)
    """Bodies held in memory until they are stored; beyond it the answer is 503."""
    request_timeout_s: Duration = Field(default=30.0, alias="request_timeout", gt=0, le=600)
    """For a client to deliver its whole request."""

    @property
    def has_auth(self) -> bool:
        """True if a request needs credentials."""
        return self.authorization.credentials is not None or self.basic_auth.password is not None

    @model_validator(mode="after")
    def _bearer_only(self) -> Self:
        if self.authorization.type.lower() != "bearer":
            raise ValueError("the receiver understands `Bearer` and basic_auth only")
        return self


class CorrelationSettings(Section):
    """When alerts are one incident; what each means is in the page on correlation."""

    window_s: Duration = Field(default=600.0, alias="window", gt=0)
    """Alerts starting within this time of an incident's alerts count in full."""
    neighbour_window_s: Duration = Field(default=300.0, alias="neighbour_window", gt=0)
    """Alerts of neighbours in the topology join only within this time."""
    join_score: float = Field(default=0.5, gt=0, le=1)
    """An alert joins the best incident whose score is at least this."""
    reopen_window_s: Duration = Field(default=3600.0, alias="reopen_window", ge=0)
    """An alert that fires again this soon after its incident ended reopens it."""
    flapping_changes: int = Field(default=5, ge=3, le=20)
    """So many changes between firing and resolved within `flapping_window` are flapping."""
    flapping_window_s: Duration = Field(default=3600.0, alias="flapping_window", gt=0)


class DiagnosisSettings(Section):
    """What is read for a diagnosis."""

    window_s: Duration = Field(default=900.0, alias="window", gt=0)
    """Before the first alert."""
    baseline_s: Duration = Field(default=3600.0, alias="baseline", gt=0)
    """Before that window: what normal looks like."""
    refresh_s: Duration = Field(default=30.0, alias="refresh", gt=0)
    """Least time between two diagnoses while alerts keep joining."""
    rules_dirs: tuple[Path, ...] = ()
    """Folders of further YAML rules, beside the shipped ones."""


class Escalation(Section):
    """Whom else to tell while a plan waits."""

    after_s: Duration = Field(alias="after", gt=0)
    """Since the plan was asked about."""
    to: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


class ApprovalSettings(Section):
    """Waiting for a human."""

    timeout_s: Duration = Field(default=3600.0, alias="timeout", gt=0)
    """After it the plan counts as denied."""
    reminders: Annotated[tuple[Duration, ...], Field(max_length=20)] = (900.0, 2700.0)
    """Seconds after the question at which people are told again; ascending, before `timeout`."""
    escalate: Annotated[tuple[Escalation, ...], Field(max_length=20)] = ()
    """Whom to tell besides, and when; ascending, before `timeout`."""

    @property
    def reminders_in_time(self) -> tuple[float, ...]:
        """The reminders before `timeout`: the default ones may lie behind a short one."""
        return tuple(after_s for after_s in self.reminders if after_s < self.timeout_s)

    @model_validator(mode="after")
    def _told_in_time(self) -> Self:
        escalations = tuple(step.after_s for step in self.escalate)
        given = self.reminders if "reminders" in self.model_fields_set else ()
        for name, times in (("reminders", given), ("escalate", escalations)):
            if list(times) != sorted(set(times)):
                raise ValueError(f"{name} must be in ascending order, each time once")
            if times and not 0 < times[0] <= times[-1] < self.timeout_s:
                raise ValueError(
                    f"{name} must lie between 0 and timeout: afterwards the plan is denied"
                )
        return self


class VerificationSettings(Section):
    """When a fix counts as one."""

    soak_s: Duration = Field(default=60.0, alias="soak", ge=0)
    """All checks must hold for so long without a break."""
    timeout_s: Duration = Field(default=600.0, alias="timeout", gt=0)
    """After it the incident escalates."""
    poll_s: Duration = Field(default=10.0, alias="poll", gt=0)

    @model_validator(mode="after")
    def _can_succeed(self) -> Self:
        if self.soak_s >= self.timeout_s:
            raise ValueError("soak must be shorter than timeout, or nothing is ever verified")
        return self


class SimulationSettings(Section):
    """The simulated world."""

    seed: int = Field(default=12, ge=0, le=2**63 - 1)
    speed: float = Field(default=1.0, gt=0, le=100_000)
    """Simulated seconds a real second."""


class PollingSettings(Section):
    """Reading alerts where no webhook delivers them, and catching up after downtime."""

    interval_s: Duration = Field(default=30.0, alias="interval", ge=0.1)


def _empty_mapping(value: object) -> object:
    return {} if value is None else value


class Settings(Section):
    """The whole configuration, checked; `Settings()` is the simulated world."""

    use_real_data: bool = False
    """Ports not chosen use the real systems that are configured."""
    ports: Ports = Ports()
    infrastructure: Infrastructure = Infrastructure()
    automation: Automation = Automation()
    agents: Agents = Agents()
    ticketing: Ticketing = Ticketing()
    data_dir: Path = Path("iir-data")
    store: StoreSettings = StoreSettings()
    server: ServerSettings = ServerSettings()
    correlation: CorrelationSettings = CorrelationSettings()
    diagnosis: DiagnosisSettings = DiagnosisSettings()
    approval: ApprovalSettings = ApprovalSettings()
    verification: VerificationSettings = VerificationSettings()
    inventory: Annotated[Inventory, BeforeValidator(_empty_mapping)] = Inventory()
    """Inline, or a path to a YAML file of the same form."""
    policy: Path | None = None
    """YAML file; None: the shipped policy."""
    redaction: RedactionSettings = RedactionSettings()
    simulation: SimulationSettings = SimulationSettings()
    polling: PollingSettings = PollingSettings()
    detection: DetectionSection = DetectionSection()
    temporal: Temporal = Temporal()
    worker: WorkerSection = WorkerSection()

    @property
    def log_systems(self) -> tuple[str, ...]:
        """Names of the log systems that are asked: those that `ports.logs` chooses."""
        logging, choice = self.infrastructure.logging, self.ports.logs
        if choice != "real":
            return (choice,) if choice in ("elasticsearch", "splunk") else ()
        usable = {
            "elasticsearch": logging.elasticsearch.url is not None,
            "splunk": logging.splunk.url is not None and logging.splunk.has_credentials,
        }
        return tuple(name for name, is_usable in usable.items() if is_usable)

    @property
    def engine(self) -> EngineSettings:
        """How the durable engine is reached."""
        return self.temporal.engine(self.data_dir)

    @property
    def prometheus(self) -> c.Prometheus:
        """Short for `infrastructure.monitoring.prometheus`."""
        return self.infrastructure.monitoring.prometheus

    @property
    def alertmanager(self) -> c.Alertmanager:
        """Alertmanager with its address, whichever of the two keys it was written under."""
        section = self.infrastructure.monitoring.alertmanager
        if section.url is None and self.prometheus.alert_manager_url is not None:
            return section.model_copy(update={"url": self.prometheus.alert_manager_url})
        return section

    @property
    def ssh(self) -> c.Ssh:
        """Short for `automation.remediation.ssh`."""
        return self.automation.remediation.ssh

    @property
    def resolution(self) -> ResolutionAgent:
        """Short for `agents.resolution`."""
        return self.agents.resolution

    @property
    def database_url(self) -> SecretStr:
        """`store.url`, or the SQLite file in `data_dir`."""
        return self.store.url or SecretStr(f"sqlite:///{self.data_dir / 'iir.db'}")

    @property
    def may_change_real_systems(self) -> bool:
        """True only if all three switches say so: real execution, real commands, no dry run."""
        switches = self.resolution
        is_real = self.ports.execution != "simulated"
        return is_real and switches.execute_real_commands and not switches.dry_run
