"""A function that a stream of DynamoDB triggers (Python 3.9 or later): hands its event to Riacho, and its answer to Lambda."""
import base64, hmac, json, os, time, urllib.request

KEY = base64.b64decode(os.environ["RIACHO_SECRET"].removeprefix("whsec_"))


def lambda_handler(event, context):
    body = json.dumps(event, ensure_ascii=False).encode()
    # The same for each attempt with these records.
    id = f'{event["Records"][0]["eventID"]}-{len(event["Records"])}'
    timestamp = str(int(time.time()))
    signature = base64.b64encode(hmac.digest(KEY, f"{id}.{timestamp}.".encode() + body, "sha256")).decode()
    headers = {"webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": f"v1,{signature}"}
    headers["content-type"] = "application/json"
    request = urllib.request.Request(os.environ["RIACHO_URL"], body, headers)
    # An answer that is no success is raised, and Lambda then tries all of it again.
    with urllib.request.urlopen(request, timeout=25) as answer:
        return json.load(answer)
