//! What an application, or its administrator, does to tables: over HTTP, with any credentials, as emulators take them.

use super::{ACCESS_KEY, Keys, View};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// DynamoDB at an endpoint.
#[derive(Clone)]
pub(crate) struct Database {
    http: reqwest::Client,
    endpoint: String,
}

/// A write of a transaction.
pub(crate) enum Write {
    Put(Value),
    Delete(Value),
}

impl Database {
    pub(crate) fn new(endpoint: &str) -> Self {
        let tls =
            rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let tls = tls.with_safe_default_protocol_versions().unwrap();
        let tls = tls.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
        let http = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().build().unwrap();
        Self { http, endpoint: endpoint.to_owned() }
    }

    /// The answer, or the code of the error.
    pub(crate) async fn try_call(&self, operation: &str, body: Value) -> Result<Value, String> {
        let is_of_streams =
            ["ListStreams", "DescribeStream", "GetShardIterator", "GetRecords"].contains(&operation);
        let service = if is_of_streams { "DynamoDBStreams_20120810" } else { "DynamoDB_20120810" };
        let signature = format!(
            "AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20260101/us-east-1/dynamodb/aws4_request, \
             SignedHeaders=host, Signature=0"
        );
        let request = self
            .http
            .post(&self.endpoint)
            .header("x-amz-target", format!("{service}.{operation}"))
            .header("content-type", "application/x-amz-json-1.0")
            .header("authorization", signature)
            .body(body.to_string());
        let answer = request.send().await.map_err(|err| format!("{err:?}"))?;
        let status = answer.status();
        let answer = answer.bytes().await.map_err(|err| format!("{err:?}"))?;
        let answer: Value = serde_json::from_slice(&answer).map_err(|err| format!("{status}: {err}"))?;
        if status == 200 {
            return Ok(answer);
        }
        let code = answer["__type"].as_str().unwrap_or_default();
        Err(code.rsplit('#').next().unwrap_or_default().to_owned())
    }

    /// The answer; an error is the test's end.
    pub(crate) async fn call(&self, operation: &str, body: Value) -> Value {
        let text = body.to_string();
        self.try_call(operation, body).await.unwrap_or_else(|code| panic!("{operation} {text}: {code}"))
    }

    /// Makes a table, and its stream if it is to have one.
    pub(crate) async fn create_table(&self, name: &str, keys: Keys<'_>, view: Option<View>) {
        let keys: Vec<_> =
            [Some(("HASH", keys.hash)), keys.range.map(|key| ("RANGE", key))].into_iter().flatten().collect();
        let schema = keys.iter().map(|(role, (name, _))| json!({"AttributeName": name, "KeyType": role}));
        let definitions =
            keys.iter().map(|(_, (name, kind))| json!({"AttributeName": name, "AttributeType": kind}));
        let mut body = json!({
            "TableName": name, "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": schema.collect::<Vec<_>>(), "AttributeDefinitions": definitions.collect::<Vec<_>>(),
        });
        if let Some(view) = view {
            body["StreamSpecification"] = json!({"StreamEnabled": true, "StreamViewType": view.name()});
        }
        self.call("CreateTable", body).await;
    }

    pub(crate) async fn delete_table(&self, name: &str) {
        self.call("DeleteTable", json!({"TableName": name})).await;
    }

    pub(crate) async fn put(&self, table: &str, item: Value) {
        self.call("PutItem", json!({"TableName": table, "Item": item})).await;
    }

    /// Writes the item if there is none with its key, which has this attribute; whether there was none.
    pub(crate) async fn put_if_absent(&self, table: &str, hash: &str, item: Value) -> bool {
        let body = json!({
            "TableName": table, "Item": item, "ConditionExpression": "attribute_not_exists(#key)",
            "ExpressionAttributeNames": {"#key": hash},
        });
        match self.try_call("PutItem", body).await {
            Ok(_) => true,
            Err(code) if code == "ConditionalCheckFailedException" => false,
            Err(code) => panic!("PutItem: {code}"),
        }
    }

