"""``leasehold-control-plane --config FILE``."""

from __future__ import annotations

from leasehold.control_plane.app import serve
from leasehold.control_plane.config import load_config
from leasehold.shell.daemon import daemon

main = daemon(
    "leasehold-control-plane",
    "Find what nobody holds any more and delete it through its owner, safely.",
    load_config,
    serve,
)

if __name__ == "__main__":
    main()
