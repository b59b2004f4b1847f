"""Records what an emulator of DynamoDB answers, as the files beside this one.

    python record.py moto http://127.0.0.1:PORT .       # moto_server -p PORT
    python record.py local http://127.0.0.1:PORT .      # DynamoDB Local, -inMemory -sharedDb -port PORT

A fresh emulator for each run. Needs botocore, for signatures. Recorded with moto 5.2.5 and DynamoDB Local 2.6.1.
"""

import json
import sys
import time
import urllib.error
import urllib.request

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

name, base, out = sys.argv[1:4]
OF_STREAMS = ("DescribeStream", "GetShardIterator", "GetRecords")


def call(operation, body, save=None):
    service = "DynamoDBStreams_20120810" if operation in OF_STREAMS else "DynamoDB_20120810"
    headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"{service}.{operation}"}
    data = json.dumps(body)
    request = AWSRequest("POST", base + "/", data=data, headers=headers)
    SigV4Auth(Credentials("AKIDEXAMPLE", "secret"), "dynamodb", "us-east-1").add_auth(request)
    headers = dict(request.headers.items())
    request = urllib.request.Request(base + "/", data=data.encode(), headers=headers, method="POST")
    try:
        text = urllib.request.urlopen(request).read().decode()
    except urllib.error.HTTPError as error:
        text = error.read().decode()
    if save:
        with open(f"{out}/{name}-{save}.json", "w") as file:
            file.write(text + "\n")
    try:
        return json.loads(text)
    except ValueError:
        return text


def create(table, keys, view):
    call("CreateTable", {
        "TableName": table,
        "KeySchema": [{"AttributeName": key, "KeyType": role} for (key, _), role in zip(keys, ("HASH", "RANGE"))],
        "AttributeDefinitions": [{"AttributeName": key, "AttributeType": kind} for key, kind in keys],
        "BillingMode": "PAY_PER_REQUEST",
        "StreamSpecification": {"StreamEnabled": True, "StreamViewType": view},
    })


def put(table, **item):
    call("PutItem", {"TableName": table, "Item": item})


def delete(table, **key):
    call("DeleteItem", {"TableName": table, "Key": key})


def s(text):
    return {"S": text}


def n(text):
    return {"N": str(text)}


def nested(levels):
    value = s("bottom")
    for level in range(levels):
        value = {"M": {"m": value}} if level % 2 else {"L": [value]}
    return value


ANA = {
    "customer": s("ana"), "number": n("1.50E+1"), "total": n("-12345678901234567890.123456789"),
    "small": n("1E-130"), "large": n("9.9999999999999999999999999999999999999E+125"), "zero": n("-0.00"),
    "hundred": n("100.00"), "paid": {"BOOL": True}, "note": {"NULL": True}, "photo": {"B": "AP8/Pg=="},
    "tags": {"SS": ["b", "a", "ü"]}, "sizes": {"NS": ["10", "9.50", "-1"]}, "blobs": {"BS": ["AQI=", "AA=="]},
    "lines": {"L": [{"M": {"sku": s('x"\n'), "n": n(2)}}, n(3), s("")]}, "empty": {"M": {}}, "none": {"L": []},
    "a.b[0]": s("\u2028 🐟"),
}


def orders():
    call("DescribeTable", {"TableName": "absent"}, "error-no-table")
    create("orders", [("customer", "S"), ("number", "N")], "NEW_AND_OLD_IMAGES")
    table = call("DescribeTable", {"TableName": "orders"}, "describe-table")["Table"]
    put("orders", **ANA)
    put("orders", customer=s("deep"), number=n(31), d=nested(31))
    delete("orders", customer=s("deep"), number=n(31))
    call("UpdateItem", {
        "TableName": "orders",
        "Key": {"customer": s("ana"), "number": n(15)},
        "UpdateExpression": "SET paid = :f REMOVE note",
        "ExpressionAttributeValues": {":f": {"BOOL": False}},
    })
    put("orders", customer=s("rui"), number=n(2))
    delete("orders", customer=s("rui"), number=n(2))
    for i in range(3):
        put("orders", customer=s(f"c{i}"), number=n(1))

    scan = {"TableName": "orders", "ConsistentRead": True, "ReturnConsumedCapacity": "TOTAL"}
    call("Scan", scan, "scan")
    call("Scan", {**scan, "Limit": 2, "Segment": 0, "TotalSegments": 1}, "scan-page")
    keys = [{"customer": s("ana"), "number": n(15)}, {"customer": s("absent"), "number": n(1)}]
    call("BatchGetItem", {
        "RequestItems": {"orders": {"Keys": keys, "ConsistentRead": True}},
        "ReturnConsumedCapacity": "TOTAL",
    }, "batch-get")
    stream(table["LatestStreamArn"])


def stream(arn):
    shard = call("DescribeStream", {"StreamArn": arn}, "describe-stream")["StreamDescription"]["Shards"][0]
    place = {"StreamArn": arn, "ShardId": shard["ShardId"]}
    oldest = {**place, "ShardIteratorType": "TRIM_HORIZON"}
    iterator = call("GetShardIterator", oldest, "get-shard-iterator")["ShardIterator"]
    call("GetRecords", {"ShardIterator": iterator}, "get-records")
    call("GetRecords", {"ShardIterator": "nonsense"}, "error-iterator")
    at = {**place, "ShardIteratorType": "AT_TIMESTAMP", "Timestamp": time.time()}
    call("GetShardIterator", at, "get-shard-iterator-at-timestamp")
    call("UpdateTable", {"TableName": "orders", "StreamSpecification": {"StreamEnabled": False}})
    call("DescribeTable", {"TableName": "orders"}, "describe-table-disabled")
    # moto knows no closed streams, and takes any ARN.
    if name == "local":
        call("DescribeStream", {"StreamArn": arn + "x"}, "error-no-stream")
        call("DescribeStream", {"StreamArn": arn}, "describe-stream-closed")
        iterator = call("GetShardIterator", oldest)["ShardIterator"]
        page = call("GetRecords", {"ShardIterator": iterator, "Limit": 3})
        while page.get("NextShardIterator"):
            page = call("GetRecords", {"ShardIterator": page["NextShardIterator"]}, "get-records-closed")


def view(view):
    table = view.replace("_", "").lower()
    create(table, [("id", "B")], view)
    key = {"B": "AQI="}
    put(table, id=key, x=n(1))
    put(table, id=key, x=n(2))
    delete(table, id=key)
    arn = call("DescribeTable", {"TableName": table})["Table"]["LatestStreamArn"]
    shard = call("DescribeStream", {"StreamArn": arn})["StreamDescription"]["Shards"][0]["ShardId"]
    oldest = {"StreamArn": arn, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"}
    iterator = call("GetShardIterator", oldest)["ShardIterator"]
    call("GetRecords", {"ShardIterator": iterator}, "get-records-" + view.replace("_", "-").lower())


orders()
for each in ("KEYS_ONLY", "NEW_IMAGE", "OLD_IMAGE"):
    view(each)
