"""What the service is called that a pod is part of.

By itself a name of a workload is not unique in a cluster, and two services under one name would keep each other's
resources alive: so it carries the namespace, last, as in DNS. Only an annotation is taken as it is.
"""

from __future__ import annotations

from leasehold.injection.pod import Pod, owner_workload
from leasehold.protocol.names import is_name

APP_NAME = "app.kubernetes.io/name"


def service_name(pod: Pod, asked: str | None) -> str | None:
    """The annotation, else the workload, else ``app.kubernetes.io/name``, else a bare pod's own name; ``None``: none of
    these, or what results is no name."""
    if asked is not None:
        return asked
    workload = owner_workload(pod)
    name = workload.name if workload else pod.labels.get(APP_NAME) or pod.metadata.get("name")
    if not name:
        return None
    full = f"{name}.{pod.namespace.name}" if pod.namespace.name else str(name)
    return full if is_name(full) else None
