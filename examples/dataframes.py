"""Tables for workers of two kinds, converted once for each batch, and only while a worker needs it.

The manager hands the weather of Seattle, quarter by quarter, to its workers. Some take the pandas DataFrame as it is.
Others want an Arrow table (or a cuDF DataFrame, where there are a GPU and cudf), and converting is what costs.
"""

import importlib.util
import shutil
from abc import ABC, abstractmethod
from types import ModuleType
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from vega_datasets import local_data  # type: ignore[import-untyped]  # it has no types

from refcount import InstanceManager, demand, tracked

DAYS = 92
"""How many there are in a batch."""

# --- the type that is expensive to make ---


class Converted(ABC):
    @abstractmethod
    def highest(self, column: str) -> float: ...


class ArrowTable(Converted):
    def __init__(self, frame: pd.DataFrame) -> None:
        self._table = pa.Table.from_pandas(frame)

    def highest(self, column: str) -> float:
        return float(pc.max(self._table[column]).as_py())


class CudfFrame(Converted):
    def __init__(self, frame: pd.DataFrame, cudf: ModuleType) -> None:
        self._frame: Any = cudf.from_pandas(frame)  # cudf has no types

    def highest(self, column: str) -> float:
        return float(self._frame[column].max())


def find_cudf() -> ModuleType | None:
    has_gpu = shutil.which("nvidia-smi") is not None
    return importlib.import_module("cudf") if has_gpu and importlib.util.find_spec("cudf") else None


CUDF = find_cudf()


def convert(frame: pd.DataFrame) -> Converted:
    return ArrowTable(frame) if CUDF is None else CudfFrame(frame, CUDF)


# --- the workers ---


class Worker(ABC):
    needs_converted = tracked[bool]()

    @abstractmethod
    def work(self, frame: pd.DataFrame, converted: Converted | None) -> None: ...


class RainyDays(Worker):
    def __init__(self) -> None:
        self.days = 0

    def work(self, frame: pd.DataFrame, converted: Converted | None) -> None:
        self.days += int((frame["precipitation"] > 0).sum())


class Highest(Worker):
    def __init__(self, column: str) -> None:
        self.column = column
        self.value = float("-inf")
        self.needs_converted = True

    def work(self, frame: pd.DataFrame, converted: Converted | None) -> None:
        if converted is not None:
            self.value = max(self.value, converted.highest(self.column))


# --- the manager ---


class WeatherManager(InstanceManager[Worker]):
    converted = demand("needs_converted")
    made = 0
    avoided = 0

    def feed(self, frame: pd.DataFrame) -> None:
        """Hand one batch to every worker, converted as well if one of them needs that."""
        if self.converted:
            converted = convert(frame)
            self.made += 1
        else:
            converted = None
            self.avoided += 1
        for worker in self.instances:
            worker.work(frame, converted if worker in self.converted else None)

    def report(self, when: str) -> None:
        print(f"{when}: {self.made} conversions made, {self.avoided} avoided")


def main() -> None:
    weather = pd.DataFrame(local_data.seattle_weather())
    batches = [weather.iloc[start : start + DAYS] for start in range(0, len(weather), DAYS)]
    rainy, hottest, windiest = RainyDays(), Highest("temp_max"), Highest("wind")
    manager = WeatherManager([rainy])

    print(f"{len(weather)} days in {len(batches)} batches")
    for batch in batches[:6]:
        manager.feed(batch)
    manager.report("Nobody needs it")

    manager.add_instance(hottest)
    manager.add_instance(windiest)
    for batch in batches[6:10]:
        manager.feed(batch)
    manager.report("Two share each one")

    hottest.needs_converted = False  # the manager notices by itself
    manager.remove_instance(windiest)
    for batch in batches[10:]:
        manager.feed(batch)
    manager.report("Nobody needs it any more")
    print(f"{rainy.days} rainy days, at most {hottest.value} degrees and {windiest.value} m/s")


if __name__ == "__main__":
    main()
