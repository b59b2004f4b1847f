//! Our client: what it makes of failures, and that its signatures are right.

use crate::support::{
    dynamodb::{Fake, Keys, View, env, service},
    patient,
};
use reqsign_core::StaticEnv;
use riacho::source::{
    DynamoDbSettings,
    dynamodb::service::{Service, ServiceError},
};
use riacho_core::source::{
    dynamodb::request::{self, Operation},
    machine::FaultKind,
};
use std::{collections::HashMap, fs, path::Path, process::Command};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

#[tokio::test]
async fn what_failed_without_an_answer_is_tried_again_and_what_is_throttled_is_not() {
    let fake = Fake::start().await;
    fake.create_table("orders", Keys::ID, Some(View::NewImage), 1);
    let service = service(&fake.endpoint()).await;
    let ask = async || service.call(Operation::DescribeTable, request::describe_table("orders")).await;

    fake.cut("DescribeTable", 1);
    fake.refuse("DescribeTable", "InternalServerError", 1);
    ask().await.unwrap();
    assert_eq!(fake.calls("DescribeTable"), 3);

    fake.cut("DescribeTable", 3);
    assert!(matches!(ask().await, Err(ServiceError::Unreachable(_))));
    assert_eq!(fake.calls("DescribeTable"), 6);

    fake.refuse("DescribeTable", "ProvisionedThroughputExceededException", 1);
    assert_eq!(
        ask().await.unwrap_err(),
        ServiceError::Throttled("ProvisionedThroughputExceededException".into())
    );
    assert_eq!(fake.calls("DescribeTable"), 7);

    fake.cut_connections();
    ask().await.unwrap();
}

#[tokio::test]
async fn what_is_not_allowed_names_the_action() {
    let fake = Fake::start().await;
    let service = service(&fake.endpoint()).await;
    fake.refuse("GetRecords", "AccessDeniedException", 1);
    let fault = service.call(Operation::GetRecords, "{}").await.unwrap_err().fault();
    assert_eq!(fault.kind, FaultKind::NeedsPerson);
    assert!(fault.remedy.unwrap().contains("`dynamodb:GetRecords`"));
    // The same credentials again cannot help.
    fake.refuse("GetRecords", "ExpiredTokenException", 2);
    let err = service.call(Operation::GetRecords, "{}").await.unwrap_err();
    assert!(matches!(err, ServiceError::Denied { .. }), "{err:?}");
    assert_eq!(fake.calls("GetRecords"), 2);
}

#[tokio::test]
async fn credentials_that_were_renewed_in_a_file_are_taken_when_the_old_are_refused() {
    let fake = Fake::start().await;
    fake.create_table("orders", Keys::ID, None, 1);
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join(".aws")).unwrap();
    let write = |key: &str| {
        let text = format!("[default]\naws_access_key_id = {key}\naws_secret_access_key = secret\n");
        fs::write(home.path().join(".aws/credentials"), text).unwrap();
    };
    let envs = [("AWS_REGION", "eu-west-1".to_owned()), ("AWS_ENDPOINT_URL", fake.endpoint())];
    let env = StaticEnv {
        home_dir: Some(home.path().to_owned()),
        envs: envs.map(|(name, value)| (name.to_owned(), value)).into(),
    };
    write("OLD");
    let service = Service::with_env(&DynamoDbSettings::default(), env).await.unwrap();
    service.call(Operation::DescribeTable, request::describe_table("orders")).await.unwrap();
    write("NEW");
    fake.refuse("DescribeTable", "ExpiredTokenException", 1);
    service.call(Operation::DescribeTable, request::describe_table("orders")).await.unwrap();
}

