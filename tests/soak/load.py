"""The load: clients in threads, that send views to the program for as long as it is there, and keep account."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import threading
from typing import Self

from .ledger import Account, Ledger

#: How many clients there are. Every third waits for each of its views to be saved, the others do so now and then; every
#: other one keeps its connection.
CLIENTS = 9
#: How often nobody waits for that. A program that stops finishes the requests in flight: one that waits to be saved would
#: see to it that there is nothing left to save at the very end.
HASTY = 0.4
#: How long a client waits for an answer, in seconds: longer than any violence lasts that the program survives.
PATIENCE = 20.0
#: How many of its views a client sends without waiting for them to be saved.
AT_ONCE = 200


class Load:
    """The clients of one life of the program.

    Args:
        port: Where it serves.
        ledger: Where to keep account.
        rng: Whatever is random.
    """

    def __init__(self, port: int, ledger: Ledger, rng: random.Random) -> None:
        self._port = port
        self._over = threading.Event()
        self._hasty = rng.random() < HASTY
        #: Any status that was not 200.
        self.refused: set[int] = set()
        clients = [
            (ledger.account(f"/client/{number}"), random.Random(rng.random()), number)
            for number in range(CLIENTS)
        ]
        self._threads = [threading.Thread(target=self._view, args=client) for client in clients]
        self._threads.append(threading.Thread(target=self._look_on))

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Wait for the clients, which find out by themselves that the program has ended."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)

    def _view(self, account: Account, rng: random.Random, number: int) -> None:
        patient, keep = number % 3 == 0, number % 2 == 0
        while not self._over.is_set():
            # What a program that ends does to a client: it resets, or closes without an answer.
            with contextlib.suppress(OSError, http.client.HTTPException):
                with contextlib.closing(self._connect()) as connection:
                    for left in range(rng.randint(0, AT_ONCE) if keep else 0, -1, -1):
                        wait = patient or (left == 0 and rng.random() < 0.2)
                        self._post(connection, account, wait=wait and not self._hasty)
            self._over.wait(0.001)

    def _post(
        self, connection: http.client.HTTPConnection, account: Account, *, wait: bool
    ) -> None:
        until = "&until=saved" if wait else ""
        if connection.sock is None:
            connection.connect()  # a view that no connection was there for was not sent
        account.send()
        connection.request("POST", f"/view?path={account.path}{until}")
        answer = connection.getresponse()
        body = answer.read()
        if answer.status == 200:
            account.answered(json.loads(body)["views"], saved=wait)
        else:
            self.refused.add(answer.status)

    def _look_on(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(OSError, http.client.HTTPException):
                with contextlib.closing(self._connect()) as connection:
                    connection.request("GET", "/events")
                    stream = connection.getresponse()
                    while stream.readline() and not self._over.is_set():
                        pass
            self._over.wait(0.01)