    /// Sets attributes of an item.
    pub(crate) async fn update(&self, table: &str, key: Value, set: &Map<String, Value>) {
        let (mut names, mut values, mut terms) = (Map::new(), Map::new(), Vec::new());
        for (at, (name, value)) in set.iter().enumerate() {
            names.insert(format!("#n{at}"), name.clone().into());
            values.insert(format!(":v{at}"), value.clone());
            terms.push(format!("#n{at} = :v{at}"));
        }
        let body = json!({
            "TableName": table, "Key": key, "UpdateExpression": format!("SET {}", terms.join(", ")),
            "ExpressionAttributeNames": names, "ExpressionAttributeValues": values,
        });
        self.call("UpdateItem", body).await;
    }

    pub(crate) async fn delete(&self, table: &str, key: Value) {
        self.call("DeleteItem", json!({"TableName": table, "Key": key})).await;
    }

    /// Writes and removes, 25 together.
    pub(crate) async fn batch_write(&self, table: &str, puts: Vec<Value>, deletes: Vec<Value>) {
        let puts = puts.into_iter().map(|item| json!({"PutRequest": {"Item": item}}));
        let deletes = deletes.into_iter().map(|key| json!({"DeleteRequest": {"Key": key}}));
        let requests: Vec<Value> = puts.chain(deletes).collect();
        for requests in requests.chunks(25) {
            let mut left = json!({table: requests});
            while left.as_object().is_some_and(|left| !left.is_empty()) {
                left = self.call("BatchWriteItem", json!({"RequestItems": left})).await["UnprocessedItems"]
                    .take();
            }
        }
    }

    /// Writes and removes, all or nothing.
    pub(crate) async fn transact_write(&self, table: &str, writes: Vec<Write>) {
        let items = writes.into_iter().map(|write| match write {
            Write::Put(item) => json!({"Put": {"TableName": table, "Item": item}}),
            Write::Delete(key) => json!({"Delete": {"TableName": table, "Key": key}}),
        });
        self.call("TransactWriteItems", json!({"TransactItems": items.collect::<Vec<_>>()})).await;
    }

    /// All items, as they are now.
    pub(crate) async fn scan_all(&self, table: &str) -> Vec<Value> {
        let (mut items, mut after) = (Vec::new(), Value::Null);
        loop {
            let mut body = json!({"TableName": table, "ConsistentRead": true});
            if !after.is_null() {
                body["ExclusiveStartKey"] = after;
            }
            let mut page = self.call("Scan", body).await;
            items.append(page["Items"].as_array_mut().unwrap());
            after = page["LastEvaluatedKey"].take();
            if after.is_null() {
                return items;
            }
        }
    }

    /// The ARN of the newest stream.
    pub(crate) async fn stream_arn(&self, table: &str) -> Option<String> {
        let description = self.call("DescribeTable", json!({"TableName": table})).await;
        description["Table"]["LatestStreamArn"].as_str().map(str::to_owned)
    }

    pub(crate) async fn enable_stream(&self, table: &str, view: View) {
        let stream = json!({"StreamEnabled": true, "StreamViewType": view.name()});
        self.call("UpdateTable", json!({"TableName": table, "StreamSpecification": stream})).await;
    }

    pub(crate) async fn disable_stream(&self, table: &str) {
        self.call(
            "UpdateTable",
            json!({"TableName": table, "StreamSpecification": {"StreamEnabled": false}}),
        )
        .await;
    }

    /// Items end at the time, in seconds since 1970, that this attribute says.
    pub(crate) async fn set_ttl(&self, table: &str, attribute: &str) {
        let ttl = json!({"AttributeName": attribute, "Enabled": true});
        self.call("UpdateTimeToLive", json!({"TableName": table, "TimeToLiveSpecification": ttl})).await;
    }
}
