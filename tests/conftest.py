"""Fixtures that every test may use, and how Hypothesis is run: machines are noisy, so no example has a deadline."""

import hypothesis

from tests.etcd_process import real_etcd

hypothesis.settings.register_profile("noisy", deadline=None)
hypothesis.settings.load_profile("noisy")

__all__ = ["real_etcd"]
