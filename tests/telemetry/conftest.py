"""The worlds of the other tests, for what is measured there."""

from tests.e2e.conftest import etcd, here, owner
from tests.unit.control_plane.conftest import stage

__all__ = ["etcd", "here", "owner", "stage"]
