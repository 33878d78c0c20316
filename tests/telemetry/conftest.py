"""The world of the end-to-end tests, for what is measured there."""

from tests.e2e.conftest import etcd, here, owner

__all__ = ["etcd", "here", "owner"]
