"""PyPI `sseclient-py` on `requests`. It reads one answer; to come back with the cursor is the caller's."""

import json
import sys
import time

import requests
from sseclient import SSEClient

url, cursor, retry = sys.argv[1], "", 1.0
while True:
    try:
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": cursor} if cursor else {})}
        answer = requests.get(url, stream=True, headers=headers, timeout=(10, 45))
        answer.raise_for_status()
        for event in SSEClient(answer).events():
            cursor = event.id or cursor
            retry = int(event.retry) / 1000 if event.retry else retry
            print(json.dumps({"type": event.event, "data": event.data, "id": event.id}), flush=True)
    except (requests.RequestException, OSError) as err:
        print(repr(err), file=sys.stderr, flush=True)
    time.sleep(retry)
