"""A web video stream whose camera runs only while somebody watches.

The well-known pattern: one background thread takes the frames, every client of the stream gets them, the thread starts
with the first client and ends some seconds after the last. The linger bridges a viewer who reloads the page.

Run it: it serves on loopback, lets real HTTP clients watch, and prints what the camera did. With a port number as its
argument it goes on serving; open the address in a browser.
"""

import struct
import sys
import threading
import time
import urllib.request
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from refcount import StoppableThread, refcounted_resource

WIDTH, HEIGHT, FRAMES_PER_SECOND = 160, 120, 50
LINGER = 0.5  # seconds; a real server would take 5 or 10


class Camera(StoppableThread):
    """Draws a ball that moves from left to right, one PNG image after the other."""

    def __init__(self) -> None:
        super().__init__(self.take_frames, name="camera")
        self.taken = 0
        self._frame = b""
        self._fresh = threading.Condition()

    def take_frames(self, stopping: threading.Event) -> None:
        while not stopping.wait(1 / FRAMES_PER_SECOND):
            frame = draw(self.taken)
            with self._fresh:
                self.taken, self._frame = self.taken + 1, frame
                self._fresh.notify_all()

    def next_frame(self) -> bytes:
        """Wait for a frame that is newer than this call."""
        with self._fresh:
            taken = self.taken
            self._fresh.wait_for(lambda: self.taken > taken)
            return self._frame


@refcounted_resource(linger=LINGER)
def camera() -> Generator[Camera]:
    thread = Camera()
    thread.start()
    print("camera on", flush=True)
    yield thread
    thread.stop()
    print("camera off", flush=True)


class Stream(BaseHTTPRequestHandler):
    """Sends frames until the client goes away; it knows nothing of starting and stopping."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        try:
            with camera() as source:
                while True:
                    frame = source.next_frame()
                    self.wfile.write(b"--frame\r\nContent-Type: image/png\r\n")
                    self.wfile.write(b"Content-Length: %d\r\n\r\n%b\r\n" % (len(frame), frame))
        except ConnectionError:
            pass  # the viewer has left: that is how a stream ends

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet: what the camera does is the point here."""


def draw(number: int) -> bytes:
    """Return frame `number` as a PNG image: a white ball on a dark field."""
    ball_x, ball_y = 10 + number * 3 % (WIDTH - 20), HEIGHT // 2
    rows = bytearray()
    for y in range(HEIGHT):
        reach = max(100 - (y - ball_y) ** 2, 0) ** 0.5
        left, right = int(ball_x - reach), int(ball_x + reach)
        rows += b"\0" + b"\x20" * left + b"\xff" * (right - left) + b"\x20" * (WIDTH - right)
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 0, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(bytes(rows))), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


@contextmanager
def serving(port: int) -> Generator[str]:
    """Serve the stream on loopback, and yield its address."""
    server = ThreadingHTTPServer(("127.0.0.1", port), Stream)
    server.daemon_threads = False  # so that closing it waits for the clients' threads
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def watch(address: str, frames: int) -> int:
    """Be a client: read so many frames, and return how many different ones they were."""
    seen: set[bytes] = set()
    with urllib.request.urlopen(address, timeout=10) as stream:
        for _ in range(frames):
            while not (line := stream.readline()).startswith(b"Content-Length:"):
                if not line:
                    raise EOFError(f"the stream ended after {len(seen)} frames")
            stream.readline()
            seen.add(stream.read(int(line.split(b":")[1])))
    return len(seen)


def show(address: str) -> None:
    """Let clients come and go."""
    print("nobody watches: camera", camera.resource().state.value)

    counts: list[int] = []
    viewers = [threading.Thread(target=lambda: counts.append(watch(address, 10))) for _ in range(3)]
    for viewer in viewers:
        viewer.start()
    for viewer in viewers:
        viewer.join()
    print("three viewers at once saw", *counts, "different frames")

    print("one reloads the page and sees", watch(address, 5), "more, from camera", camera.resource().generation)
    camera.resource().wait_stopped(timeout=10)

    print("much later another one sees", watch(address, 5), "from camera", camera.resource().generation)
    camera.resource().wait_stopped(timeout=10)


if __name__ == "__main__":
    with serving(int(sys.argv[1]) if sys.argv[1:] else 0) as url:
        if sys.argv[1:]:
            print("watch", url)
            while True:
                time.sleep(3600)
        show(url)
