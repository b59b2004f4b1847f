//! What DynamoDB says and is asked: recordings of two emulators (`tests/it/dynamodb`, made with `record.py` there), shapes that the
//! service's guides show, and what is none of it.

use riacho_core::{
    source::dynamodb::{
        answer::{BatchGet, Iterator, Records, Scan, ServiceError, StreamPage, Table},
        export::Line,
        item::Item,
        record::{Operation, RECORDS_MAX, Record, ViewType, lambda_records},
        request,
        sequence::SequenceNumber,
        value::Kind,
    },
    table,
};
use serde_json::{Value, json};
use std::{fs, path::PathBuf};

const EMULATORS: [&str; 2] = ["local", "moto"];

#[test]
fn the_same_item_is_the_same_row_whoever_wrote_it() {
    let row = r#"{"a.b[0]":"\u2028 🐟","blobs":["AA==","AQI="],"customer":"ana","empty":{},"hundred":100,"large":"9.9999999999999999999999999999999999999E+125","lines":[{"n":2,"sku":"x\"\n"},3,""],"none":[],"number":15,"paid":false,"photo":"AP8/Pg==","sizes":[-1,9.5,10],"small":1E-130,"tags":["a","b","ü"],"total":"-12345678901234567890.123456789","zero":0}"#;
    for emulator in EMULATORS {
        let scan = Scan::parse(&recorded(&format!("{emulator}-scan"))).unwrap();
        let mut rows: Vec<String> = scan.items.iter().map(json_of).collect();
        rows.sort();
        assert_eq!(rows[0], row, "{emulator}");
        assert_eq!(rows[1], r#"{"customer":"c0","number":1}"#, "{emulator}");
        assert_eq!(table::value::value(row).as_deref(), Ok(row));

        let batch = BatchGet::parse(&recorded(&format!("{emulator}-batch-get"))).unwrap();
        assert_eq!(batch.items.iter().map(json_of).collect::<Vec<_>>(), [row], "{emulator}");
        assert!(batch.unprocessed.is_empty() && batch.consumed_units >= 1.0, "{emulator}");
    }
}

#[test]
fn pages_of_a_scan_say_where_to_go_on() {
    for emulator in EMULATORS {
        let whole = Scan::parse(&recorded(&format!("{emulator}-scan"))).unwrap();
        assert_eq!((whole.last, whole.scanned), (None, 4), "{emulator}");
        let page = Scan::parse(&recorded(&format!("{emulator}-scan-page"))).unwrap();
        let last = page.last.unwrap();
        let table = Table::parse(&recorded(&format!("{emulator}-describe-table"))).unwrap();
        assert!(table.keys.fits(&last), "{emulator}");
        assert!(!whole.items.iter().all(|item| table.keys.fits(item)), "most have more than a key");
        assert_eq!((page.scanned, page.consumed_units), (2, 1.0), "{emulator}");
        assert_eq!(table.keys.text(&last), table.keys.text(&page.items[1]), "{emulator}");
    }
}

#[test]
fn tables_and_streams_are_described() {
    for emulator in EMULATORS {
        let table = Table::parse(&recorded(&format!("{emulator}-describe-table"))).unwrap();
        assert_eq!((&*table.name, &*table.status, &*table.keys.hash), ("orders", "ACTIVE", "customer"));
        assert_eq!(table.keys.range.as_deref(), Some("number"));
        assert_eq!(table.types.key_kind("customer"), Some(Kind::S));
        assert_eq!(table.types.key_kind("number"), Some(Kind::N));
        assert_eq!((table.id.as_deref(), table.items, table.bytes), (None, Some(0), Some(0)));
        assert!(table.created.unwrap() > 1_700_000_000_000, "milliseconds");
        let stream = table.stream.unwrap();
        assert_eq!(stream.view, ViewType::NewAndOldImages);

        let page = StreamPage::parse(&recorded(&format!("{emulator}-describe-stream"))).unwrap();
        assert_eq!((&page.arn, &page.label, page.view), (&stream.arn, &stream.label, Some(stream.view)));
        assert_eq!((&*page.status, page.last.as_deref(), page.shards.len()), ("ENABLED", None, 1));
        let shard = &page.shards[0];
        assert!(shard.parent.is_none() && shard.starts.is_some() && shard.ends.is_none(), "{emulator}");

        let disabled = Table::parse(&recorded(&format!("{emulator}-describe-table-disabled"))).unwrap();
        assert_eq!(disabled.stream, None, "{emulator}");
        let iterator = Iterator::parse(&recorded(&format!("{emulator}-get-shard-iterator"))).unwrap();
        assert!(iterator.iterator.starts_with("arn:aws:dynamodb:"), "{emulator}");
    }
    let mut disabled = read(&String::from_utf8(recorded("moto-describe-table")).unwrap());
    disabled["Table"]["StreamSpecification"]["StreamEnabled"] = json!(false);
    disabled["Table"]["TableId"] = json!("12345a12-abcd-123a-ab12-1234abc12345");
    let disabled = Table::parse(&bytes(&disabled)).unwrap();
    assert_eq!(disabled.stream, None, "its last stream is still named");
    assert_eq!(disabled.id.as_deref(), Some("12345a12-abcd-123a-ab12-1234abc12345"));
    let closed = StreamPage::parse(&recorded("local-describe-stream-closed")).unwrap();
    assert_eq!(&*closed.status, "DISABLED");
    assert_eq!(closed.shards[0].ends, "9".parse().ok(), "zeros before it do not count");
}

#[test]
fn a_page_of_many_shards_says_where_the_next_begins() {
    let body = json!({"StreamDescription": {
        "StreamArn": "arn", "StreamLabel": "2026", "StreamStatus": "ENABLED", "StreamViewType": "KEYS_ONLY",
        "TableName": "orders", "LastEvaluatedShardId": "shardId-2",
        "Shards": [
            {"ShardId": "shardId-1", "SequenceNumberRange":
                {"StartingSequenceNumber": "100000000000000000001", "EndingSequenceNumber": "100000000000000000009"}},
            {"ShardId": "shardId-2", "ParentShardId": "shardId-1", "SequenceNumberRange":
                {"StartingSequenceNumber": "100000000000000000010"}},
        ],
    }});
    let page = StreamPage::parse(&bytes(&body)).unwrap();
    assert_eq!(page.last.as_deref(), Some("shardId-2"));
    assert_eq!(page.shards[1].parent.as_deref(), Some("shardId-1"));
    assert!(page.shards[0].ends < page.shards[1].starts);
}

#[test]
fn records_say_what_was_done_to_which_item() {
    for emulator in EMULATORS {
        let table = Table::parse(&recorded(&format!("{emulator}-describe-table"))).unwrap();
        let answer = Records::parse(&recorded(&format!("{emulator}-get-records"))).unwrap();
        let done: Vec<_> = answer
            .records
            .iter()
            .map(|record| (record.operation, table.keys.text(&record.keys).unwrap().into_string()))
            .collect();
        let want = [
            (Operation::Insert, r#"["ana",15]"#),
            (Operation::Insert, r#"["deep",31]"#),
            (Operation::Remove, r#"["deep",31]"#),
            (Operation::Modify, r#"["ana",15]"#),
            (Operation::Insert, r#"["rui",2]"#),
            (Operation::Remove, r#"["rui",2]"#),
            (Operation::Insert, r#"["c0",1]"#),
            (Operation::Insert, r#"["c1",1]"#),
            (Operation::Insert, r#"["c2",1]"#),
        ];
        assert_eq!(done, want.map(|(operation, key)| (operation, key.to_owned())), "{emulator}");
        assert!(answer.records.is_sorted_by(|a, b| a.sequence < b.sequence), "{emulator}");
        assert!(answer.next.is_some(), "{emulator}");
        for record in &answer.records {
            assert_eq!(record.new.is_some(), record.operation != Operation::Remove);
            assert!(!record.by_ttl && record.stream_arn.is_none() && record.event_id.is_some());
            assert!(record.time.unwrap() > 1_700_000_000_000, "milliseconds");
            for part in record.keys.attributes() {
                assert!(record.new.iter().all(|new| new.attributes().contains(part)), "{emulator}");
            }
        }
        let scan = Scan::parse(&recorded(&format!("{emulator}-scan"))).unwrap();
        assert!(scan.items.contains(answer.records[3].new.as_ref().unwrap()), "the last image is the item");
    }
    let closed = Records::parse(&recorded("local-get-records-closed")).unwrap();
    assert_eq!((closed.records.len(), closed.next), (6, None));
}

#[test]
fn views_say_what_records_have() {
    for emulator in EMULATORS {
        for (file, view, images) in [
            ("keys-only", ViewType::KeysOnly, [false; 3]),
            ("old-image", ViewType::OldImage, [false; 3]),
            ("new-image", ViewType::NewImage, [true, true, false]),
        ] {
            let answer = Records::parse(&recorded(&format!("{emulator}-get-records-{file}"))).unwrap();
            let got: Vec<bool> = answer.records.iter().map(|record| record.new.is_some()).collect();
            assert_eq!(got, images, "{emulator} {file}");
            assert!(answer.records.iter().all(|record| record.view == Some(view)), "{emulator} {file}");
        }
    }
}

#[test]
fn errors_have_a_name() {
    for (file, code) in [
        ("local-error-no-table", Some("ResourceNotFoundException")),
        ("moto-error-no-table", Some("ResourceNotFoundException")),
        ("local-error-no-stream", Some("ResourceNotFoundException")),
        ("local-error-iterator", Some("ValidationException")),
        ("local-get-shard-iterator-at-timestamp", Some("ValidationException")),
        // A page of HTML.
        ("moto-error-iterator", None),
    ] {
        let error = ServiceError::parse(&recorded(file));
        assert_eq!(error.as_ref().map(|error| &*error.code), code, "{file}");
        assert!(error.is_none_or(|error| !error.message.is_empty()), "{file}");
    }
    for (body, code) in [
        (r#"{"__type":"ExpiredIteratorException:http://internal/"}"#, Some("ExpiredIteratorException")),
        (r#"{"code":"a#ThrottlingException","message":null}"#, Some("ThrottlingException")),
        (r#"{"__type":"x#"}"#, None),
        (r#"{"message":"no name"}"#, None),
        ("[]", None),
    ] {
        let error = ServiceError::parse(body.as_bytes());
        assert_eq!(error.as_ref().map(|error| &*error.code), code, "{body}");
    }
}

#[test]
fn answers_that_are_something_else_say_what_is_wrong() {
    let refused = |body: &[u8]| {
        [
            Table::parse(body).unwrap_err().to_string(),
            StreamPage::parse(body).unwrap_err().to_string(),
            Iterator::parse(body).unwrap_err().to_string(),
            Records::parse(body).unwrap_err().to_string(),
            Scan::parse(body).unwrap_err().to_string(),
            BatchGet::parse(body).unwrap_err().to_string(),
        ]
    };
    for body in [&b"<html>"[..], b"", b"[]", b"null", b"\xff", b"{}"] {
        for message in refused(body) {
            assert!(message.starts_with("the answer of "), "{message}");
        }
    }
    let record = |value: Value| Records::parse(&bytes(&json!({"Records": [value]}))).unwrap_err().to_string();
    let mut poison = insert("5");
    poison["dynamodb"]["NewImage"]["id"] = json!({"S": 5});
    assert_eq!(
        record(poison),
        "the answer of GetRecords cannot be read: the record 5 cannot be read: in `NewImage` the attribute \"id\" is not \
         the string that its type has"
    );
    let table = r#"{"Table":{"TableName":"t","TableArn":"a","TableStatus":"ACTIVE","KeySchema":[]}}"#;
    assert_eq!(
        Table::parse(table.as_bytes()).unwrap_err().to_string(),
        "the answer of DescribeTable cannot be read: `KeySchema` has no HASH"
    );
}

#[test]
fn one_bad_record_of_an_event_does_not_spoil_the_others() {
    let with = |change: &dyn Fn(&mut Value)| {
        let mut record = insert("7");
        change(&mut record);
        record
    };
    let deep = (0..40).fold(json!({"S": "bottom"}), |deep, _| json!({"L": [deep]}));
    let cases = [
        (insert("1"), None),
        (with(&|record| record["eventSource"] = json!("aws:kinesis")), Some("another service")),
        (
            with(&|record| drop(record.as_object_mut().unwrap().remove("eventSource"))),
            Some("`eventSource` is missing"),
        ),
        (with(&|record| record["eventName"] = json!("UPSERT")), Some("`eventName`")),
        (with(&|record| record["dynamodb"]["NewImage"] = Value::Null), Some("no `NewImage`")),
        (
            with(&|record| record["dynamodb"]["NewImage"]["x"] = json!({"N": "1e200"})),
            Some("1E+126 or larger"),
        ),
        (
            with(&|record| record["dynamodb"]["NewImage"]["x"] = json!({"N": "1", "S": "1"})),
            Some("exactly one type"),
        ),
        (with(&|record| record["dynamodb"]["NewImage"]["x"] = json!({"B": "AQI"})), Some("not base64")),
        (
            with(&|record| record["dynamodb"]["NewImage"]["x"] = deep.clone()),
            Some("more than 32 maps and lists"),
        ),
        (with(&|record| record["dynamodb"]["ApproximateCreationDateTime"] = json!("now")), Some("no time")),
        (with(&|record| record["dynamodb"]["StreamViewType"] = json!("ALL")), Some("`StreamViewType`")),
        (
            with(&|record| drop(record["dynamodb"].as_object_mut().unwrap().remove("Keys"))),
            Some("`Keys` is missing"),
        ),
        (insert("2"), None),
    ];
    let event = json!({"Records": cases.iter().map(|(record, _)| record).collect::<Vec<_>>()});
    let got = lambda_records(&bytes(&event)).unwrap();
    assert_eq!(got.len(), cases.len());
    for (got, (_, want)) in got.iter().zip(&cases) {
        match (got, want) {
            (Ok(record), None) => assert_eq!(record.operation, Operation::Insert),
            (Err(bad), Some(want)) => {
                assert!(bad.reason.contains(want), "{bad}");
                assert_eq!(bad.sequence, "7".parse().ok(), "{bad}");
            }
            _ => panic!("{got:?} {want:?}"),
        }
    }
    // Deeper than it is read at all, and a half of a surrogate pair: the number is found all the same.
    for value in ["[".repeat(500) + &"]".repeat(500), r#""\ud800""#.to_owned()] {
        let text = insert("8").to_string().replace(r#""new""#, &value);
        let got = lambda_records(format!(r#"{{"Records":[{text},{}]}}"#, insert("9")).as_bytes()).unwrap();
        assert_eq!(got[0].as_ref().unwrap_err().sequence, "8".parse().ok());
        assert_eq!(got[1].as_ref().unwrap().sequence, "9".parse().unwrap());
    }
}

#[test]
fn what_is_no_event_of_a_lambda_is_one_error() {
    let many = vec![0; RECORDS_MAX + 1];
    for event in [
        "",
        "null",
        "[]",
        "{}",
        r#"{"records":[]}"#,
        r#"{"Records":{}}"#,
        r#"{"Records":[}"#,
        r#"{"Records":[]} x"#,
        &json!({"Records": many}).to_string(),
    ] {
        assert!(lambda_records(event.as_bytes()).is_err(), "{event}");
    }
    assert!(lambda_records(b"{\"Records\":[\"\xff\"]}").is_err());
    assert_eq!(lambda_records(br#"{"a":[{"Records":1}],"Records":[]}"#), Ok(vec![]));
}

#[test]
fn removals_by_time_to_live_are_marked() {
    let record = |name: &str, identity: Value| {
        let mut record = insert("1");
        record["eventName"] = json!(name);
        record["userIdentity"] = identity;
        Record::parse(&record).unwrap()
    };
    let lambda = json!({"type": "Service", "principalId": "dynamodb.amazonaws.com"});
    let stream = json!({"Type": "Service", "PrincipalId": "dynamodb.amazonaws.com"});
    let other = json!({"type": "Service", "principalId": "other.amazonaws.com"});
    assert!(record("REMOVE", lambda.clone()).by_ttl);
    assert!(record("REMOVE", stream).by_ttl);
    assert!(!record("MODIFY", lambda).by_ttl);
    assert!(!record("REMOVE", other).by_ttl);
    assert!(!record("REMOVE", Value::Null).by_ttl);
    assert_eq!(record("REMOVE", Value::Null).new, None, "whatever image is sent with it");
}

#[test]
fn times_are_seconds_with_or_without_a_fraction() {
    for (time, millis) in [
        (json!(1_479_499_740), Some(1_479_499_740_000)),
        (json!(1_795_306_651.802), Some(1_795_306_651_802)),
        (json!(1.795_306_620e9), Some(1_795_306_620_000)),
        (Value::Null, None),
    ] {
        let mut record = insert("1");
        record["dynamodb"]["ApproximateCreationDateTime"] = time;
        assert_eq!(Record::parse(&record).unwrap().time, millis);
    }
}

#[test]
fn requests_are_what_the_service_takes() {
    let key = Item::parse(&json!({"id": {"S": "a\""}, "n": {"N": "1.50"}})).unwrap();
    let sequence: SequenceNumber = "000000000000000000001".parse().unwrap();
    let iterator = |from| read(&request::get_shard_iterator("arn", "shard", &from));
    let page = request::Page { table: "orders", segment: (1, 4), after: Some(&key), limit: Some(0) };
    for (body, want) in [
        (read(&request::describe_table("orders")), json!({"TableName": "orders"})),
        (read(&request::describe_stream("arn", None)), json!({"StreamArn": "arn"})),
        (
            read(&request::describe_stream("arn", Some("s"))),
            json!({"StreamArn": "arn", "ExclusiveStartShardId": "s"}),
        ),
        (
            iterator(request::From::TrimHorizon),
            json!({"StreamArn": "arn", "ShardId": "shard", "ShardIteratorType": "TRIM_HORIZON"}),
        ),
        (
            iterator(request::From::Latest),
            json!({"StreamArn": "arn", "ShardId": "shard", "ShardIteratorType": "LATEST"}),
        ),
        (
            iterator(request::From::At(sequence.clone())),
            json!({"StreamArn": "arn", "ShardId": "shard", "ShardIteratorType": "AT_SEQUENCE_NUMBER",
                "SequenceNumber": "000000000000000000001"}),
        ),
        (
            iterator(request::From::After(sequence)),
            json!({"StreamArn": "arn", "ShardId": "shard", "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
                "SequenceNumber": "000000000000000000001"}),
        ),
        (
            iterator(request::From::AtTimestamp(1_791_316_726_048)),
            json!({"StreamArn": "arn", "ShardId": "shard", "ShardIteratorType": "AT_TIMESTAMP",
                "Timestamp": 1_791_316_726.048}),
        ),
        (read(&request::get_records("i", None)), json!({"ShardIterator": "i"})),
        (read(&request::get_records("i", Some(5000))), json!({"ShardIterator": "i", "Limit": 1000})),
        (
            read(&request::scan(&page)),
            json!({"TableName": "orders", "ConsistentRead": true, "ReturnConsumedCapacity": "TOTAL", "Segment": 1,
                "TotalSegments": 4, "Limit": 1, "ExclusiveStartKey": {"id": {"S": "a\""}, "n": {"N": "1.5"}}}),
        ),
        (
            read(&request::batch_get_item("orders", [&key, &Item::default()])),
            json!({"ReturnConsumedCapacity": "TOTAL", "RequestItems": {"orders": {"ConsistentRead": true,
                "Keys": [{"id": {"S": "a\""}, "n": {"N": "1.5"}}, {}]}}}),
        ),
    ] {
        assert_eq!(body, want);
    }
    assert_eq!(request::Operation::GetRecords.target(), "DynamoDBStreams_20120810.GetRecords");
    assert_eq!(request::Operation::BatchGetItem.as_str(), "BatchGetItem");
}

#[test]
fn keys_that_were_not_read_are_asked_for_again() {
    let body = json!({
        "Responses": {"orders": []},
        "UnprocessedKeys": {"orders": {"Keys": [{"id": {"S": "a"}}], "ConsistentRead": true}},
        "ConsumedCapacity": [{"CapacityUnits": 1.5}, {"CapacityUnits": 2.0}],
    });
    let batch = BatchGet::parse(&bytes(&body)).unwrap();
    assert_eq!(batch.unprocessed.iter().map(json_of).collect::<Vec<_>>(), [r#"{"id":"a"}"#]);
    assert_eq!((batch.items.len(), batch.consumed_units), (0, 3.5));
}

#[test]
fn lines_of_exports_are_items_or_what_became_of_them() {
    let line = |text: &str| Line::parse(text.as_bytes());
    let item = |text: &str| match line(text) {
        Ok(Some(Line::Item(item))) => json_of(&item),
        other => panic!("{other:?}"),
    };
    assert_eq!(item(r#"{"Item":{"id":{"S":"a"},"n":{"N":"1.0"}}}"#), r#"{"id":"a","n":1}"#);
    assert_eq!(item(r#"{"id":{"S":"a"}}"#), r#"{"id":"a"}"#);
    assert_eq!(item(r#"{"Item":{"S":"a"}}"#), r#"{"Item":"a"}"#, "an attribute of that name");
    assert_eq!(item(r#"{"Item":{"M":{}}}"#), r#"{"Item":{}}"#);
    assert_eq!(item(r#"{"Item":{"S":{"S":"a"}}}"#), r#"{"S":"a"}"#, "an attribute named like a type");
    assert_eq!(item(r#"{"Keys":{"S":"a"},"Metadata":{"S":"b"}}"#), r#"{"Keys":"a","Metadata":"b"}"#);
    assert_eq!(line(" \r\n"), Ok(None));

    for micros in [r#""1680109764000000""#, r#"{"N":"1680109764000000"}"#] {
        let head = format!(r#"{{"Metadata":{{"WriteTimestampMicros":{micros}}},"Keys":{{"id":{{"S":"a"}}}}"#);
        let Ok(Some(Line::Change { keys, new, written_micros })) =
            line(&format!(r#"{head},"OldImage":{{"id":{{"S":"a"}}}}}}"#))
        else {
            panic!()
        };
        assert_eq!((json_of(&keys), new), (r#"{"id":"a"}"#.to_owned(), None), "it is gone");
        assert_eq!(written_micros, Some(1_680_109_764_000_000));
        let Ok(Some(Line::Change { new, .. })) =
            line(&format!(r#"{head},"NewImage":{{"id":{{"S":"a"}},"b":{{"BOOL":true}}}}}}"#))
        else {
            panic!()
        };
        assert_eq!(new.as_ref().map(json_of).as_deref(), Some(r#"{"b":true,"id":"a"}"#));
    }
    for bad in
        ["x", "[]", r#"{"Item":{"id":"a"}}"#, r#"{"id":"a"}"#, r#"{"Item":{"a":{"S":"a"}},"b":1}"#, "\u{1}"]
    {
        assert!(line(bad).is_err(), "{bad}");
    }
}

/// A record as the guide to Lambda shows it.
fn insert(sequence: &str) -> Value {
    json!({
        "eventID": "1", "eventName": "INSERT", "eventVersion": "1.0", "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1",
        "dynamodb": {
            "Keys": {"id": {"N": "101"}},
            "NewImage": {"id": {"N": "101"}, "message": {"S": "new"}},
            "SequenceNumber": sequence, "SizeBytes": 26, "StreamViewType": "NEW_AND_OLD_IMAGES",
        },
        "eventSourceARN": "arn:aws:dynamodb:us-east-1:123456789012:table/orders/stream/2026-11-22T00:00:00.000",
    })
}

fn json_of(item: &Item) -> String {
    let mut out = String::new();
    item.json(None, &mut out);
    out
}

fn read(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn recorded(name: &str) -> Vec<u8> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/dynamodb");
    fs::read(directory.join(format!("{name}.json"))).unwrap()
}
