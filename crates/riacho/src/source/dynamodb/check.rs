//! What stands against a source of DynamoDB, in plain words.

use super::{
    ask::{self, Failed},
    service::{Service, ServiceError},
};
use crate::source::{DynamoDbSettings, Finding, TableSettings, settings::FirstRows};
use riacho_core::source::{
    dynamodb::{
        answer::{Iterator, StreamPage, Table},
        request::{self, Operation},
    },
    machine::Fault,
};

/// What stands against a source of these tables, and what would be better otherwise. Nothing is changed.
pub(in crate::source) async fn check(settings: &DynamoDbSettings, tables: &[TableSettings]) -> Vec<Finding> {
    if !settings.changes.polls() && settings.snapshot == FirstRows::Import {
        // Nothing is asked of it.
        return Vec::new();
    }
    let service = match Service::new(settings).await {
        Ok(service) => service,
        Err(fault) => return vec![Finding::fatal(fault)],
    };
    let mut findings = Vec::new();
    for wanted in tables {
        match ask::table(&service, &wanted.table).await {
            Err(failed) => {
                let fault = missing(&wanted.table, service.region(), &failed);
                findings.push(Finding::fatal(fault));
                // All others fail alike.
                if !matches!(failed, Failed::Service(ServiceError::NotFound(_))) {
                    break;
                }
            }
            Ok((table, _)) => {
                findings.extend(obstacle(&table, settings).map(Finding::fatal));
                findings.extend(advice(&table));
                if settings.changes.polls() {
                    findings.extend(rights(&service, &table).await.map(Finding::fatal));
                }
            }
        }
    }
    findings
}

// Whether the stream and the items may be read: by reading a little.
async fn rights(service: &Service, table: &Table) -> Option<Fault> {
    let stream = table.stream.as_ref()?;
    let scan =
        request::scan(&request::Page { table: &table.name, segment: (0, 1), after: None, limit: Some(1) });
    let mut asks = vec![
        (Operation::DescribeStream, request::describe_stream(&stream.arn, None)),
        (Operation::Scan, scan),
    ];
    let page = service
        .call(Operation::DescribeStream, request::describe_stream(&stream.arn, None).into_bytes())
        .await;
    let page = page.ok().and_then(|answer| StreamPage::parse(&answer.body).ok());
    if let Some(shard) = page.as_ref().and_then(|page| page.shards.last()) {
        let from = request::From::TrimHorizon;
        let body = request::get_shard_iterator(&stream.arn, &shard.id, &from);
        match service.call(Operation::GetShardIterator, body.into_bytes()).await {
            Err(err) => return Some(err.fault()),
            Ok(answer) => {
                let iterator = Iterator::parse(&answer.body).ok()?;
                asks.push((Operation::GetRecords, request::get_records(&iterator.iterator, Some(1))));
            }
        }
    }
    for (operation, body) in asks {
        match service.call(operation, body.into_bytes()).await {
            Ok(_) | Err(ServiceError::Throttled(_) | ServiceError::Trimmed) => {}
            Err(err) => return Some(err.fault()),
        }
    }
    None
}

/// Why a table cannot be read as it is.
pub(super) fn obstacle(table: &Table, settings: &DynamoDbSettings) -> Option<Fault> {
    let name = &table.name;
    if !matches!(&*table.status, "ACTIVE" | "UPDATING" | "") {
        let status = &table.status;
        return Some(Fault::passing(format!("the table `{name}` is {}", status.to_lowercase())));
    }
    if settings.changes.polls() && table.stream.is_none() {
        return Some(Fault::needs_person(
            format!("the table `{name}` has no stream that tells its changes"),
            format!(
                "aws dynamodb update-table --table-name {name} --stream-specification \
                 StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES"
            ),
        ));
    }
    None
}

// What would be better.
fn advice(table: &Table) -> Option<Finding> {
    let stream = table.stream.as_ref().filter(|stream| !stream.view.has_new())?;
    Some(Finding::advised(
        format!(
            "the stream of `{}` tells only keys ({}): each change costs a read of its item",
            table.name,
            stream.view.as_str()
        ),
        "a stream with NEW_IMAGE or NEW_AND_OLD_IMAGES needs none; a stream's view is changed by switching it off and on",
    ))
}

/// What to tell of a table that cannot be described.
pub(super) fn missing(name: &str, region: &str, failed: &Failed) -> Fault {
    match failed {
        Failed::Service(ServiceError::NotFound(_)) => Fault::needs_person(
            format!("this account has no table `{name}` in {region}"),
            "look at the name, the region and the account; rows that were read before stay, and are compared once it is there",
        ),
        failed => failed.fault(),
    }
}
