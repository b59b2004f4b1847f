//! DynamoDB of a test's own: Amazon's emulator, another's, and a fake that follows a script.

/// DynamoDB Local, Amazon's emulator.
pub(crate) mod local;
/// moto, an independent emulator.
pub(crate) mod moto;
/// Our own, for what no emulator does.
pub(crate) mod fake;
/// What an application does to its tables.
mod database;
/// A program that serves until it is dropped.
mod program;

pub(crate) use database::{Database, Write};
pub(crate) use fake::{Fake, Keys, View};
pub(crate) use local::Local;
pub(crate) use moto::Moto;

use riacho::source::{DynamoDbSettings, dynamodb::service::Service};

/// Variables of the environment that let AWS's tools, and Riacho, use an emulator.
pub(crate) fn env(endpoint: &str) -> Vec<(String, String)> {
    let of = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let fixed = [
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ];
    fixed.map(of).into_iter().chain([("AWS_ENDPOINT_URL".to_owned(), endpoint.to_owned())]).collect()
}

/// Where programs are that come with emulators: `aws`.
pub(crate) fn tools() -> std::path::PathBuf {
    local::target().join("moto/bin")
}

/// A client of ours for an emulator.
pub(crate) async fn service(endpoint: &str) -> Service {
    let env = reqsign_core::StaticEnv { home_dir: None, envs: env(endpoint).into_iter().collect() };
    Service::with_env(&DynamoDbSettings::default(), env).await.unwrap()
}

// Letters and digits only: DynamoDB Local takes no others.
const ACCESS_KEY: &str = "test";
