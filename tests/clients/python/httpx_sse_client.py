"""PyPI `httpx-sse`. It reads one answer; to come back with the cursor is the caller's."""

import json
import sys
import time

import httpx
from httpx_sse import connect_sse

url, cursor, retry = sys.argv[1], "", 1.0
with httpx.Client(timeout=httpx.Timeout(10, read=45)) as client:
    while True:
        try:
            with connect_sse(client, "GET", url, headers={"Last-Event-ID": cursor} if cursor else {}) as source:
                for event in source.iter_sse():
                    cursor = event.id or cursor
                    retry = retry if event.retry is None else event.retry / 1000
                    print(json.dumps({"type": event.event, "data": event.data, "id": event.id}), flush=True)
        except httpx.TransportError as err:
            print(repr(err), file=sys.stderr, flush=True)
        time.sleep(retry)
