"""A web application whose background services survive a crash, since a supervisor restarts them.

python weather_desk.py                        serves itself for a moment, breaks a service, and asks again
python weather_desk.py trio                   the same on trio
uvicorn examples.weather_desk:app             on a server of your choice, from the directory above
hypercorn -k trio examples.weather_desk:app

The application reports the weather. One service listens to the station, another sums up what came in; both belong to the
application's lifespan, under a supervisor. `GET /` is the report, `POST /lightning` strikes the station: it crashes, and is
restarted, while the application goes on to answer. Too many strikes in a row, and the supervisor gives up: then the
server comes down, instead of serving weather that nobody measures any more.
"""

from __future__ import annotations

import sys
from collections import deque
from statistics import mean

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from structmode import Service, run, service
from structmode.contrib.asgi import AsgiServer, lifespan
from structmode.supervisors import Backoff, OneForOneSupervisor


class Station(Service):
    """Measures, until lightning strikes it; what it has measured is lost then."""

    mundane_level = "debug"

    async def on_start(self) -> None:
        self.latest: deque[float] = deque(maxlen=100)

    @Service.timer(0.01, exec_first=True)
    async def measure(self) -> None:
        self.latest.append(20.0 + len(self.latest) % 3)


class Almanac(Service):
    """Sums up what the station has measured; it is restarted on its own, so it keeps what it has."""

    mundane_level = "debug"

    def __init__(self, station: Station) -> None:
        super().__init__()
        self.station = station
        self.measured = 0
        self.average: float | None = None

    @Service.timer(0.01)
    async def sum_up(self) -> None:
        if self.station.state == "running":
            self.measured += len(self.station.latest)
            self.average = mean(self.station.latest)


def services(app: Starlette) -> OneForOneSupervisor:
    """Make the services of one life of the application, and let its requests find them."""
    app.state.station = Station()
    app.state.almanac = Almanac(app.state.station)
    return OneForOneSupervisor(
        app.state.station,
        app.state.almanac,
        max_restarts=5,
        over=10.0,
        backoff=Backoff(initial=0.01, maximum=1.0),
    )


async def report(  # noqa: ASYNC124 - what is not async, Starlette runs in a thread
    request: Request,
) -> JSONResponse:
    """Answer with the weather."""
    station, almanac = request.app.state.station, request.app.state.almanac
    return JSONResponse(
        {"average": almanac.average, "station": station.state, "repaired": station.restart_count}
    )


async def lightning(request: Request) -> JSONResponse:
    """Strike the station."""
    await request.app.state.station.crash(RuntimeError("struck by lightning"))
    return JSONResponse({"struck": True})


app = Starlette(
    routes=[Route("/", report), Route("/lightning", lightning, methods=["POST"])],
    lifespan=lifespan(services),
)


# --- What `python weather_desk.py` does -----------------------------------------------------------


async def ask(port: int, request: str) -> str:
    """Send a request; return the body of the answer."""
    answer = b""
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        head = (
            f"{request} HTTP/1.1\r\nhost: here\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        )
        await stream.send(head.encode())
        async for chunk in stream:
            answer += chunk
    return answer.partition(b"\r\n\r\n")[2].decode()


@service
async def main() -> None:
    """Serve, strike the station, and see that it is repaired."""
    async with AsgiServer(app) as server:
        print("before:", await ask(server.port, "GET /"))
        print("strike:", await ask(server.port, "POST /lightning"))
        with anyio.fail_after(10.0):
            said = ""
            while '"repaired":1' not in said:
                said = await ask(server.port, "GET /")
        print("after: ", said)


if __name__ == "__main__":
    backend = sys.argv[1] if len(sys.argv) > 1 else "asyncio"
    run(main(), backend=backend)
