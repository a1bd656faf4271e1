"""What must hold of a machine whenever nobody is inside its lock."""
# pyright: reportPrivateUsage=false
# What a hold claims and what a machine has counted is private to users; here it is what is tested.

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from refcount._core.generation import FORGOTTEN, STARTING, STOPPED, STOPPING, UP, Generation, Hold
from refcount._core.machine import Machine
from tests.helpers.model import Broken

T = TypeVar("T")


def leases_of(generation: Generation[T]) -> int:
    """Return how many leases are held on a generation."""
    return generation.count - generation.waiters - generation.checks - generation.lingers


def require(rule: str, holds: object, detail: object = "") -> None:
    """Raise `Broken` unless the rule holds."""
    if not holds:
        raise Broken(rule, detail)


def check(machine: Machine[T], known: Iterable[Generation[T]], doors: Iterable[Hold[T]]) -> None:
    """Raise `Broken` unless all holds.

    Args:
        machine: The machine.
        known: All generations that anybody still knows.
        doors: All claims.
    """
    claims: dict[Generation[T], list[int]] = {g: [0, 0, 0] for g in known}
    for door in doors:
        held, promised = door._generation, door._promised
        require("a claim is of one kind", held is None or promised is None)
        if held is not None:
            claims[held][0] += 1
        elif promised is not None:
            claims[promised][1 + (door in machine.working)] += 1
        if door in machine.sleepers:
            require("who sleeps holds nothing", held is None)
            starts = promised is not None and promised.phase is STARTING
            require("who sleeps checks nothing", promised is None or starts or door not in machine.working)
    for g, (leases, waiters, checks) in claims.items():
        _check_generation(machine, g, leases, waiters, checks)
    _check_whole(machine, [*claims])


def _check_generation(machine: Machine[T], g: Generation[T], leases: int, waiters: int, checks: int) -> None:
    phase = g.phase
    require("nothing is counted below nothing", min(g.count, g.waiters, g.checks, g.lingers) >= 0, vars(g))
    if phase is FORGOTTEN:
        require("what is forgotten is nowhere", g is not machine.current and g not in machine.detached)
        return
    counted = (leases_of(g), g.waiters, g.checks)
    require("the count is what claims it", counted == (leases, waiters, checks), (counted, leases, waiters, checks))
    current, here = g is machine.current, g is machine.current or g in machine.detached
    require(
        "what is not over is here", here == (phase in (STARTING, UP, STOPPING) or (phase is STOPPED and g.count > 0))
    )
    require("the current one is not over", not current or phase in (STARTING, UP, STOPPING), phase)
    require("what nobody keeps is stopped", g.count or phase is not UP, g.number)
    require("what starts is waited for", g.count or phase is not STARTING, g.number)
    lingers = machine.linger and current and phase is UP and not (g.condemned or machine.closed)
    require("what lingers may linger", not g.lingers or (g.lingers == 1 and lingers), g.number)
    quick = current and phase is UP and not (g.condemned or machine.observed)
    require("what is quick may be quick", not g.quick or quick, g.number)
    require("what is up without a reason to be slow is quick", g.quick or not quick, g.number)
    require("only a hook is at work", g not in machine.working or phase in (STARTING, STOPPING), g.number)


def _check_whole(machine: Machine[T], known: list[Generation[T]]) -> None:
    current, hot = machine.current, machine.hot
    require("current or detached", current is None or current not in machine.detached)
    if hot is not None:
        usable = hot is current and hot.phase is UP and not hot.condemned and hot.count > 0
        closed = machine.closed or machine.checked or machine.observed or machine.working
        require("what is hot may be joined", usable and not closed, vars(hot))
    late = any(g.phase is STARTING or g.phase is STOPPING for g in machine.detached)
    if current is not None and current.quick and not (machine.checked or machine.closed or machine.working or late):
        require("what may be hot is hot", hot is current, vars(current))
    running = sum([g.phase in (STARTING, UP, STOPPING) and not g.given_up for g in known])
    require("what runs is counted", machine.running == running, (machine.running, running))
    elsewhere = sum([leases_of(g) for g in machine.detached])
    require("leases elsewhere are counted", machine._elsewhere == elsewhere, (machine._elsewhere, elsewhere))
    if machine.observed:
        require(
            "what observers are told is the usecount",
            machine._seen == sum(map(leases_of, machine.generations)),
            machine._seen,
        )
    checks = sum([g.checks for g in known])
    require("who checks is at work", sum([isinstance(job, Hold) for job in machine.working]) == checks, checks)
