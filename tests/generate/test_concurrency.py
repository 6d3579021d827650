import asyncio

import pytest

from align.generate.concurrency import Limiter


def run(scenario, *arguments, **settings):
    async def started():
        return await scenario(Limiter(*arguments, **settings))

    return asyncio.run(started())


async def fill(limiter):
    """Take all slots; the rounds they were taken in."""
    return [await limiter.acquire() for _ in range(int(limiter.limit) - limiter.in_flight)]


async def round_trip(limiter):
    """As many requests as there are slots succeed, while others wait for slots."""
    for _ in await fill(limiter):
        limiter.succeeded()
        limiter.release()
        await fill(limiter)
    limiter.release(limiter.in_flight)


def overload(limiter, rounds):
    for sent_in in rounds:
        limiter.overloaded(sent_in)
    limiter.release(len(rounds))


def test_it_starts_low_and_never_gives_more_slots_than_allowed():
    async def scenario(limiter):
        limits = [limiter.limit]
        for _ in range(5):
            await round_trip(limiter)
            limits.append(int(limiter.limit))
        return limits

    assert run(scenario, 100, start=16)[0] == 16
    assert run(scenario, 100, start=16)[-1] == 100
    assert run(scenario, 8, start=16) == [8] * 6


def test_up_to_the_first_overload_each_success_with_all_slots_taken_adds_one():
    async def scenario(limiter):
        await fill(limiter)
        for _ in range(3):
            limiter.succeeded()
            await fill(limiter)
        return limiter.limit

    assert run(scenario, 100, start=4) == 7


def test_an_overload_halves_once_a_round_trip_however_many_requests_it_hits():
    async def scenario(limiter):
        overload(limiter, await fill(limiter))
        return limiter.limit

    assert run(scenario, 64, start=64) == 32


def test_a_second_overloaded_round_trip_halves_again():
    async def scenario(limiter):
        overload(limiter, await fill(limiter))
        overload(limiter, await fill(limiter))
        return limiter.limit

    assert run(scenario, 64, start=64) == 16


def test_after_an_overload_as_many_successes_as_there_are_slots_add_about_one():
    async def scenario(limiter):
        overload(limiter, await fill(limiter))
        before = limiter.limit
        for _ in range(5):
            await round_trip(limiter)
        return limiter.limit - before

    assert run(scenario, 100, start=40) == pytest.approx(5, abs=0.6)


def test_it_never_falls_below_one_and_recovers_from_there():
    async def scenario(limiter):
        for _ in range(5):
            overload(limiter, await fill(limiter))
        lowest = limiter.limit
        for _ in range(3):
            await round_trip(limiter)
        return lowest, int(limiter.limit)

    lowest, recovered = run(scenario, 64, start=4)
    assert lowest == 1
    assert recovered >= 3


def test_a_success_while_slots_are_free_adds_none():
    async def scenario(limiter):
        await limiter.acquire()
        limiter.succeeded()
        return limiter.limit

    assert run(scenario, 64, start=4) == 4


def test_slots_are_given_first_come_first_served():
    async def scenario(limiter):
        order = []

        async def request(number):
            await limiter.acquire()
            order.append(number)
            await asyncio.sleep(0)
            limiter.release()

        await asyncio.gather(*[request(number) for number in range(10)])
        return order, limiter.in_flight

    assert run(scenario, 2) == (list(range(10)), 0)


def test_a_request_cancelled_while_it_waits_costs_no_slot():
    async def scenario(limiter):
        await limiter.acquire()
        waiting = [asyncio.create_task(limiter.acquire()) for _ in range(2)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        limiter.release()
        await asyncio.wait_for(waiting[1], 1)
        return limiter.in_flight

    assert run(scenario, 1) == 1


def test_a_request_cancelled_just_as_it_gets_a_slot_gives_it_to_the_next():
    async def scenario(limiter):
        await limiter.acquire()
        waiting = [asyncio.create_task(limiter.acquire()) for _ in range(2)]
        await asyncio.sleep(0)
        limiter.release()
        waiting[0].cancel()
        await asyncio.wait_for(waiting[1], 1)
        return limiter.in_flight

    assert run(scenario, 1) == 1


def test_while_paused_it_gives_no_slot_and_the_longer_pause_counts():
    async def scenario(limiter):
        loop = asyncio.get_running_loop()
        start = loop.time()
        limiter.pause(0.1)
        limiter.pause(0.02)
        await asyncio.wait_for(limiter.acquire(), 1)
        return loop.time() - start

    assert run(scenario, 4) >= 0.099
