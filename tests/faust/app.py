"""A Faust application that uses what applications use: agents, tables, timers, a crontab, a web view, and supervision.

Run by Faust's own `worker` command; see `drive`. It knows neither mode nor structmode.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import faust
from mode import OneForOneSupervisor

HOME = Path(os.environ["FAUST_DRIVE_HOME"])
#: How many orders there are to each one that the supervised agent fails at.
FAILS_AT = 50

app = faust.App(
    "structmode-drive",
    broker=f"kafka://{os.environ['FAUST_DRIVE_BROKER']}",
    store="memory://",
    datadir=str(HOME / "data"),
    web_port=int(os.environ["FAUST_DRIVE_PORT"]),
    web_bind="127.0.0.1",
    consumer_auto_offset_reset="earliest",
    topic_partitions=4,  # what the mock cluster makes of a topic
    topic_allow_declare=False,  # by itself, since it can't be asked to
    broker_session_timeout=6.0,
    broker_heartbeat_interval=1.0,
    table_cleanup_interval=1.0,
    producer_threaded=os.environ["FAUST_DRIVE_PRODUCER"] == "threaded",
)


class Order(faust.Record, serializer="json"):
    """What is on the topic."""

    number: int
    customer: str


orders = app.topic("orders", key_type=str, value_type=Order)
checks = app.topic("checks", key_type=str, value_type=Order)
totals = app.Table("totals", default=int)
seen: dict[str, int] = {"ticks": 0, "crons": 0, "failures": 0}


def note(kind: str, number: int) -> None:
    """Note, beyond the life of the process, that something has been done."""
    with (HOME / kind).open("a") as file:
        file.write(f"{number}\n")


@app.agent(orders)
async def count(stream: Any) -> None:
    """Count the orders of each customer, and have each order checked."""
    async for order in stream:
        totals[order.customer] += 1
        await checks.send(key=order.customer, value=order)
        note("counted", order.number)


@app.agent(checks, supervisor_strategy=OneForOneSupervisor)
async def check(stream: Any) -> None:
    """Check orders, and fail at some."""
    async for order in stream:
        note("checked", order.number)
        if order.number % FAILS_AT == 0:
            seen["failures"] += 1
            raise ValueError(f"order {order.number} is not to be checked")


@app.timer(interval=0.1)
async def tick() -> None:
    """Count ticks."""
    seen["ticks"] += 1


@app.crontab("* * * * *")
async def every_minute() -> None:
    """Count minutes."""
    seen["crons"] += 1
    note("crons", os.getpid())


@app.page("/state/")
async def state(web: Any, request: Any) -> Any:
    """Show what has been counted."""
    bases = [base.__module__.partition(".")[0] for base in type(app).__mro__]
    threads = [thread.name for thread in threading.enumerate()]
    return web.json(
        {
            "totals": dict(totals.items()),
            "services": next(base for base in bases if base in {"mode", "structmode"}),
            "consumer": next((name for name in threads if "Consumer" in name), None),
            **seen,
        }
    )
