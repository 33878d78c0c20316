"""Events as Kafka records: aiokafka, unmodified, and a broker that reads what it really sends."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from leasehold.control_plane.config_events import EventsConfig, KafkaConfig
from leasehold.control_plane.events.cloudevents import CloudEvent
from leasehold.control_plane.events.kafka import Kafka
from leasehold.control_plane.events.port import Undelivered
from tests.fakes.kafka import Broker
from tests.unit.control_plane.stage import Stage, abandoned, passing, rule_set

NOT_ENOUGH_REPLICAS, TOO_LARGE = 19, 10
EVENT = CloudEvent("1", "/leasehold/acme", "leasehold.swept", partitionkey="store/blob/x", data={"id": "x"})


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    async with Broker("gc") as it:
        yield it


def sink(broker: Broker, timeout: float = 10.0) -> Kafka:
    return Kafka(KafkaConfig((broker.address,), "gc", timeout_seconds=timeout))


async def test_a_record_is_the_event_under_its_resource_confirmed_by_all_replicas(broker: Broker) -> None:
    kafka = sink(broker)
    await kafka.deliver(EVENT)
    await kafka.close()
    [record] = broker.records
    assert (record.key, record.value) == ("store/blob/x", EVENT.body)
    assert record.headers == {"content-type": b"application/cloudevents+json; charset=utf-8"}
    assert (record.acks, record.producer) == (-1, 4711), "all replicas, and an idempotent producer"


async def test_what_replicas_do_not_confirm_at_once_is_repeated_by_the_producer(broker: Broker) -> None:
    broker.errors = [NOT_ENOUGH_REPLICAS]
    kafka = sink(broker)
    await kafka.deliver(EVENT)
    await kafka.close()
    assert len(broker.records) == 1


async def test_a_broker_that_does_not_answer_leaves_the_event_undelivered(broker: Broker) -> None:
    broker.silent = True
    kafka = sink(broker, timeout=0.5)
    with pytest.raises(Undelivered) as caught:
        await kafka.deliver(EVENT)
    assert caught.value.reason == "timeout"
    await kafka.close()


async def test_a_broker_that_is_not_there_leaves_it_undelivered_and_one_that_comes_gets_it() -> None:
    async with Broker("gc") as gone:
        pass
    kafka = sink(gone, timeout=2.0)
    with pytest.raises(Undelivered):
        await kafka.deliver(EVENT)
    async with Broker("gc", port=gone.port) as back:
        await kafka.deliver(EVENT)
        await kafka.close()
        assert len(back.records) == 1


async def test_a_control_plane_tells_a_whole_life_to_kafka_in_order(stage: Stage, broker: Broker) -> None:
    events = EventsConfig(kafka=KafkaConfig((broker.address,), "gc"))
    plane = await stage.plane(rule_set(stage), events=events)
    await passing(stage, "it tells", lambda: plane.events[0].telling and not plane.brake.why_not)
    await abandoned(stage, "x")
    await passing(stage, "all was told", lambda: len(broker.records) >= 3)
    types = [json.loads(record.value)["type"] for record in broker.records]
    assert types == ["leasehold.registered", "leasehold.condemned", "leasehold.swept"]
    assert {record.key for record in broker.records} == {"store/blob/x"}
