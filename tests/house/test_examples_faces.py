"""The examples that print the same each time: each runs, and prints what it says."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

OUTPUT = {
    "camera_server": """\
nobody watches: camera idle
camera on
three viewers at once saw 10 10 10 different frames
one reloads the page and sees 5 more, from camera 1
camera off
camera on
much later another one sees 5 from camera 2
camera off
""",
    "reconnect": """\
  (connect)
HELLO and HELLO AGAIN
the server hangs up while nobody asks: `check` finds out
  (disconnect)
  (connect)
STILL THERE?
the server hangs up instead of answering: whoever asked finds out
  (disconnect)
  (connect)
AND NOW?
  (disconnect)
""",
    "shared_class": """\
open :memory:
sum 6
inside: 1
close :memory:
inside: 0
traced: True
tracing: False
""",
    "uses": """\
one call:
  (open)
  (close)
  1815
a generator:
  (open)
  Emma 1815
  Persuasion 1817
  (close)
a method:
  (open)
  printed: Old books, Emma (1815)
  (close)
""",
    "method": """\
open letters
unpack letters/monday
Dear Ann - the same text: True
unpack letters/tuesday
open bills
unpack bills/monday
Dear Bob 12.50
close bills
close letters
""",
    "keyed": """\
  (open main)
one file, however the channel is spelled: True
main: hello
audit: ann came in
  (open audit)
errors: disk full
  (close main)
  (open errors)
audit: ann left
open now: 2
  (close audit)
  (close errors)
audit.log: ['ann came in', 'ann left']
errors.log: ['disk full']
main.log: ['hello']
""",
    "opener": """\
uploads: 1
uploads: 2
one folder: True
uploads: 1
Hello, world
folder there: True
uploads: 0
Bye
folder there: False
another folder: True
""",
    "frame_manager": """\
  viewer gets frame 1
open gpu0
first one
60 MB in use
no tracker: 110 of 100 MB are needed
  viewer gets frame 2
  detector gets frame 2 in the context of gpu0
0 MB in use
last one gone
close gpu0
  viewer gets frame 3
open gpu0
first one
10 MB in use
0 MB in use
last one gone
close gpu0
nobody is managed: True
""",
    "worker_group": """\
one album: 2 threads
two albums: 4 threads
none: 0 threads
thumbnails: {'forest': 6, 'mountains': 9, 'sea': 3}
afterwards: 0 threads
""",
}


@pytest.mark.parametrize("name", OUTPUT)
def test_output(name: str) -> None:
    """The program prints exactly that, nothing on stderr, and does not take long."""
    begin = time.monotonic()
    program = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", str(EXAMPLES / f"{name}.py")],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (program.stderr, program.returncode) == ("", 0)
    assert program.stdout == OUTPUT[name]
    assert time.monotonic() - begin < 10  # two seconds at most where nothing else runs


def test_every_example_is_run() -> None:
    """Those that are not here are in `test_examples` and `test_examples_tasks`."""
    elsewhere = {"cpu_monitor", "dataframes", "instance_manager", "producer_consumer", "worker_pool"}
    elsewhere |= {"fastapi_app", "price_feed", "producer_task", "trio_feed"}
    assert {path.stem for path in EXAMPLES.glob("*.py")} == elsewhere | set(OUTPUT)
