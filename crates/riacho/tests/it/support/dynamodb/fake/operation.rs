//! Requests and answers, by AWS's names.

use super::{
    Keys, Shared, Start, TEN_PER_SECOND, View,
    shard::{self, Iterator, Shard},
    world::{Place, Stream, Table, World, arn_of},
};
use serde_json::{Map, Value, json};
use std::ops::Bound;

/// An error of the service.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: String,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into() }
    }

    pub(super) fn validation(message: impl Into<String>) -> Self {
        Self::new("ValidationException", message)
    }

    pub(super) fn status(&self) -> u16 {
        if matches!(self.code.as_str(), "InternalServerError" | "ServiceUnavailable") { 500 } else { 400 }
    }

    pub(super) fn body(&self) -> String {
        let space = if self.code == "ValidationException" {
            "com.amazon.coral.validate"
        } else {
            "com.amazonaws.dynamodb.v20120810"
        };
        json!({"__type": format!("{space}#{}", self.code), "message": self.message}).to_string()
    }
}

/// Carries out what is asked for.
pub(super) fn answer(shared: &Shared, operation: &str, body: &[u8]) -> Result<String, Refusal> {
    let bad = |_| Refusal::new("SerializationException", "the body is no JSON");
    let body: Value = serde_json::from_slice(body).map_err(bad)?;
    let world = &mut *shared.world();
    match operation {
        "CreateTable" => create_table(world, &body),
        "UpdateTable" => update_table(world, &body),
        "DeleteTable" => {
            world.delete_table(text(&body, "TableName")?)?;
            Ok("{}".to_owned())
        }
        "DescribeTable" => describe_table(world, &body),
        "ListTables" => Ok(json!({"TableNames": world.tables.keys().collect::<Vec<_>>()}).to_string()),
        "PutItem" => write(world, text(&body, "TableName")?, &json!({"PutRequest": body})),
        "DeleteItem" => write(world, text(&body, "TableName")?, &json!({"DeleteRequest": body})),
        "BatchWriteItem" => batch_write(world, &body),
        "TransactWriteItems" => transact(world, &body),
        "Scan" => scan(world, &body),
        "BatchGetItem" => batch_get(world, &body),
        "DescribeStream" => {
            let (left_out, shown_open) = shared.script().unsaid();
            describe_stream(world, &body, &left_out, &shown_open)
        }
        "GetShardIterator" => get_shard_iterator(world, &body),
        "GetRecords" => get_records(world, &body),
        _ => Err(Refusal::new("UnknownOperationException", "")),
    }
}

fn create_table(world: &mut World, body: &Value) -> Result<String, Refusal> {
    let name = text(body, "TableName")?;
    let kind = |attribute: &str| {
        let of = |definition: &&Value| definition["AttributeName"] == attribute;
        let found = list(body, "AttributeDefinitions").iter().find(of);
        found.and_then(|definition| definition["AttributeType"].as_str())
    };
    let key = |role: &str| {
        let found = list(body, "KeySchema").iter().find(|key| key["KeyType"] == role)?;
        let attribute = found["AttributeName"].as_str()?;
        Some((attribute, kind(attribute)?))
    };
    let hash = key("HASH").ok_or_else(|| Refusal::validation("No HASH in KeySchema"))?;
    let view = view_of(body)?.flatten();
    world.create_table(name, Keys { hash, range: key("RANGE") }, view, 1)?;
    described(world, name, "TableDescription")
}

fn update_table(world: &mut World, body: &Value) -> Result<String, Refusal> {
    let name = text(body, "TableName")?;
    match view_of(body)? {
        Some(Some(view)) => drop(world.enable_stream(name, view, 1)?),
        Some(None) => world.disable_stream(name)?,
        None => {}
    }
    described(world, name, "TableDescription")
}

