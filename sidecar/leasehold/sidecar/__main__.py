"""``leasehold-sidecar --config FILE``."""

from __future__ import annotations

from leasehold.shell.daemon import daemon
from leasehold.sidecar.app import serve
from leasehold.sidecar.config import load_settings

main = daemon(
    "leasehold-sidecar",
    "Stands beside a service, reads along on its outgoing calls, and holds what they create.",
    load_settings,
    serve,
)

if __name__ == "__main__":
    main()
