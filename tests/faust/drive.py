"""Run `app` for real: by Faust's own command, against a broker that speaks Kafka's protocol; stop it, and start it again.

The broker is librdkafka's mock cluster, which listens on loopback. Half of the orders are there before the first start, the
others come while the application runs and is stopped. Then everything must have been done, whichever run has done it.

    python tests/faust/drive.py [--orders 2000] [--threaded-producer] [--mode]

With `--threaded-producer`, Faust's producer is in a thread too, as its consumer always is. With `--mode`, the application runs on the
mode that is installed, and not on structmode.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

# It has no types, and is there only where this is run.
confluent_kafka: Any = import_module("confluent_kafka")

HERE = Path(__file__).parent
CUSTOMERS = 20
#: How long the application may take for each thing that is waited for, in seconds.
PATIENCE = 90.0


class Driver:
    """Runs the application, and keeps what is to be told of it.

    Args:
        home: A directory for all that the application writes.
        on_structmode: Whether it runs on structmode.
        producer: Where Faust's producer is: "threaded" or "beside".
    """

    def __init__(self, home: Path, *, on_structmode: bool, producer: str) -> None:
        self.home = home
        self.place_of_producer = producer
        self.on_structmode = on_structmode
        self.producer: Any = confluent_kafka.Producer(
            {"bootstrap.servers": "mock", "test.mock.num.brokers": 1, "log_level": 0}
        )
        broker = next(iter(self.producer.list_topics(timeout=10).brokers.values()))
        self.broker = f"{broker.host}:{broker.port}"
        self.port = _free_port()
        self.orders = 0
        self.runs = 0

    def send(self, number: int) -> None:
        """Put so many more orders on the topic."""
        for order in range(self.orders, self.orders + number):
            customer = f"customer-{order % CUSTOMERS}"
            value = json.dumps({"number": order, "customer": customer})
            self.producer.produce("orders", key=customer, value=value)
        self.orders += number
        self.producer.flush(30)

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run the application for the length of the block, then end it by SIGTERM."""
        self.runs += 1
        with (self.home / f"log-{self.runs}").open("wb") as log:
            process = subprocess.Popen(
                self._command(), cwd=HERE, env=self._environ(), stdout=log, stderr=log
            )
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()
                process.wait()

    def _command(self) -> list[str]:
        as_mode = ["-m", "structmode.compat"] if self.on_structmode else []
        faust = ["-m", "faust", "-A", "app", "worker", "--loglevel", "info"]
        return [sys.executable, *as_mode, *faust]

    def _environ(self) -> dict[str, str]:
        return {
            **os.environ,
            "FAUST_DRIVE_BROKER": self.broker,
            "FAUST_DRIVE_HOME": str(self.home),
            "FAUST_DRIVE_PRODUCER": self.place_of_producer,
            "FAUST_DRIVE_PORT": str(self.port),
        }

    def noted(self, kind: str) -> Counter[int]:
        """Return what the application has noted of a kind, each with how often."""
        file = self.home / kind
        lines = file.read_text().split() if file.exists() else []
        return Counter(int(line) for line in lines)

    def state(self) -> dict[str, Any] | None:
        """Ask the application's web view; None if it does not answer."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.port}/state/", timeout=5
            ) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except (OSError, ValueError):
            return None

    def wait(self, what: str, process: subprocess.Popen[bytes], done: Callable[[], bool]) -> float:
        """Wait until something is so; returns how many seconds it took."""
        began = time.monotonic()
        while not done():
            if process.poll() is not None:
                self.fail(f"the application has ended with {process.returncode}, and not {what}")
            if time.monotonic() - began > PATIENCE:
                self.fail(f"the application has not {what} within {PATIENCE:g} s")
            time.sleep(0.05)
        return time.monotonic() - began

    def stop(self, process: subprocess.Popen[bytes]) -> float:
        """End the application by SIGTERM; returns how many seconds it took."""
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.fail(f"the application has not ended within {PATIENCE:g} s after SIGTERM")
        if process.returncode != 0:
            self.fail(f"the application has ended with {process.returncode} after SIGTERM")
        return time.monotonic() - began

    def fail(self, why: str) -> None:
        """Give up: show what the application has logged last."""
        log = (self.home / f"log-{self.runs}").read_text(errors="replace")
        raise SystemExit(
            f"{log[-6000:]}\n\n{why}; counted {len(self.noted('counted'))} of {self.orders} orders"
        )


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def drive(driver: Driver, orders: int) -> dict[str, Any]:
    """Run the application twice, with orders before, meanwhile and in between; return what was seen."""
    figures: dict[str, Any] = {"orders": orders}
    quarter = orders // 4
    driver.send(2 * quarter)
    with driver.running() as process:
        figures["first start, s"] = driver.wait(
            "answered", process, lambda: driver.state() is not None
        )
        driver.wait("begun", process, lambda: len(driver.noted("counted")) >= quarter)
        driver.send(quarter)
        figures["first stop, s"] = driver.stop(process)
    figures["counted in the first run"] = len(driver.noted("counted"))
    driver.send(orders - driver.orders)
    with driver.running() as process:
        figures["second start, s"] = driver.wait(
            "answered", process, lambda: driver.state() is not None
        )
        driver.wait("counted all", process, lambda: len(driver.noted("counted")) >= orders)
        driver.wait("checked all", process, lambda: len(driver.noted("checked")) >= orders)
        driver.wait("run its crontab", process, lambda: bool(driver.noted("crons")))
        state = driver.state() or {}
        figures["second stop, s"] = driver.stop(process)
    return {**figures, **look_back(driver, orders, state)}


def look_back(driver: Driver, orders: int, state: dict[str, Any]) -> dict[str, Any]:
    """Compare what has been done with what was to be done."""
    counted, checked = driver.noted("counted"), driver.noted("checked")
    totals = sum(state.get("totals", {}).values())
    return {
        "services are those of": state.get("services"),
        "the consumer's thread": state.get("consumer"),
        "lost": orders - len(counted) + orders - len(checked),
        "counted twice": sum(counted.values()) - len(counted),
        "checked twice": sum(checked.values()) - len(checked),
        "in the table": totals,
        "missing in the table": max(0, orders - totals),
        "restarts of the supervised agent in the second run": state.get("failures", 0),
        "ticks in the second run": state.get("ticks", 0),
        "crontab runs": sum(driver.noted("crons").values()),
    }


def main() -> int:
    """Drive, and print the figures; the exit code is 1 if something was lost."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--orders", type=int, default=2000)
    options.add_argument("--threaded-producer", action="store_true", help="have it in a thread")
    options.add_argument("--mode", action="store_true", help="run on the mode that is installed")
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="faust-drive-") as home:
        producer = "threaded" if given.threaded_producer else "beside"
        driver = Driver(Path(home), on_structmode=not given.mode, producer=producer)
        figures = drive(driver, given.orders)
    for name, figure in figures.items():
        print(f"{name}: {figure:.1f}" if isinstance(figure, float) else f"{name}: {figure}")
    lost = figures["lost"] + figures["missing in the table"]
    if figures["services are those of"] != ("mode" if given.mode else "structmode"):
        raise SystemExit("the application did not run on what it was to run on")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
