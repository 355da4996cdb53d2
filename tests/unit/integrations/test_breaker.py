"""The circuit breaker: closed, open, half open."""

from datetime import timedelta

from it_incident_response.integrations._breaker import CircuitBreaker, CircuitState
from tests.unit.integrations.support import NOW


def after(seconds: float):
    return NOW + timedelta(seconds=seconds)


def opened() -> CircuitBreaker:
    breaker = CircuitBreaker(failures_max=3, cool_down_s=5)
    for _ in range(3):
        breaker.failed(NOW)
    return breaker


def test_it_opens_only_after_failures_in_a_row():
    breaker = CircuitBreaker(failures_max=3)
    for _ in range(10):
        breaker.failed(NOW)
        breaker.failed(NOW)
        breaker.succeeded()
    assert breaker.state(NOW) is CircuitState.CLOSED
    assert breaker.admit(NOW)


def test_an_open_circuit_admits_nobody_until_it_has_cooled_down():
    breaker = opened()
    assert breaker.state(after(4.9)) is CircuitState.OPEN
    assert not breaker.admit(after(4.9))
    assert breaker.wait_s(after(2)) == 3


def test_a_half_open_circuit_admits_exactly_one():
    breaker = opened()
    assert breaker.state(after(5)) is CircuitState.HALF_OPEN
    assert breaker.admit(after(5))
    assert not breaker.admit(after(5.1))


def test_its_success_closes_and_its_failure_opens_again():
    breaker = opened()
    assert breaker.admit(after(5))
    breaker.failed(after(6))
    assert not breaker.admit(after(10.9))
    assert breaker.admit(after(11))
    breaker.succeeded()
    assert breaker.state(after(11)) is CircuitState.CLOSED
    assert breaker.admit(after(11))
    assert breaker.admit(after(11))


def test_a_probe_that_never_comes_back_does_not_block_for_ever():
    breaker = opened()
    assert breaker.admit(after(5))
    assert breaker.admit(after(10))


def test_a_clock_set_back_does_not_keep_it_open():
    assert opened().admit(after(-3600))