/// What a request says of the stream, if anything: its view, or that there is to be none.
fn view_of(body: &Value) -> Result<Option<Option<View>>, Refusal> {
    let Some(asked) = body.get("StreamSpecification") else { return Ok(None) };
    if asked["StreamEnabled"] != true {
        return Ok(Some(None));
    }
    let view = View::parse(text(asked, "StreamViewType")?);
    view.map(|view| Some(Some(view))).ok_or_else(|| Refusal::validation("StreamViewType is not known"))
}

fn describe_table(world: &World, body: &Value) -> Result<String, Refusal> {
    let name = text(body, "TableName")?;
    described(world, name.rsplit('/').next().unwrap_or(name), "Table")
}

fn described(world: &World, name: &str, as_what: &str) -> Result<String, Refusal> {
    let table = world.table(name)?;
    let role = |at: usize| if at == 0 { "HASH" } else { "RANGE" };
    let schema = table.keys.iter().enumerate();
    let schema: Vec<_> =
        schema.map(|(at, (name, _))| json!({"AttributeName": name, "KeyType": role(at)})).collect();
    let definitions: Vec<_> =
        table.keys.iter().map(|(name, kind)| json!({"AttributeName": name, "AttributeType": kind})).collect();
    let bytes: usize = table.items.values().map(|stored| stored.json.len()).sum();
    let mut description = json!({
        "TableName": name, "TableArn": arn_of(name), "TableId": table.id, "TableStatus": "ACTIVE",
        "CreationDateTime": seconds(table.created), "KeySchema": schema, "AttributeDefinitions": definitions,
        "ItemCount": table.items.len(), "TableSizeBytes": bytes,
    });
    if let Some((arn, stream)) = table.stream.as_ref().and_then(|arn| Some((arn, world.streams.get(arn)?))) {
        description["LatestStreamArn"] = arn.clone().into();
        description["LatestStreamLabel"] = stream.label.clone().into();
        if stream.enabled {
            description["StreamSpecification"] =
                json!({"StreamEnabled": true, "StreamViewType": stream.view.name()});
        }
    }
    Ok(Value::Object(Map::from_iter([(as_what.to_owned(), description)])).to_string())
}

// Writes.

fn write(world: &mut World, table: &str, request: &Value) -> Result<String, Refusal> {
    if request.pointer("/PutRequest/ConditionExpression").is_some() {
        return Err(Refusal::validation("conditions are not for this fake"));
    }
    if let Some(item) = request.pointer("/PutRequest/Item") {
        world.put(table, item.clone())?;
    } else if let Some(key) = request.pointer("/DeleteRequest/Key") {
        world.delete(table, key, false)?;
    } else {
        return Err(Refusal::validation("neither an item nor a key"));
    }
    Ok("{}".to_owned())
}

fn batch_write(world: &mut World, body: &Value) -> Result<String, Refusal> {
    for (table, requests) in body["RequestItems"].as_object().into_iter().flatten() {
        for request in requests.as_array().into_iter().flatten() {
            write(world, table, request)?;
        }
    }
    Ok(json!({"UnprocessedItems": {}}).to_string())
}

fn transact(world: &mut World, body: &Value) -> Result<String, Refusal> {
    for request in list(body, "TransactItems") {
        for (name, of) in [("Put", "PutRequest"), ("Delete", "DeleteRequest")] {
            if let Some(asked) = request.get(name) {
                let request = Value::Object(Map::from_iter([(of.to_owned(), asked.clone())]));
                write(world, text(asked, "TableName")?, &request)?;
            }
        }
    }
    Ok("{}".to_owned())
}

// Reads.

