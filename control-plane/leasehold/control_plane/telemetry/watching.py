"""What has to be looked at now and then to be measured, running: ages, etcd, and our own event loop."""

from __future__ import annotations

import asyncio

from leasehold.control_plane.metrics import Metrics
from leasehold.control_plane.telemetry.census import Census
from leasehold.control_plane.telemetry.etcd_health import EtcdHealth
from leasehold.control_plane.telemetry.pulse import feel_pulse
from leasehold.protocol.ports import Clock


class Watching:
    """Owns these tasks."""

    def __init__(self, census: Census, etcd: EtcdHealth, clock: Clock, metrics: Metrics) -> None:
        self.census, self.etcd = census, etcd
        self._clock, self._metrics = clock, metrics
        census.show(metrics)
        etcd.show(metrics)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.census.run())
            tasks.create_task(self.etcd.run())
            tasks.create_task(feel_pulse(self._clock, self._metrics.loop_lag))
