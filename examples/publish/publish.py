"""Python, without packages: python3 publish.py"""
import http.server, os, time, urllib.error, urllib.request, uuid

def publish(stream, body, kind, tries=10):
    headers = {"Content-Type": "application/json", "Idempotency-Key": str(uuid.uuid4())}
    url = f"{os.environ.get('RIACHO', 'http://127.0.0.1:4700')}/streams/{stream}?type={kind}"
    for left in reversed(range(tries)):  # The same key is the same event.
        try:
            return 201, urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=10).read()
        except OSError as err:  # A refusal is one too; only what may pass is sent again.
            if getattr(err, "code", 500) < 500 or not left: return getattr(err, "code", 502), getattr(err, "read", bytes)()
            time.sleep(1)

class Orders(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        status, answer = publish("orders", self.rfile.read(int(self.headers["Content-Length"])), "placed")
        self.send_response(status); self.end_headers(); self.wfile.write(answer)

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", 3000))), Orders).serve_forever()
