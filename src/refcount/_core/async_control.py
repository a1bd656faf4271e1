"""`AsyncControls`: what a shared resource for tasks can be told by anybody, whether he holds it or not."""
# pyright: reportPrivateUsage=false
# What a resource has of its machine is private because users have resources in their hands.

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from refcount._core.async_stopping import AsyncStoppable
from refcount._core.generation import STOPPING, UP, Generation
from refcount._core.loops import here
from refcount._support.numbers import check_timeout

if TYPE_CHECKING:
    from refcount._core.keeper import Keeper

T_co = TypeVar("T_co", covariant=True)


class AsyncControls(AsyncStoppable[T_co], Generic[T_co]):
    """A shared resource for tasks, less its leases."""

    __slots__ = ()

    def invalidate(self) -> None:
        """Detach the running generation: its holders keep it until they leave, the next consumer gets a fresh one.

        One that lingers is stopped, as by `flush`, but nobody waits for that here, and what it raises is reported. A
        start or stop that hangs is given up: its late end disturbs nobody.

        Raises:
            WrongLoopError: The resource is up in another event loop.
            RefcountError: No event loop runs here, and the resource is up, or `per_loop`. Another thread hands it on:
                `loop.call_soon_threadsafe(resource.invalidate)`.

        Example:
            >>> import asyncio
            >>> resource = AsyncSharedResource.of(object)
            >>> async def main():
            ...     async with resource() as old:
            ...         resource.invalidate()
            ...         async with resource() as new:
            ...             print(old is new)
            >>> asyncio.run(main())
            False
        """
        own = self._own()
        with own._visit():
            current = own._machine.current
            if current is not None and current.phase is STOPPING:
                own._forget(current)
            elif current is not None:
                own._condemn(current)

    def touch(self) -> None:
        """Begin the linger anew, if it lingers.

        Raises:
            WrongLoopError: The resource is up in another event loop.
            RefcountError: No event loop runs here, and the resource is up, or `per_loop`.

        Example:
            >>> AsyncSharedResource.of(list).touch()
        """
        own = self._own()
        with own._visit():
            current = own._machine.current
            if current is not None and current.lingers:
                own._machine.touch(own._now(current))

    async def flush(self) -> bool:
        """Stop it now if it lingers, and wait until it has stopped.

        Who is cancelled while he waits leaves, as from `AsyncLease.release`; the stop goes on.

        Returns:
            Whether this call stopped it.

        Raises:
            Exception: What the stop raised.
            WrongLoopError: The resource is up in another event loop.

        Example:
            >>> import asyncio, math
            >>> resource = AsyncSharedResource.of(list, stop=lambda value: print("stop"), linger=math.inf)
            >>> async def main():
            ...     async with resource():
            ...         pass
            ...     print(await resource.flush(), await resource.flush())
            >>> asyncio.run(main())
            stop
            True False
        """
        own = self._own()
        with own._visit():
            keeper = own._flush_now()
            if keeper is None:
                return False
            await keeper.outcome()
            return True

    def abandon(self) -> None:
        """Forget what runs without stopping it: its leases become inert, and the next consumer starts anew.

        For what has ended by other means, or is to be left as it is. A start or stop that runs is left to itself. What
        it was started with is kept until the process ends, since to drop it could run its `finally`.

        Raises:
            WrongLoopError: The resource is up in another event loop.
            RefcountError: No event loop runs here, and the resource is up, or `per_loop`.

        Example:
            >>> import asyncio
            >>> lock = AsyncSharedResource.of(object, stop=lambda value: print("unlock"))
            >>> async def main():
            ...     lease = await lock.acquire()
            ...     lock.abandon()
            ...     print(lease.held, await lease.release(), lock.state.value)
            >>> asyncio.run(main())
            False False idle
        """
        own = self._own()
        with own._visit():
            for generation in own._machine.generations:
                own._abandon(generation)

    async def close(self, timeout: float | None = None, *, force: bool = False) -> None:
        """Refuse newcomers for good, wait for the holders to leave, and see it stopped.

        Harmless when called again. A start in flight is finished for the consumers who wait on it. Those of other event
        loops, if it is `per_loop`, are closed as well, but not waited for.

        Args:
            timeout: How many seconds to wait. After that it stays closed, and stops when its last holder leaves.
            force: Do not wait for the holders, stop under them. A start in flight is stopped as soon as it is done,
                and the consumers who wait on it get `ClosedError`.

        Raises:
            TimeoutError: It was still held, or had not stopped, after `timeout` seconds.
            ReentrantError: Called inside a hook of this resource, by the same task.
            WrongLoopError: The resource is up in another event loop.
            Exception: What the stop raised, if this call stopped it.

        Example:
            >>> import asyncio
            >>> resource = AsyncSharedResource.of(list, name="basket")
            >>> async def main():
            ...     await resource.close()
            ...     await resource.acquire()
            >>> asyncio.run(main())
            Traceback (most recent call last):
            refcount.ClosedError: basket is closed
        """
        seconds = check_timeout(timeout)
        if self._options.per_loop:
            await self._close_each(seconds, force=force)
            return
        deadline = None if seconds is None else here().now() + seconds
        with self._visit() as by:
            self._refuse_reentry("close", by)
            keeper = self._shut(force=force)
            if keeper is not None:
                keeper.expect()
            try:
                if not await self._wait_quiet(deadline):
                    raise self._still_running(seconds)
            except BaseException:
                if keeper is not None:
                    keeper.forgo()
                raise
            if keeper is not None:
                keeper.settle()

    async def wait_stopped(self, timeout: float | None = None) -> None:
        """Return when nothing of it runs any more.

        Args:
            timeout: How many seconds to wait.

        Raises:
            TimeoutError: Something still ran after `timeout` seconds.
            ReentrantError: Called inside a hook of this resource, by the same task.
            WrongLoopError: The resource is up in another event loop.

        Example:
            >>> import asyncio
            >>> asyncio.run(AsyncSharedResource.of(list).wait_stopped(timeout=1.0))
        """
        own, seconds = self._own(), check_timeout(timeout)
        with own._visit() as by:
            own._refuse_reentry("wait_stopped", by)
            if not await own._wait_quiet(None if seconds is None else here().now() + seconds):
                raise own._still_running(seconds)

    # What a bounded family asks

    def resting_since(self, generation: Generation[object]) -> float | None:
        """Return since when `generation` lingers; else who leaves it last tells the slot."""
        current = self._machine.current
        return self._machine.disarm(current) if current is not None and current is generation else None

    def works_here(self) -> bool:
        """Return whether this task is inside a hook of the resource."""
        return self._machine.works(here().current_task())

    async def evict(self, generation: Generation[object]) -> None:
        """Stop `generation` if it lingers, for another key; return when it has stopped, or is held again."""
        home = generation.home
        if generation is not self._machine.current or home is None:
            return
        if home.closed:  # and nobody stops it there any more
            self._leave_behind(home)
            return
        tried = home.runs_here

        def flush() -> None:
            nonlocal tried
            tried = True
            self._flush_now()
            self._wake_sleepers()

        if tried:
            self._flush_now()
        else:
            home.call_soon(flush)
        await self._wait_until(lambda: generation.phase is not STOPPING and (tried or generation.phase is not UP), None)

    async def _close_each(self, seconds: float | None, *, force: bool) -> None:
        """Close the resource of this event loop, and see that those of others are closed in theirs."""
        self._machine.closed = True
        here_owned = here().owned.get(self)
        for other in self._each:
            if other is not here_owned:
                other._shut_from_outside(force=force)
        if here_owned is not None:
            await here_owned.close(seconds, force=force)

    def _shut_from_outside(self, *, force: bool) -> None:
        """Refuse newcomers for good, and have what is up stopped in its event loop, from another one."""
        machine = self._machine
        machine.closed = True
        for home in {generation.home for generation in machine.generations}:
            if home is not None:
                home.call_soon(partial(self._shut, force=force))

    def _shut(self, *, force: bool) -> Keeper[T_co] | None:
        """Refuse newcomers for good, and wait for nobody; return the task that stops what has lingered."""
        machine = self._machine
        current = machine.current
        owed = machine.close(self if current is None else self._owner(current), force=force)
        if force and self._slot is not None:
            self._slot.refuse()
        self._wake_sleepers()
        if owed is not None:
            self._order_stop(owed)
        elif current is not None and current.alarm is not None:
            current.alarm.cancel()
        if force:
            for generation in machine.generations:
                self._expel(generation)
        return None if owed is None else owed.keeper

    def _still_running(self, seconds: float | None) -> TimeoutError:
        return TimeoutError(f"{self.name} still ran after {seconds} s, with usecount {self._seen().usecount}")

    async def _wait_quiet(self, deadline: float | None) -> bool:
        """Wait until nothing runs, and say whether that came before `deadline`."""
        return await self._wait_until(lambda: not self._machine.running, deadline)
