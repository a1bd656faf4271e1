"""A web application whose requests share one HTTP client, which is open only while there are requests.

The client, with its pool of connections, is opened for the first request and closed some seconds after the last one.
There is no startup hook, and nothing is bound to an event loop before a request comes: a test client that runs each
request in a loop of its own works as well.

A response that streams is sent after its handler has returned. So the generator that is streamed takes a lease of its
own, and holds it until the stream has ended, or whoever reads it has gone away.

Run it: an application that has books, and this one that asks it, are served on loopback, and it prints what the client
did. In production it would be `UPSTREAM=https://... uvicorn fastapi_app:app`.
"""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated

import httpx
import uvicorn
from fastapi import Depends, FastAPI
from fastapi.responses import StreamingResponse

from refcount import refcounted_resource

LINGER = 0.5  # seconds; a real server would take 10 or 60


@refcounted_resource(linger=LINGER)
async def client() -> AsyncGenerator[httpx.AsyncClient]:
    print("  (open)")
    async with httpx.AsyncClient(base_url=os.environ["UPSTREAM"]) as opened:
        yield opened
    print("  (close)")


async def lease() -> AsyncGenerator[httpx.AsyncClient]:
    """Hold the client for one request."""
    async with client() as held:
        yield held


app = FastAPI()


@app.get("/titles/{number}")
async def title(number: int, http: Annotated[httpx.AsyncClient, Depends(lease)]) -> str:
    return (await http.get(f"/books/{number}")).text.splitlines()[0]


@app.get("/texts/{number}")
async def text(number: int) -> StreamingResponse:
    async def shouted() -> AsyncGenerator[str]:
        async with client() as http, http.stream("GET", f"/books/{number}") as answer:
            async for line in answer.aiter_lines():
                yield f"{line.upper()}\n"

    return StreamingResponse(shouted(), media_type="text/plain")


library = FastAPI()


@library.get("/books/{number}")
async def book(number: int) -> StreamingResponse:
    async def lines() -> AsyncGenerator[str]:
        for line in range(1, 6):
            yield f"Book {number}, line {line}\n"
            await asyncio.sleep(0.02)

    return StreamingResponse(lines(), media_type="text/plain")


@asynccontextmanager
async def serving(application: FastAPI) -> AsyncGenerator[str]:
    """Serve an application on loopback, and yield its address."""
    server = uvicorn.Server(uvicorn.Config(application, port=0, log_level="error"))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        server.should_exit = True


async def show() -> None:
    async with serving(library) as upstream, serving(app) as address, httpx.AsyncClient(base_url=address) as browser:
        os.environ["UPSTREAM"] = upstream
        print("nobody asks:", client.resource().state.value)

        answers = await asyncio.gather(*(browser.get(f"/titles/{number}") for number in (1, 2, 3)))
        print("three ask at once:", *(answer.json() for answer in answers), sep="\n    ")

        async with browser.stream("GET", "/texts/4") as answer:
            print("soon after one reads a stream, with client", client.resource().generation)
            async for line in answer.aiter_lines():
                print(f"    {line} - leases: {client.usecount}")
        await client.resource().wait_stopped(timeout=60)

        async with browser.stream("GET", "/texts/5") as answer:
            print("another goes away after", await anext(answer.aiter_lines()))
        await client.resource().wait_stopped(timeout=60)


if __name__ == "__main__":
    asyncio.run(show())
