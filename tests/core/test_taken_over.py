"""A stop that was given up is taken over, and whoever took it over is interrupted before it could begin."""
# pyright: reportPrivateUsage=false
# A stop is given up after two interrupts only, at moments that no public call leads to.

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from refcount import Lease, SharedResource, State


def given_up(*, overlap: bool = False) -> SharedResource[list[object]]:
    """A resource whose stop somebody has begun and given up."""
    resource: SharedResource[list[object]] = SharedResource.of(list[object], name="it", overlap=overlap)
    lease, machine = resource.acquire(), resource._machine
    generation = machine.give_back(lease, "somebody", 0.0, None)
    assert generation is machine.current
    assert machine.current is not None
    machine.disown(machine.current, "somebody")
    assert resource.state is State.STOPPING
    return resource


def interrupt_next_stop(monkeypatch: pytest.MonkeyPatch, before: Callable[[], object]) -> None:
    """Let Ctrl-C come at the entry of the next stop, after `before` has run there."""
    original = SharedResource[object]._stop
    interrupted: list[object] = []

    def stop(self: SharedResource[object], *arguments: object, **options: object) -> None:
        if not interrupted:
            interrupted.append(self)
            before()
            raise KeyboardInterrupt
        original(self, *arguments, **options)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr(SharedResource, "_stop", stop)


def test_a_newcomer_is_interrupted_who_has_taken_over_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stops it on its way out."""
    resource = given_up()
    interrupt_next_stop(monkeypatch, lambda: None)
    with pytest.raises(KeyboardInterrupt):
        resource.acquire()
    assert resource.state is State.IDLE
    with resource():
        pass


def test_it_was_left_behind_by_another_newcomer_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where stops overlap, it stops what is no longer the current generation, and may come again."""
    resource = given_up(overlap=True)
    others: list[Lease[list[object]]] = []

    def another_comes() -> None:
        thread = threading.Thread(target=lambda: others.append(resource.acquire()))
        thread.start()
        thread.join()

    interrupt_next_stop(monkeypatch, another_comes)
    with pytest.raises(KeyboardInterrupt):
        resource.acquire()
    with resource() as value:
        assert value is others[0].value
    assert others[0].release()
    resource.wait_stopped(timeout=0.0)


def test_invalidate_is_interrupted_that_has_taken_over_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stops it on its way out."""
    resource = given_up()
    interrupt_next_stop(monkeypatch, lambda: None)
    with pytest.raises(KeyboardInterrupt):
        resource.invalidate()
    assert resource.state is State.IDLE
    with resource():
        pass


def test_the_end_of_an_observer_hides_nothing_from_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """What changes at that very moment is told."""
    told: list[int] = []
    resource: SharedResource[list[object]] = SharedResource.of(list[object])
    machine: type[object] = type(resource._machine)
    original = resource._machine.observe
    leases: list[Lease[list[object]]] = []
    end = resource.observe(lambda _: None)
    resource.observe(told.append)

    def observe(_machine: object, observed: bool) -> None:
        original(observed)
        leases.extend([resource.acquire(), resource.acquire()])

    monkeypatch.setattr(machine, "observe", observe)
    end()
    monkeypatch.undo()
    leases.append(resource.acquire())
    assert told == [*range(1, len(leases) + 1)]
    for lease in leases:
        lease.release()
