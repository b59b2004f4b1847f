//! The functions of `examples/lambda`, run by Node and Python as Lambda runs them, against a real server.

use super::ingest::{SECRET, Scene, event, put};
use crate::support::patient;
use serde_json::{Value, json};
use std::{
    io::Write as _,
    panic::Location,
    path::PathBuf,
    process::{Command, Stdio},
};

/// Lambda, in one of its runtimes.
#[derive(Clone, Copy, Debug)]
enum Lambda {
    Node,
    Python,
}

impl Lambda {
    fn command(self) -> Command {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/lambda");
        let mut command = match self {
            Self::Node => {
                let mut node = Command::new("node");
                node.args(["--input-type=module", "-e", NODE]).arg(folder.join("index.mjs"));
                node
            }
            Self::Python => {
                let mut python = Command::new("python3");
                python.args(["-B", "-c", PYTHON]);
                python
            }
        };
        command.current_dir(folder);
        command
    }

    /// What the function returns for an event; none where it fails, which it says on stderr.
    #[track_caller]
    fn call(
        self,
        scene: &Scene,
        secret: &str,
        event: String,
    ) -> impl Future<Output = Result<Value, String>> + use<> {
        let (at, mut command) = (Location::caller(), self.command());
        let url = format!("{}/ingest/dynamodb/shop", scene.server.url());
        command.env("RIACHO_URL", url).env("RIACHO_SECRET", secret);
        let called = tokio::task::spawn_blocking(move || {
            let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = pipes.spawn().unwrap();
            child.stdin.take().unwrap().write_all(event.as_bytes()).unwrap();
            child.wait_with_output().unwrap()
        });
        async move {
            let output = patient(at, "a function", called).await.unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            if !output.status.success() {
                return Err(stderr);
            }
            let returned = serde_json::from_slice(&output.stdout);
            Ok(returned.unwrap_or_else(|err| panic!("{at}: {err}: {output:?}")))
        }
    }
}

async fn a_function_hands_over_what_it_is_given(lambda: Lambda) {
    let scene = Scene::whole().await;
    let mut named = put(1, "é日😀", 1);
    named["dynamodb"]["NewImage"]["note"] = json!({ "S": "\u{7f} \" \\ \n é日😀" });
    let batch = [named, put(2, "b", 2), put(3, "é日😀", 3)];
    let none = json!({ "batchItemFailures": [] });
    assert_eq!(lambda.call(&scene, SECRET, event(&batch)).await.unwrap(), none);
    assert_eq!(scene.rows("orders")["é日😀"], json!({ "id": "é日😀", "n": 3 }));

    // Another attempt, and one that finds a bad record.
    assert_eq!(lambda.call(&scene, SECRET, event(&batch[..2])).await.unwrap(), none);
    let mut bad = put(5, "b", 9);
    bad["dynamodb"]["NewImage"] = Value::Null;
    let returned = lambda.call(&scene, SECRET, event(&[put(4, "c", 4), bad, put(6, "d", 6)])).await.unwrap();
    assert_eq!(
        returned,
        json!({ "batchItemFailures": [{ "itemIdentifier": "4421584500000000000000000005" }] })
    );
    assert_eq!(scene.rows("orders").len(), 3, "{lambda:?}");

    let other = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let failed = lambda.call(&scene, other, event(&[put(7, "e", 7)])).await.unwrap_err();
    assert!(failed.contains("401"), "{failed}");

    // As large as it gets, also in characters that JSON may write in six bytes.
    let mut large = put(8, "large", 8);
    large["dynamodb"]["NewImage"]["note"] = json!({ "S": "日".repeat(300_000) });
    let large: Vec<Value> = (8..14)
        .map(|n| {
            let mut record = large.clone();
            record["dynamodb"]["SequenceNumber"] = format!("4421584500000000{n:012}").into();
            record
        })
        .collect();
    assert_eq!(lambda.call(&scene, SECRET, event(&large)).await.unwrap(), none);
}

#[tokio::test]
async fn the_function_for_node_hands_over_what_it_is_given() {
    a_function_hands_over_what_it_is_given(Lambda::Node).await;
}

#[tokio::test]
async fn the_function_for_python_hands_over_what_it_is_given() {
    a_function_hands_over_what_it_is_given(Lambda::Python).await;
}

const NODE: &str = "
const { handler } = await import(process.argv[1])
const pieces = []
for await (const piece of process.stdin) pieces.push(piece)
console.log(JSON.stringify(await handler(JSON.parse(Buffer.concat(pieces).toString()), {})))
";
const PYTHON: &str = "
import json, os, sys
sys.path.insert(0, os.getcwd())
from lambda_function import lambda_handler
json.dump(lambda_handler(json.load(open(0, encoding='utf-8')), None), sys.stdout)
";
