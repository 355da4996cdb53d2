"""The official Kubernetes client as we use it; importing this module imports it."""

from typing import Any

import urllib3.exceptions
import yaml
from kubernetes import client, config

from it_incident_response.errors import ConfigError
from it_incident_response.integrations import _kubernetes_settings as api

# The client declares no types for these.
load_incluster: Any = config.load_incluster_config
load_kubeconfig: Any = config.load_kube_config
network_errors = (urllib3.exceptions.HTTPError, OSError)


def configuration(settings: "api.KubernetesSettings") -> Any:
    """Return address and credentials; raises `ConfigError` if they cannot be had."""
    found = client.Configuration()
    try:
        if settings.in_cluster:
            load_incluster(client_configuration=found)
        else:
            load_kubeconfig(
                config_file=api.kubeconfig_paths(settings.kubeconfig),
                context=settings.context,
                client_configuration=found,
                persist_config=False,
            )
    except (config.ConfigException, OSError, yaml.YAMLError, TypeError, ValueError) as error:
        # The text of a YAML error can hold a line of the file, which has credentials.
        what = str(error) if isinstance(error, config.ConfigException) else type(error).__name__
        raise ConfigError(
            f"kubernetes: the {_where(settings)} cannot be used: {what[:300]}",
            hint="check automation.deployment.kubernetes: kubeconfig, context, in_cluster",
        ) from None
    found.retries = 0
    return found


def _where(settings: "api.KubernetesSettings") -> str:
    return "service account of this pod" if settings.in_cluster else "kubeconfig"


class _MetadataClient(client.ApiClient):
    """A client to which servers answer with metadata only."""

    def select_header_accept(self, accepts: Any) -> str:
        """Return the form to ask for, whatever the called method would accept."""
        return api.METADATA_ONLY


def metadata_client(given: Any) -> Any:
    """Return a client that is sent no values."""
    return _MetadataClient(given)
