"""Fixtures that every test may use."""

from tests.etcd_process import real_etcd

__all__ = ["real_etcd"]
