"""What the benchmarks share: taking times in turns, and printing tables as text, Markdown or JSON."""

import argparse
import gc
import json
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

Loop = Callable[[int], None]
"""A function that does the measured thing so many times."""

Cell = str | int | float | None
"""One field of a table; None is printed as nothing."""

SECONDS_PER_MEASUREMENT = 0.004


class Comparison(NamedTuple):
    """How long two things take, measured in turns."""

    ours: float
    """The median over all rounds, in nanoseconds."""
    peer: float
    """The median of the peer."""
    ratio: float
    """The median of the ratios of ours to the peer's, each taken within a round."""
    spread: float
    """The distance between the quartiles of these ratios."""


@dataclass(frozen=True)
class Table:
    """What a program has measured."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Cell, ...]]
    note: str = ""


def seconds(loop: Loop, n: int) -> float:
    """Return how much CPU time it takes to do the measured thing `n` times.

    That of all threads of this process, and of no other process: on a busy machine it is steadier than the time of day,
    and what is measured so never waits.
    """
    begin = time.process_time()
    loop(n)
    return time.process_time() - begin


def repetitions(loop: Loop) -> int:
    """Warm `loop` up, and return how many repetitions take about as long as one measurement should."""
    n = 1
    loop(n)
    while (took := seconds(loop, n)) < SECONDS_PER_MEASUREMENT / 4:
        n *= 2
    return max(1, round(n * SECONDS_PER_MEASUREMENT / took))


def nanoseconds(loop: Loop, rounds: int = 7) -> float:
    """Return how long the measured thing takes: the median of some rounds."""
    n = repetitions(loop)
    return statistics.median(seconds(loop, n) for _ in range(rounds)) / n * 1e9


def compare(pairs: Sequence[tuple[Loop, Loop]], rounds: int) -> list[Comparison]:
    """Measure ours and its peer of each pair once in every round.

    The pairs come in another order in every round. The two of a pair come one right after the other, so that what
    slows the machine down for a while slows both down, and either of them may be first.
    """
    numbers = [(repetitions(ours), repetitions(peer)) for ours, peer in pairs]
    times: list[list[tuple[float, float]]] = [[] for _ in pairs]
    order = list(range(len(pairs)))
    for _ in range(rounds):
        random.shuffle(order)
        for index in order:
            times[index].append(_measure_pair(pairs[index], numbers[index]))
    return [comparison(each) for each in times]


def _measure_pair(pair: tuple[Loop, Loop], numbers: tuple[int, int]) -> tuple[float, float]:
    took = [0.0, 0.0]
    first = random.randrange(2)
    for which in (first, 1 - first):
        took[which] = seconds(pair[which], numbers[which]) / numbers[which] * 1e9
    return took[0], took[1]


def comparison(times: list[tuple[float, float]]) -> Comparison:
    """Return what the times of ours and of the peer, in nanoseconds, come to over all rounds."""
    lower, middle, upper = statistics.quantiles((ours / peer for ours, peer in times), n=4)
    ours, peer = zip(*times, strict=True)
    return Comparison(statistics.median(ours), statistics.median(peer), middle, upper - lower)


def verdict(value: float, limit: float | None, tolerance: float = 0.0) -> str:
    """Say whether a value keeps its limit, and by how much it misses it."""
    if limit is None:
        return ""
    over = value - limit
    if over <= tolerance:
        return "ok"
    share = f" ({over / limit:.0%})" if limit else ""
    return f"MISSED by {_text(over)}{share}"


def parser(description: str) -> argparse.ArgumentParser:
    """Return a parser of the command line that knows the options of every program."""
    made = argparse.ArgumentParser(description=description)
    form = made.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_const", dest="form", const="json", help="print JSON, for programs")
    form.add_argument("--markdown", action="store_const", dest="form", const="markdown", help="print Markdown")
    made.set_defaults(form="text")
    return made


def machine() -> dict[str, Cell]:
    """Return what the figures depend on."""
    return {
        "python": platform.python_version(),
        "gil": getattr(sys, "_is_gil_enabled", lambda: True)(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def show(tables: Iterable[Table], form: str) -> None:
    """Print the tables as `text`, `markdown` or `json`; the first two as soon as each is there."""
    about = machine()
    if form == "json":
        print(json.dumps({**about, "tables": [_plain(table) for table in tables]}, indent=2))
        return
    print(
        f"CPython {about['python']}{'' if about['gil'] else ' without the GIL'} on {about['machine']}, "
        f"{about['cpus']} CPUs, load {about['load']}"
    )
    for table in tables:
        print()
        (_show_markdown if form == "markdown" else _show_text)(table)
        sys.stdout.flush()


def _plain(table: Table) -> dict[str, object]:
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    return {"title": table.title, "rows": rows, "note": table.note}


def _show_markdown(table: Table) -> None:
    header = (table.title, *table.columns[1:])
    for row in (header, ("---",) * len(header), *table.rows):
        print(f"| {' | '.join(map(_text, row))} |")
    if table.note:
        print(f"\n{table.note}")


def _show_text(table: Table) -> None:
    texts = [tuple(map(_text, row)) for row in (table.columns, *table.rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    is_text = [any(isinstance(cell, str) for cell in column) for column in zip(*table.rows, strict=True)]
    print(table.title)
    for row in texts:
        cells = zip(row, widths, is_text, strict=True)
        line = "  ".join(cell.ljust(width) if left else cell.rjust(width) for cell, width, left in cells)
        print(f"  {line}".rstrip())
    if table.note:
        print(f"  {table.note}")


def _text(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 100 else f"{cell:.1f}" if abs(cell) >= 20 else f"{cell:.2f}"
    return f"{cell:,}" if isinstance(cell, int) else cell


@contextmanager
def no_garbage_collection() -> Generator[None]:
    """Collect garbage first, and not again by itself before the end."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
