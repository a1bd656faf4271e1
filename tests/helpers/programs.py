"""Programs in a Python of their own: what they print, how they end, and how long that takes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Ended:
    """How a program has ended.

    Attributes:
        returncode: Its exit status, negative for a signal.
        stdout: What it printed.
        stderr: What it complained of.
        seconds: How long it ran, the start of the interpreter included.
    """

    returncode: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def lines(self) -> list[str]:
        """What it printed, line by line."""
        return self.stdout.splitlines()


def run_program(
    source: str,
    *arguments: str,
    options: Sequence[str] = (),
    environment: dict[str, str] | None = None,
    timeout: float = 30.0,
    meanwhile: Callable[[subprocess.Popen[str]], object] = lambda process: None,
) -> Ended:
    """Run `source` as a program and wait for its end.

    Args:
        source: The program.
        arguments: Its `sys.argv[1:]`.
        options: Options of the interpreter.
        environment: What to add to this process's environment; what would change warnings or threads is taken out.
        timeout: Seconds after which it is killed, with the stacks of its threads on its stderr.
        meanwhile: Called with the process while it runs, to send it signals or read its first lines.

    Raises:
        TimeoutError: It had to be killed; the text is what it printed.
    """
    unwanted = ("PYTHONWARNINGS", "PYTHONDEVMODE", "REFCOUNT_DEBUG")
    variables = {name: value for name, value in os.environ.items() if name not in unwanted}
    command = [sys.executable, *options, "-X", "faulthandler", "-c", source, *arguments]
    began = time.monotonic()
    process = subprocess.Popen(
        command,
        env={**variables, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        meanwhile(process)
        stdout, stderr = process.communicate(timeout=timeout)
    except BaseException as error:
        process.send_signal(signal.SIGABRT)  # faulthandler shows the stacks then
        stdout, stderr = process.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            raise TimeoutError(f"still running after {timeout} s:\n{stdout}\n{stderr}") from None
        raise
    return Ended(process.returncode, stdout, stderr, time.monotonic() - began)
