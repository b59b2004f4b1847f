//! What is found where, without asking anybody.

use super::{
    error::ServiceError,
    place::{Found, Place},
};
use crate::source::settings::DynamoDbSettings;
use reqsign_core::{Context, StaticEnv};
use riacho_core::source::{dynamodb::request::Operation, machine::FaultKind};
use std::fs;

fn found(settings: &DynamoDbSettings, envs: &[(&str, &str)], config: &str) -> Found {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join(".aws")).unwrap();
    fs::write(home.path().join(".aws/config"), config).unwrap();
    let envs = envs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Found::new(settings, StaticEnv { home_dir: Some(home.path().to_owned()), envs }).unwrap()
}

fn place(found: &Found) -> Place {
    found.place(&found.region().unwrap()).unwrap()
}

const CONFIG: &str = "
[default]
region = eu-central-1 # near
s3 =
    max_concurrent_requests = 20
    region = never
[profile far]
region=ap-southeast-2
endpoint_url = http://far:1
services = mine
[services mine]
dynamodb =
  endpoint_url = http://tables:2
[profile keys]
aws_access_key_id = ID
aws_secret_access_key = SECRET
[profile role]
role_arn = arn:aws:iam::123456789012:role/reader
source_profile = keys
[profile loop]
role_arn = arn:aws:iam::123456789012:role/reader
source_profile = other
[profile other]
role_arn = arn:aws:iam::123456789012:role/reader
source_profile = loop
[profile nobody]
role_arn = arn:aws:iam::123456789012:role/reader
[profile program]
credential_process = /bin/false
[sso-session work]
sso_region = us-east-1
sso_start_url = https://example.com/start
[profile sso]
sso_session = work
sso_account_id = 123456789012
sso_role_name = reader
";

#[test]
fn the_region_is_what_is_said_nearest() {
    let none = DynamoDbSettings::default();
    let asked = DynamoDbSettings { region: Some("us-west-2".into()), ..none.clone() };
    let far = DynamoDbSettings { profile: Some("far".into()), ..none.clone() };
    let both = [("AWS_REGION", "eu-west-1"), ("AWS_DEFAULT_REGION", "eu-west-2")];
    let cases = [
        (&asked, &both[..], "us-west-2"),
        (&none, &both, "eu-west-1"),
        (&none, &both[1..], "eu-west-2"),
        (&none, &[], "eu-central-1"),
        (&far, &[], "ap-southeast-2"),
        (&none, &[("AWS_PROFILE", "far")], "ap-southeast-2"),
    ];
    for (settings, envs, region) in cases {
        assert_eq!(found(settings, envs, CONFIG).region().as_deref(), Some(region), "{settings:?} {envs:?}");
    }
    assert_eq!(found(&none, &[], "").region(), None);
}