#[tokio::test]
async fn nobody_there_is_a_passing_fault_and_no_credentials_is_a_persons() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let fault = service(&endpoint).await.call(Operation::Scan, "{}").await.unwrap_err().fault();
    assert_eq!(fault.kind, FaultKind::Passing, "{fault:?}");

    let mut envs: HashMap<String, String> = env(&endpoint).into_iter().collect();
    envs.remove("AWS_ACCESS_KEY_ID");
    let service =
        Service::with_env(&DynamoDbSettings::default(), StaticEnv { home_dir: None, envs }).await.unwrap();
    let fault = service.call(Operation::Scan, "{}").await.unwrap_err().fault();
    assert_eq!(fault.kind, FaultKind::NeedsPerson, "{fault:?}");
    assert!(fault.message.contains("no credentials"), "{fault:?}");
}

#[tokio::test]
async fn signatures_are_those_that_amazons_library_makes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let mut envs: HashMap<String, String> = env(&endpoint).into_iter().collect();
    envs.insert("AWS_SECRET_ACCESS_KEY".to_owned(), SECRET.to_owned());
    envs.insert("AWS_SESSION_TOKEN".to_owned(), TOKEN.to_owned());
    let service =
        Service::with_env(&DynamoDbSettings::default(), StaticEnv { home_dir: None, envs }).await.unwrap();
    let shown = format!("{service:?}");
    assert!(!shown.contains(SECRET) && !shown.contains(TOKEN), "{shown}");

    let at = std::panic::Location::caller();
    let both = async { tokio::join!(service.call(Operation::GetRecords, BODY), answered(listener)) };
    let (answer, head) = patient(at, "a request", both).await;

    assert_eq!(answer.unwrap().body, "{}");
    let header = |name: &str| {
        let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")));
        line.unwrap_or_else(|| panic!("{name}: {head}")).split_once(':').unwrap().1.trim().to_owned()
    };
    assert_eq!(header("x-amz-security-token"), TOKEN);
    let authorization = header("authorization");
    let signed = authorization.split("SignedHeaders=").nth(1).unwrap().split(',').next().unwrap();
    for name in ["host", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token", "x-amz-target"] {
        assert!(signed.split(';').any(|signed| signed == name), "{name}: {signed}");
    }
    let values: Vec<String> = signed.split(';').map(|name| format!("{name}\t{}", header(name))).collect();
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/moto/bin/python");
    let output = Command::new(python)
        .args(["-c", BOTOCORE, &endpoint, SECRET, TOKEN, BODY, &header("x-amz-date"), &values.join("\n")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let theirs = String::from_utf8(output.stdout).unwrap();
    assert_eq!(authorization.split("Signature=").nth(1).unwrap(), theirs.trim());
}

/// Takes one request, says `{}`, and gives its head.
async fn answered(listener: TcpListener) -> String {
    let (mut socket, _) = listener.accept().await.unwrap();
    let mut all = Vec::new();
    let mut piece = [0; 4096];
    while !all.ends_with(BODY.as_bytes()) {
        let read = socket.read(&mut piece).await.unwrap();
        assert_ne!(read, 0);
        all.extend_from_slice(&piece[..read]);
    }
    socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
    String::from_utf8(all).unwrap().split("\r\n\r\n").next().unwrap().to_owned()
}

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const TOKEN: &str = "FwoGZXIvYXdzEXAMPLE/token+with/signs==";
const BODY: &str = r#"{"ShardIterator":"a b/c"}"#;
/// The canonical request is built by botocore from the headers that were signed, at the time that was signed.
const BOTOCORE: &str = "
import hashlib, sys
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
endpoint, secret, token, body, date, headers = sys.argv[1:]
auth = SigV4Auth(Credentials('test', secret, token), 'dynamodb', 'us-east-1')
request = AWSRequest('POST', endpoint + '/', data=body.encode())
for line in headers.split('\\n'):
    name, value = line.split('\\t', 1)
    request.headers[name] = value
assert request.headers['x-amz-content-sha256'] == hashlib.sha256(body.encode()).hexdigest(), 'not of the body'
request.context['timestamp'] = date
print(auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request))
";
