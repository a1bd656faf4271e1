"""A gateway whose WebSocket clients share one subscription at an exchange.

The subscription begins with the first client and ends two seconds after the last: a client that reconnects costs
nothing. It is a connection and a task that reads from it; both live in the opener, above and below its `yield`, as they
would in a with-statement.

Run it: an exchange, the gateway and some clients talk to each other on loopback, and it prints what the subscription
did. Another linger than two seconds may be given as its argument.
"""

import asyncio
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from websockets import ConnectionClosed
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server, ServerConnection, broadcast, serve

from refcount import AsyncSharedResource

PRICES_PER_SECOND = 100

Clients = set[ServerConnection]


class Gateway:
    """Hands the prices of an exchange on to its clients."""

    def __init__(self, exchange: str, linger: float) -> None:
        self.exchange = exchange
        self.subscription = AsyncSharedResource(self.subscribe, linger=linger, on_failure="cancel")
        self.left = 0.0

    @asynccontextmanager
    async def subscribe(self) -> AsyncGenerator[Clients]:
        """Subscribe at the exchange, and send what comes from there to everybody in the set."""
        clients: Clients = set()
        async with connect(self.exchange) as connection, asyncio.TaskGroup() as tasks:
            forwarding = tasks.create_task(forward(connection, clients))
            print("  (subscribe)")
            yield clients
            forwarding.cancel()
            print("  (unsubscribe)")

    async def serve(self, client: ServerConnection) -> None:
        """Let one client watch until it goes away, or the exchange does."""
        try:
            async with self.subscription() as clients:
                clients.add(client)
                try:
                    await client.wait_closed()
                finally:
                    clients.discard(client)
        except* ConnectionError as failed:
            await client.close(1013, str(failed.exceptions[0]))  # try again later
        self.left = time.monotonic()


async def forward(connection: ClientConnection, clients: Clients) -> None:
    async for price in connection:
        broadcast(clients, price)
    raise ConnectionError("the exchange has hung up")


async def exchange(subscriber: ServerConnection) -> None:
    """Send prices until nobody listens; each subscriber costs money."""
    with suppress(ConnectionClosed):
        for price in range(10_000):
            await subscriber.send(str(price))
            await asyncio.sleep(1 / PRICES_PER_SECOND)


async def watch(gateway: Server, number: int) -> int:
    """Be a client: connect, read so many prices, leave, and say how many they were."""
    async with connect(address(gateway)) as connection:
        return len([await connection.recv() for _ in range(number)])


async def be_cut_off(gateway: Server, upstream: Server) -> None:
    """Be a client that watches while the exchange hangs up."""
    async with connect(address(gateway)) as connection:
        await connection.recv()
        await asyncio.gather(*(subscriber.close() for subscriber in upstream.connections))
        try:
            while True:
                await connection.recv()
        except ConnectionClosed:
            print("cut off:", connection.close_code, connection.close_reason)


def address(server: Server) -> str:
    return f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def show(linger: float) -> None:
    async with serve(exchange, "127.0.0.1", 0) as upstream:
        gateway = Gateway(address(upstream), linger)
        async with serve(gateway.serve, "127.0.0.1", 0) as downstream:
            await clients_come_and_go(gateway, downstream, upstream)


async def clients_come_and_go(gateway: Gateway, downstream: Server, upstream: Server) -> None:
    subscription = gateway.subscription
    print("nobody watches:", subscription.state.value)

    seen = await asyncio.gather(*(watch(downstream, 5) for _ in range(3)))
    print("three clients at once see", *seen, "prices by subscription", subscription.generation)
    print("one reconnects and sees", await watch(downstream, 5), "more by subscription", subscription.generation)

    await subscription.wait_stopped(timeout=60)
    print(f"it has ended {time.monotonic() - gateway.left:.1f} s after the last one")

    print("much later another one sees", await watch(downstream, 5), "by subscription", subscription.generation)

    await be_cut_off(downstream, upstream)
    print("one who tries again sees", await watch(downstream, 5), "by subscription", subscription.generation)
    await subscription.wait_stopped(timeout=60)


if __name__ == "__main__":
    asyncio.run(show(float(sys.argv[1]) if len(sys.argv) > 1 else 2.0))
