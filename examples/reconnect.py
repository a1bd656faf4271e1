"""A shared connection that breaks: the next consumer gets a fresh one, whoever found out.

`check` is asked before a connection is handed to a newcomer, so that one which died while nobody used it never is. A
consumer that runs into a dead one says so with `invalidate()`: newcomers get a fresh one, and whoever still
holds the old one keeps it until it leaves.
"""

import select
import socket
import threading
from collections.abc import Generator

from refcount import refcounted_resource


class Server:
    """Answers each line with the same line in capitals, unless it hangs up."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._clients: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]
        self.hangs_up_on = ""
        threading.Thread(target=self._accept, daemon=True).start()

    def hang_up(self) -> None:
        for client in self._clients:
            client.shutdown(socket.SHUT_RDWR)
        self._clients.clear()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            self._clients.append(client)
            threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        with client, client.makefile("rwb", buffering=0) as lines:
            for line in lines:
                if line.decode().rstrip() == self.hangs_up_on:
                    self.hangs_up_on = ""
                    return
                lines.write(line.upper())


def is_alive(connection: socket.socket) -> bool:
    """Look whether the other side has hung up: then there is something to read, and it is nothing."""
    readable, _, _ = select.select([connection], [], [], 0)
    return not (readable and connection.recv(1, socket.MSG_PEEK) == b"")


@refcounted_resource(linger=60.0, check=is_alive)
def connection_to(port: int) -> Generator[socket.socket]:
    print("  (connect)")
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        yield connection
    print("  (disconnect)")


def ask(port: int, text: str) -> str:
    """Ask the server, and once more if the connection dies meanwhile."""
    for _ in range(2):
        with connection_to(port) as connection:
            connection.sendall(text.encode() + b"\n")
            answer = connection.makefile("rb").readline()
            if answer:
                return answer.decode().rstrip()
            connection_to.resource(port).invalidate()
    raise ConnectionError(f"no answer to {text!r}")


def main() -> None:
    server = Server()
    print(ask(server.port, "hello"), "and", ask(server.port, "hello again"))

    print("the server hangs up while nobody asks: `check` finds out")
    server.hang_up()
    print(ask(server.port, "still there?"))

    print("the server hangs up instead of answering: whoever asked finds out")
    server.hangs_up_on = "and now?"
    print(ask(server.port, "and now?"))
    connection_to.close()


if __name__ == "__main__":
    main()