#[test]
fn endpoints_are_what_is_said_nearest() {
    let of = |settings: &DynamoDbSettings, envs: &[(&str, &str)]| {
        let place = place(&found(settings, envs, CONFIG));
        (place.tables.to_string(), place.streams.to_string())
    };
    let at = |tables: &str, streams: &str| (format!("{tables}/"), format!("{streams}/"));
    let none = DynamoDbSettings::default();
    let asked = DynamoDbSettings { endpoint: Some("http://asked:9".into()), ..none.clone() };
    let (all, tables) =
        (("AWS_ENDPOINT_URL", "http://all:1"), ("AWS_ENDPOINT_URL_DYNAMODB", "http://tables:3"));
    let streams = ("AWS_ENDPOINT_URL_DYNAMODB_STREAMS", "http://streams:4");
    let amazons = at(
        "https://dynamodb.eu-central-1.amazonaws.com",
        "https://streams.dynamodb.eu-central-1.amazonaws.com",
    );
    assert_eq!(of(&none, &[]), amazons);
    assert_eq!(of(&asked, &[all, tables, streams]), at("http://asked:9", "http://asked:9"));
    assert_eq!(of(&none, &[all]), at("http://all:1", "http://all:1"));
    assert_eq!(of(&none, &[all, tables]), at("http://tables:3", "http://all:1"));
    assert_eq!(of(&none, &[tables, streams]), at("http://tables:3", "http://streams:4"));
    assert_eq!(of(&none, &[("AWS_PROFILE", "far")]), at("http://tables:2", "http://far:1"));
    assert_eq!(of(&none, &[all, ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")]), amazons);
    assert_eq!(
        of(&none, &[("AWS_REGION", "cn-north-1")]),
        at(
            "https://dynamodb.cn-north-1.amazonaws.com.cn",
            "https://streams.dynamodb.cn-north-1.amazonaws.com.cn"
        )
    );
}

#[test]
fn what_cannot_be_part_of_an_address_is_refused() {
    let none = DynamoDbSettings::default();
    for region in ["", "eu west", "evil.example/", "EU-WEST-1", &"a".repeat(65)] {
        assert_eq!(found(&none, &[], "").place(region).unwrap_err().kind, FaultKind::NeedsPerson, "{region}");
    }
    for endpoint in ["", "localhost:8000", "ftp://host", "http://", "http://me:secret@host"] {
        let settings = DynamoDbSettings { endpoint: Some(endpoint.into()), ..none.clone() };
        let fault = found(&settings, &[], "").place("eu-west-1").unwrap_err();
        assert!(!fault.message.contains("secret"), "{fault:?}");
    }
}

#[test]
fn credentials_are_of_the_first_way_that_is_set() {
    let keys = [("AWS_ACCESS_KEY_ID", "ID"), ("AWS_SECRET_ACCESS_KEY", "SECRET")];
    let identity = [("AWS_ROLE_ARN", "arn:aws:iam::1:role/r"), ("AWS_WEB_IDENTITY_TOKEN_FILE", "/token")];
    let container = [("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials")];
    let cases = [
        (None, &keys[..], "the environment"),
        (Some("keys"), &keys, "the profile"),
        (Some("role"), &keys, "the role of the profile"),
        (Some("program"), &[], "the program of the profile"),
        (Some("sso"), &[], "the single sign-on of the profile"),
        (None, &identity, "the web identity"),
        (None, &container, "the container"),
        (Some("far"), &[], "the instance"),
        (None, &[], "the instance"),
    ];
    for (profile, envs, name) in cases {
        let settings =
            DynamoDbSettings { profile: profile.map(str::to_owned), ..DynamoDbSettings::default() };
        let way = super::Way::choose(&found(&settings, envs, CONFIG), "eu-west-1", &Context::new()).unwrap();
        assert_eq!(way.name, name, "{profile:?} {envs:?}");
    }
    for profile in ["loop", "nobody"] {
        let settings = DynamoDbSettings { profile: Some(profile.to_owned()), ..DynamoDbSettings::default() };
        let chosen = super::Way::choose(&found(&settings, &[], CONFIG), "eu-west-1", &Context::new());
        assert!(chosen.is_err_and(|why| why.contains("the profile `")), "{profile}");
    }
}

#[test]
fn a_profile_that_is_asked_for_must_be_there() {
    let settings = DynamoDbSettings { profile: Some("missing".into()), ..DynamoDbSettings::default() };
    let fault = Found::new(&settings, StaticEnv::default()).err().unwrap();
    assert!(fault.message.contains("`missing`"), "{fault:?}");
}

#[test]
fn errors_are_told_apart_and_keep_no_secrets() {
    let parse = |status, code: &str, message: &str| {
        let body = format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"{message}"}}"#);
        ServiceError::parse(Operation::GetRecords, status, body.as_bytes())
    };
    assert_eq!(parse(400, "ExpiredIteratorException", ""), ServiceError::ExpiredIterator);
    assert_eq!(parse(400, "TrimmedDataAccessException", ""), ServiceError::Trimmed);
    assert_eq!(
        parse(400, "LimitExceededException", ""),
        ServiceError::Throttled("LimitExceededException".into())
    );
    assert_eq!(parse(400, "ValidationException", "no"), ServiceError::Validation("no".into()));
    assert_eq!(parse(400, "ResourceNotFoundException", "no"), ServiceError::NotFound("no".into()));
    let signature =
        parse(403, "InvalidSignatureException", "The Canonical String was x-amz-security-token:TOKEN");
    assert!(!format!("{signature:?} {:?}", signature.fault()).contains("TOKEN"));
    let late =
        parse(400, "InvalidSignatureException", "Signature expired: 20260101T000000Z is now earlier than");
    assert!(late.fault().remedy.unwrap().contains("clock"));
    let proxys = ServiceError::parse(Operation::Scan, 502, b"<html>");
    assert_eq!(proxys, ServiceError::Other { status: 502, code: String::new(), message: String::new() });
    assert_eq!(proxys.fault().kind, FaultKind::Passing);
    let long = parse(400, "ValidationException", &"\u{fc}".repeat(2000));
    assert!(format!("{long:?}").len() < 1000);
}
