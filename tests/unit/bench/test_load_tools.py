"""What wrk, h2load and curl printed once, and what we read from it."""

from __future__ import annotations

import math

import pytest

from tests.bench.peers.load import LoadFailed, parse_h2load, parse_transfer, parse_wrk, percentile

WRK = """Running 1s test @ http://127.0.0.1:18998/
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   235.06us  135.57us   4.25ms   95.30%
    Req/Sec    52.49k     4.97k   60.09k    72.73%
  Latency Distribution
     50%  223.00us
     75%  255.00us
     90%  303.00us
     99%  457.00us
  57442 requests in 1.10s, 8.22MB read
Requests/sec:  52230.21
Transfer/sec:      7.47MB
"""
WRK_REFUSED = """Running 1s test @ http://127.0.0.1:18998/bad
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   220.00us   77.81us   1.44ms   83.58%
    Req/Sec    55.38k     1.46k   58.08k    70.00%
  Latency Distribution
     50%  216.00us
     75%  236.00us
     90%  266.00us
     99%  498.00us
  55052 requests in 1.00s, 19.64MB read
  Non-2xx or 3xx responses: 55052
Requests/sec:  54984.04
Transfer/sec:     19.61MB
"""
WRK_RESET = """Running 1s test @ http://127.0.0.1:18996/
  1 threads and 4 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   344.29us  676.46us   7.69ms   89.15%
    Req/Sec    26.63k     4.76k   38.10k    80.00%
  Latency Distribution
     50%   69.00us
     75%  264.00us
     90%    1.11ms
     99%    3.34ms
  26494 requests in 1.00s, 1.01MB read
  Socket errors: connect 0, read 1323, write 0, timeout 0
Requests/sec:  26461.69
Transfer/sec:      1.01MB
"""
H2LOAD = """Application protocol: h2c
Main benchmark duration is over for thread #0. Stopping all clients.
Stopped all clients for thread #0

finished in 1.00s, 18777.00 req/s, 2.31MB/s
requests: 18777 total, 18793 started, 18777 done, 18777 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 18777 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 2.31MB (2423017) total, 1.02MB (1070289) headers (space savings 45.71%), 751.81KB (769857) data
                     min         max         mean         sd        +/- sd
time for request:      161us      8.84ms       804us       296us    85.54%
time for connect:       79us       329us       204us        77us    56.25%
time to 1st byte:     2.90ms      3.09ms      3.01ms        52us    68.75%
req/s           :    1171.02     1176.70     1172.94        1.83    75.00%
"""
H2LOAD_LOG = """1795533094420962\t201\t2197
1795533094420936\t201\t2272
1795533095420083\t201\t196
1795533095420103\t201\t191
"""
"""The first two lines and the last two."""
H2LOAD_REFUSED = """finished in 1.00s, 2000.00 req/s, 525.52KB/s
requests: 2000 total, 2000 started, 2000 done, 0 succeeded, 2000 failed, 0 errored, 0 timeout
status codes: 0 2xx, 0 3xx, 0 4xx, 2000 5xx
traffic: 525.52KB (538132) total, 105.47KB (108000) headers (space savings 45.45%), 384.77KB (394000) data
                     min         max         mean         sd        +/- sd
time for request:       24us      2.76ms        61us        94us    99.55%
"""


def test_wrk_tells_requests_seconds_and_percentiles() -> None:
    load = parse_wrk(WRK)
    assert (load.requests, load.seconds, load.bad) == (57442, 1.1, 0)
    assert (load.p50_ms, load.p99_ms) == pytest.approx((0.223, 0.457))
    assert load.per_second == pytest.approx(52220)


def test_answers_that_are_no_success_are_bad_with_wrk() -> None:
    assert parse_wrk(WRK_REFUSED).bad == 55052


def test_broken_connections_are_bad_with_wrk() -> None:
    assert parse_wrk(WRK_RESET).bad == 1323


def test_h2load_takes_its_percentiles_from_its_log() -> None:
    load = parse_h2load(H2LOAD, H2LOAD_LOG, 1)
    assert (load.requests, load.bad, load.per_second) == (18777, 0, 18777)
    assert (load.p50_ms, load.p99_ms) == pytest.approx((0.196, 2.272))


def test_answers_that_are_no_success_are_bad_with_h2load() -> None:
    load = parse_h2load(H2LOAD_REFUSED, "", 1)
    assert (load.requests, load.bad) == (0, 2000)


def test_h2load_without_a_log_has_no_percentiles() -> None:
    assert math.isnan(parse_h2load(H2LOAD, "", 1).p99_ms)


def test_a_proxy_that_lets_h2load_go_early_is_not_timed_as_if_it_had_served_to_the_end() -> None:
    with pytest.raises(LoadFailed, match=r"after \d\.\d s of 10"):
        parse_h2load(H2LOAD, H2LOAD_LOG, 10)


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99)])
def test_a_percentile_is_the_least_value_that_so_many_do_not_exceed(share: float, expected: float) -> None:
    assert percentile(range(1, 101), share) == expected
    assert percentile([7], share) == 7


def test_a_transfer_that_is_not_whole_or_not_welcome_is_no_result() -> None:
    assert parse_transfer("1024 0.5 200", 1024) == 0.5
    for said in ("1000 0.5 200", "1024 0.5 502", ""):
        with pytest.raises(LoadFailed, match="1024 bytes"):
            parse_transfer(said, 1024)


@pytest.mark.parametrize("said", ["", "unable to connect to 127.0.0.1:1 Connection refused"])
def test_what_a_load_tool_never_said_before_is_an_error(said: str) -> None:
    with pytest.raises(LoadFailed):
        parse_wrk(said)
    with pytest.raises(LoadFailed):
        parse_h2load(said, "", 1)
