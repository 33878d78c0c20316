"""The names that pods, people and other programs rely on: labels, annotations, containers, volumes, ports."""

from __future__ import annotations

GROUP = "leasehold.dev"

NAMESPACE_LABEL = f"{GROUP}/injection"
"""On a namespace: ``enabled`` asks for injection of its pods."""
POD_LABEL = f"{GROUP}/inject"
"""On a pod: ``"true"`` or ``"false"`` beats the namespace."""
REVISION_LABEL = f"{GROUP}/revision"
"""On a namespace or a pod: which control plane is to inject; without it, the one called ``default``."""
INJECTED_LABEL = f"{GROUP}/injected"
"""Written: who selects pods for metrics or policies can go by it."""
STATUS = f"{GROUP}/status"
"""Written: version, template hash and service, as JSON."""
DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
POD_SECURITY = "pod-security.kubernetes.io/enforce"
MIRROR = "kubernetes.io/config.mirror"

CAPTURE_CONTAINER = "leasehold-capture"
SIDECAR_CONTAINER = "leasehold-sidecar"
JOURNAL_VOLUME = "leasehold-journal"
TOKEN_VOLUME = "leasehold-token"  # noqa: S105 - a name
ETCD_VOLUME = "leasehold-etcd"
OUR_VOLUMES = (JOURNAL_VOLUME, TOKEN_VOLUME, ETCD_VOLUME)

JOURNAL_FOLDER = "/var/lib/leasehold/journal"
TOKEN_FOLDER = "/var/run/leasehold/token"  # noqa: S105 - a folder
ETCD_FOLDER = "/var/run/leasehold/etcd"

TRANSPARENT_PORT = 15401
PROXY_PORT = 15402
ADMIN_PORT = 15420
HEALTH_PORT = 15421
OUR_PORTS = (TRANSPARENT_PORT, PROXY_PORT, ADMIN_PORT, HEALTH_PORT)
"""None that Istio, Consul, Linkerd or Dapr listen on in the same pod."""
HEALTH_PORT_NAME = "leasehold-http"

CONFIG_VARIABLE = "LEASEHOLD_CONFIG"
OWNERS_VARIABLE = "LEASEHOLD_OWNERS"
