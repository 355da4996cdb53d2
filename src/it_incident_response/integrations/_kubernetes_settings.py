"""Which cluster is read, as whom, and how much of it."""

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, model_validator

METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
"""Asks the server to leave everything but metadata away: values never travel."""


class KubernetesSettings(BaseModel):
    """Which cluster, as whom, and how much of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    kubeconfig: str | None = None
    """One path, or several as `kubectl` takes them; None: `$KUBECONFIG` or `~/.kube/config`."""
    context: str | None = None
    """None: the current one."""
    in_cluster: bool = False
    """Use the service account of the pod that we run in."""
    namespaces: tuple[str, ...] = ()
    """Empty: all, which needs a ClusterRole."""
    timeout_s: float = Field(default=10.0, gt=0, le=600)
    """Of one page."""
    budget_s: float = Field(default=8.0, gt=0, le=600)
    """For all pages of one kind: what has come by then counts."""
    page_size: int = Field(default=500, ge=1, le=5000)
    objects_max: int = Field(default=20_000, ge=1)
    """Of one kind; beyond it the rest is not read, and said to be missing."""
    reads_secret_metadata: bool = True
    """Also ask for the metadata of Secrets; needs the verb `list` on them."""

    @model_validator(mode="after")
    def _one_way_in(self) -> "KubernetesSettings":
        if self.in_cluster and (self.kubeconfig or self.context):
            raise ValueError("in_cluster excludes kubeconfig and context")
        return self


def kubeconfig_paths(kubeconfig: str | None) -> str | None:
    """Return the paths with `~` resolved, joined as they came."""
    if kubeconfig is None:
        return None
    return os.pathsep.join(str(Path(p).expanduser()) for p in kubeconfig.split(os.pathsep) if p)