fn scan(world: &World, body: &Value) -> Result<String, Refusal> {
    let name = text(body, "TableName")?;
    let table = world.table(name.rsplit('/').next().unwrap_or(name))?;
    let (segment, segments) =
        (number(body, "Segment").unwrap_or(0), number(body, "TotalSegments").unwrap_or(1));
    if segment >= segments {
        return Err(Refusal::validation("The Segment parameter must be less than parameter TotalSegments"));
    }
    let limit = usize::try_from(number(body, "Limit").unwrap_or(u64::MAX)).unwrap();
    let (from, below) = bounds(segment, segments);
    let after = body.get("ExclusiveStartKey").map(|key| table.place(key)).transpose()?;
    let from = after.map_or(Bound::Included((from, String::new())), Bound::Excluded);
    let below = below.map_or(Bound::Unbounded, |hash| Bound::Excluded((hash, String::new())));
    let (mut items, mut count, mut bytes, mut last) = (String::new(), 0, 0, None);
    for (_, stored) in table.items.range::<Place, _>((from, below)) {
        if count > 0 {
            items.push(',');
        }
        items.push_str(&stored.json);
        count += 1;
        bytes += stored.json.len();
        // As the service: the last page may say that there is another, which is empty.
        if count == limit || bytes >= world.page_bytes {
            last = Some(table.key_of(&stored.item));
            break;
        }
    }
    let last = last.map(|key| format!(r#","LastEvaluatedKey":{key}"#)).unwrap_or_default();
    let consumed = consumed(body, name, bytes);
    Ok(format!(r#"{{"Items":[{items}],"Count":{count},"ScannedCount":{count}{last}{consumed}}}"#))
}

/// The hashes of a segment: from, and below.
fn bounds(segment: u64, segments: u64) -> (u64, Option<u64>) {
    let edge =
        |at: u64| u64::try_from((u128::from(u64::MAX) + 1) * u128::from(at) / u128::from(segments)).ok();
    (edge(segment).unwrap(), edge(segment + 1))
}

/// A consistent read costs a unit for each 4 KiB.
fn consumed(body: &Value, table: &str, bytes: usize) -> String {
    if body.get("ReturnConsumedCapacity").is_none_or(|how| how == "NONE") {
        return String::new();
    }
    let per_unit = if body["ConsistentRead"] == true { 1.0 } else { 0.5 };
    let units = per_unit * f64::from(u32::try_from(bytes.div_ceil(4096).max(1)).unwrap());
    format!(r#","ConsumedCapacity":{{"TableName":"{table}","CapacityUnits":{units:.1}}}"#)
}

fn batch_get(world: &World, body: &Value) -> Result<String, Refusal> {
    let (mut responses, mut unprocessed, mut capacity) = (Map::new(), Map::new(), Vec::new());
    for (name, request) in body["RequestItems"].as_object().into_iter().flatten() {
        let table = world.table(name)?;
        let keys = list(request, "Keys");
        if keys.len() > 100 {
            return Err(Refusal::validation("Too many items requested for the BatchGetItem call"));
        }
        let (mut items, mut left, mut bytes) = (vec![], vec![], 0);
        for key in keys {
            if bytes >= world.page_bytes {
                left.push(key.clone());
            } else if let Some(stored) = table.items.get(&table.place(key)?) {
                bytes += stored.json.len();
                items.push(stored.item.clone());
            }
        }
        if !left.is_empty() {
            unprocessed
                .insert(name.clone(), json!({"Keys": left, "ConsistentRead": request["ConsistentRead"]}));
        }
        responses.insert(name.clone(), items.into());
        capacity.push(json!({"TableName": name, "CapacityUnits": bytes.div_ceil(4096).max(1)}));
    }
    let mut answer = json!({"Responses": responses, "UnprocessedKeys": unprocessed});
    if body.get("ReturnConsumedCapacity").is_some() {
        answer["ConsumedCapacity"] = capacity.into();
    }
    Ok(answer.to_string())
}

// Streams.

fn describe_stream(
    world: &mut World,
    body: &Value,
    left_out: &[String],
    shown_open: &[String],
) -> Result<String, Refusal> {
    let arn = text(body, "StreamArn")?;
    let (now, rates, per_page) = (world.now(), world.rates, world.shards_per_page);
    let (stream, table) = stream(world, arn)?;
    if rates && !shard::may_ask(&mut stream.described, now, TEN_PER_SECOND) {
        return Err(Refusal::new("ThrottlingException", "Rate exceeded"));
    }
    let listed: Vec<&Shard> = stream.shards.iter().filter(|shard| !left_out.contains(&shard.id)).collect();
    let from = match body.get("ExclusiveStartShardId").and_then(Value::as_str) {
        None => 0,
        Some(id) => {
            let at = stream.shards.iter().position(|shard| shard.id == id);
            let at = at.ok_or_else(|| Refusal::validation("ExclusiveStartShardId is not known"))?;
            // Of those that are listed, what is behind it.
            listed
                .iter()
                .filter(|shard| stream.shards[..=at].iter().any(|before| before.id == shard.id))
                .count()
        }
    };
    let limit = number(body, "Limit").map_or(per_page, |limit| usize::try_from(limit).unwrap().min(per_page));
    let page = &listed[from..listed.len().min(from + limit)];
    let mut description = json!({
        "StreamArn": arn, "StreamLabel": stream.label, "TableName": stream.table,
        "StreamStatus": if stream.enabled { "ENABLED" } else { "DISABLED" }, "StreamViewType": stream.view.name(),
        "Shards": page.iter().map(|shard| of_shard(shard, shown_open)).collect::<Vec<_>>(),
    });
    if let Some(table) = table {
        description["CreationRequestDateTime"] = seconds(table.created);
    }
    if from + page.len() < listed.len() {
        description["LastEvaluatedShardId"] = page.last().map(|shard| shard.id.clone()).into();
    }
    Ok(json!({"StreamDescription": description}).to_string())
}

fn of_shard(shard: &Shard, shown_open: &[String]) -> Value {
    let mut range = json!({"StartingSequenceNumber": shard.starts.to_string()});
    if let Some(ends) = shard.ends.filter(|_| !shown_open.contains(&shard.id)) {
        range["EndingSequenceNumber"] = ends.to_string().into();
    }
    let mut described = json!({"ShardId": shard.id, "SequenceNumberRange": range});
    if let Some(parent) = &shard.parent {
        described["ParentShardId"] = parent.clone().into();
    }
    described
}

fn get_shard_iterator(world: &mut World, body: &Value) -> Result<String, Refusal> {
    let (arn, id) = (text(body, "StreamArn")?, text(body, "ShardId")?);
    let start = start(world, body)?;
    let (given, generation) = (world.now(), world.generation);
    let (stream, _) = stream(world, arn)?;
    let shard = stream.shards.iter().find(|shard| shard.id == id);
    let shard = shard.ok_or_else(|| no_shard(id, arn))?;
    let at = shard.index(&start).map_err(|_| trimmed())?;
    let iterator = Iterator { generation, given, empties: 0, at, shard: id.to_owned(), arn: arn.to_owned() };
    Ok(json!({"ShardIterator": iterator.text()}).to_string())
}

fn start(world: &World, body: &Value) -> Result<Start, Refusal> {
    let sequence = || {
        let number = text(body, "SequenceNumber")?.parse();
        number.map_err(|_| Refusal::validation("Invalid SequenceNumber"))
    };
    Ok(match text(body, "ShardIteratorType")? {
        "TRIM_HORIZON" => Start::TrimHorizon,
        "LATEST" => Start::Latest,
        "AT_SEQUENCE_NUMBER" => Start::At(sequence()?),
        "AFTER_SEQUENCE_NUMBER" => Start::After(sequence()?),
        "AT_TIMESTAMP" if world.at_timestamp => {
            let at = body.get("Timestamp").and_then(Value::as_f64);
            let at = at.ok_or_else(|| Refusal::validation("Timestamp is required"))?;
            // Records say whole seconds; one of that second may have been made after it.
            Start::AtTimestamp(at as u64)
        }
        other => {
            return Err(Refusal::validation(format!(
                "Value '{other}' at 'shardIteratorType' failed to satisfy constraint"
            )));
        }
    })
}

fn get_records(world: &mut World, body: &Value) -> Result<String, Refusal> {
    let iterator = text(body, "ShardIterator")?;
    let iterator = Iterator::parse(iterator).ok_or_else(|| Refusal::validation("Invalid ShardIterator"))?;
    let (now, generation, rates) = (world.now(), world.generation, world.rates);
    if iterator.generation < generation || iterator.given + ITERATOR_MILLIS < now {
        return Err(Refusal::new("ExpiredIteratorException", "Iterator expired"));
    }
    let limit = number(body, "Limit").unwrap_or(RECORDS_MAX);
    if !(1..=RECORDS_MAX).contains(&limit) {
        return Err(Refusal::validation("Limit must be from 1 to 1000"));
    }
    let (page_bytes, empty_pages) = (world.page_bytes, world.empty_pages);
    let (stream, _) = stream(world, &iterator.arn)?;
    let shard = stream.shards.iter_mut().find(|shard| shard.id == iterator.shard);
    // A shard that is gone was trimmed.
    let shard = shard.ok_or_else(trimmed)?;
    if rates && !shard.may_ask(now) {
        return Err(Refusal::new("LimitExceededException", "Too many GetRecords of this shard"));
    }
    let is_empty = shard.stalled || iterator.empties < empty_pages && iterator.at < shard.end();
    let (mut at, mut records) = (iterator.at, String::new());
    for record in shard.from(iterator.at).map_err(|_| trimmed())? {
        if is_empty || (at - iterator.at) as u64 == limit {
            break;
        }
        if !records.is_empty() && records.len() + record.json.len() > page_bytes {
            break;
        }
        if !records.is_empty() {
            records.push(',');
        }
        records.push_str(&record.json);
        at += 1;
    }
    let mut answer = format!(r#"{{"Records":[{records}]"#);
    if shard.ends.is_none() || at < shard.end() || shard.stalled {
        let empties = if is_empty { iterator.empties + 1 } else { 0 };
        let next = Iterator { generation, given: now, empties, at, ..iterator };
        answer.push_str(&format!(r#","NextShardIterator":"{}""#, next.text()));
    }
    answer.push('}');
    Ok(answer)
}

fn stream<'a>(world: &'a mut World, arn: &str) -> Result<(&'a mut Stream, Option<&'a Table>), Refusal> {
    let missing = || {
        Refusal::new(
            "ResourceNotFoundException",
            format!("Requested resource not found: Stream: {arn} not found"),
        )
    };
    let stream = world.streams.get_mut(arn).ok_or_else(missing)?;
    let table = world.tables.get(&stream.table);
    Ok((stream, table))
}

fn no_shard(id: &str, arn: &str) -> Refusal {
    Refusal::new(
        "ResourceNotFoundException",
        format!("Requested resource not found: Shard does not exist. ShardId: {id}, StreamArn: {arn}"),
    )
}

fn trimmed() -> Refusal {
    Refusal::new("TrimmedDataAccessException", "The data is older than the trim horizon")
}

fn text<'a>(body: &'a Value, name: &str) -> Result<&'a str, Refusal> {
    let missing = || Refusal::validation(format!("{name} is required"));
    body.get(name).and_then(Value::as_str).ok_or_else(missing)
}

fn number(body: &Value, name: &str) -> Option<u64> {
    body.get(name)?.as_u64()
}

fn list<'a>(body: &'a Value, name: &str) -> &'a [Value] {
    body.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn seconds(millis: u64) -> Value {
    Value::from(millis as f64 / 1000.0)
}

const RECORDS_MAX: u64 = 1000;
const ITERATOR_MILLIS: u64 = 15 * 60 * 1000;
