//! `riacho source import`: files of DynamoDB JSON, and exports to S3 as they lie in a folder.

use super::ingest::{SECRET, Scene, put};
use crate::support::run;
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

/// A server that waits for an import, and a folder for what is imported.
struct Desk {
    scene: Scene,
    folder: tempfile::TempDir,
}

/// What a command left: its exit code, stdout and stderr.
type Left = (i32, String, String);

impl Desk {
    async fn new() -> Self {
        let desk = Self { scene: Scene::new().await, folder: tempfile::tempdir().unwrap() };
        desk.write("secret", format!("{SECRET}\n"));
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), bytes).unwrap();
    }

    /// Imports these into `orders`.
    async fn import(&self, paths: &[&str]) -> Left {
        let url = self.scene.server.url();
        let args = ["source", "import", "shop", "orders", "--secret-file", "secret", "--server", &url];
        self.run(&[&args, paths].concat()).await
    }

    async fn run(&self, args: &[&str]) -> Left {
        let output = run(self.folder.path(), args).await;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    }

    #[track_caller]
    fn check_refused(&self, left: &Left, says: &[&str]) {
        let (code, stdout, stderr) = left;
        assert_eq!((*code, stdout.as_str()), (1, ""), "{stderr}");
        for says in says {
            assert!(stderr.contains(says), "{says}: {stderr}");
        }
    }

    /// A full export of 250 items in two files, with an empty one, as the service writes it.
    fn export(&self, id: &str) {
        let folder = format!("AWSDynamoDB/{id}");
        let mut manifest = String::new();
        for (name, numbers) in [("aaaa", 0..100), ("bbbb", 100..250), ("cccc", 0..0)] {
            let lines: String =
                numbers.clone().map(|n| format!("{}\n", json!({ "Item": item(n) }))).collect();
            let packed = gzip(&lines);
            let listed = json!({
                "itemCount": numbers.end - numbers.start,
                "md5Checksum": md5(&packed),
                "etag": "af83d6f217c19b8b0fff8023d8ca4716-1",
                "dataFileS3Key": format!("2026-Nov/{folder}/data/{name}.json.gz"),
            });
            manifest += &format!("{listed}\n");
            self.write(&format!("{folder}/data/{name}.json.gz"), packed);
        }
        self.write(&format!("{folder}/manifest-files.json"), manifest);
        self.summary(id, &json!({}));
        self.write(&format!("{folder}/_started"), "");
    }

    fn summary(&self, id: &str, other: &Value) {
        let mut summary = json!({
            "version": "2020-06-30",
            "exportArn": format!("arn:aws:dynamodb:eu-west-1:123456789012:table/orders/export/{id}"),
            "tableArn": "arn:aws:dynamodb:eu-west-1:123456789012:table/orders",
            "exportTime": "2026-11-04T07:28:34.028Z",
            "s3Bucket": "exports",
            "s3Prefix": "2026-Nov",
            "itemCount": 250,
            "outputFormat": "DYNAMODB_JSON",
        });
        for (name, value) in other.as_object().unwrap() {
            summary[name] = value.clone();
        }
        self.write(&format!("AWSDynamoDB/{id}/manifest-summary.json"), summary.to_string());
    }

    fn count(&self) -> usize {
        self.scene.rows("orders").len()
    }
}

fn item(n: u64) -> Value {
    json!({ "id": { "S": format!("k{n}") }, "n": { "N": n.to_string() } })
}

fn gzip(text: &str) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(text.as_bytes()).unwrap();
    packed.finish().unwrap()
}

fn md5(bytes: &[u8]) -> String {
    use base64::Engine as _;
    use md5::Digest as _;
    base64::engine::general_purpose::STANDARD.encode(md5::Md5::digest(bytes))
}

#[tokio::test]
async fn an_export_is_imported_from_any_folder_that_holds_it() {
    let desk = Desk::new().await;
    desk.export("01693685827463-2d8752fd");
    let done = (0, "250 items imported into orders\n".to_owned(), String::new());
    for folder in ["AWSDynamoDB/01693685827463-2d8752fd", "AWSDynamoDB", "."] {
        assert_eq!(desk.import(&[folder]).await, done, "{folder}");
        assert_eq!(desk.count(), 250);
        assert_eq!(desk.scene.rows("orders")["k249"], json!({ "id": "k249", "n": 249 }));
    }
    let sources = desk.scene.server.get("/sources").await.json();
    assert_eq!(sources["sources"][0]["tables"][2]["ready"], true, "{sources}");

    desk.export("01700000000000-00000000");
    desk.check_refused(&desk.import(&["."]).await, &["several exports", "01693685827463", "01700000000000"]);
    desk.summary(
        "01700000000000-00000000",
        &json!({ "tableArn": "arn:aws:dynamodb:eu-west-1:1:table/other" }),
    );
    let (code, _, stderr) = desk.import(&["AWSDynamoDB/01700000000000-00000000"]).await;
    assert_eq!(code, 0);
    assert!(stderr.contains("an export of `other`, imported into `orders`"), "{stderr}");
}

#[tokio::test]
async fn an_export_that_is_not_whole_is_refused_before_anything_is_sent() {
    let desk = Desk::new().await;
    let id = "01693685827463-2d8752fd";
    let folder = format!("AWSDynamoDB/{id}");
    desk.export(id);
    let file = desk.path(&format!("{folder}/data/bbbb.json.gz"));
    let whole = fs::read(&file).unwrap();
    fs::write(&file, gzip("{\"Item\":{\"id\":{\"S\":\"a\"}}}\n")).unwrap();
    desk.check_refused(&desk.import(&[&folder]).await, &["bbbb.json.gz", "MD5"]);
    fs::remove_file(&file).unwrap();
    desk.check_refused(&desk.import(&[&folder]).await, &["manifest-files.json, line 2", "bbbb.json.gz"]);
    fs::write(&file, &whole).unwrap();

    desk.summary(id, &json!({ "outputFormat": "ION" }));
    desk.check_refused(&desk.import(&[&folder]).await, &[&folder, "Amazon Ion: export as DynamoDB JSON"]);
    desk.summary(id, &json!({ "exportType": "INCREMENTAL_EXPORT" }));
    desk.check_refused(&desk.import(&[&folder]).await, &[&folder, "incremental export", "full export"]);
    desk.summary(id, &json!({ "exportType": "FULL_EXPORT" }));
    let manifest = desk.path(&format!("{folder}/manifest-files.json"));
    let listed = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, format!("{listed}no\n")).unwrap();
    desk.check_refused(&desk.import(&[&folder]).await, &["manifest-files.json, line 4"]);
    fs::create_dir(desk.path("nothing")).unwrap();
    desk.check_refused(
        &desk.import(&["nothing"]).await,
        &["nothing is no export to S3", "manifest-files.json"],
    );
    assert_eq!(desk.count(), 0);

    // The count is known only once all was read: rows may be there, but the table is not whole.
    fs::write(&manifest, listed.replacen("\"itemCount\":150", "\"itemCount\":151", 1)).unwrap();
    desk.check_refused(&desk.import(&[&folder]).await, &["bbbb.json.gz", "holds 150 items", "says 151"]);
    assert_eq!(desk.scene.server.get("/tables/orders").await.status, 503);
    fs::write(&manifest, listed).unwrap();
    assert_eq!(desk.import(&[&folder]).await.0, 0);
}

#[tokio::test]
async fn files_are_imported_plain_or_packed_and_what_is_wrong_is_said_by_line() {
    let desk = Desk::new().await;
    desk.write("plain.json", format!("{}\r\n\n{}", item(1), json!({ "Item": item(2) })));
    desk.write("packed", gzip(&format!("{}\n", item(3))));
    let done = desk.import(&["plain.json", "packed"]).await;
    assert_eq!(done, (0, "3 items imported into orders\n".to_owned(), String::new()));
    assert_eq!(desk.count(), 3);

    let good = item(9);
    let keys =
        json!({ "Metadata": { "WriteTimestampMicros": { "N": "1" } }, "Keys": { "id": { "S": "a" } } });
    let cases = [
        ("not JSON", format!("{good}\n{{\n"), "line 2: it is not JSON"),
        ("no types", format!("{good}\n{good}\n{{\"id\":\"a\"}}\n"), "line 3: "),
        ("a change", format!("{keys}\n"), "line 1: it is of an incremental export"),
        (
            "Ion",
            "$ion_1_0 {Item:{id:\"a\"}}\n".to_owned(),
            "line 1: it is Amazon Ion: export as DynamoDB JSON",
        ),
        ("no end", "x".repeat(4 << 20), "line 1: it is longer than 3 MiB"),
    ];
    for (what, text, says) in cases {
        desk.write("bad.json", &text);
        desk.check_refused(&desk.import(&["bad.json"]).await, &["bad.json: ", says]);
        let mut cut = gzip(&text);
        cut.truncate(cut.len() - 8);
        desk.write("cut.gz", cut);
        desk.check_refused(&desk.import(&["cut.gz"]).await, &["cut.gz: line "]);
        assert_eq!(desk.count(), 3, "{what}");
    }
    desk.check_refused(&desk.import(&["no.json"]).await, &["no.json: No such file"]);
    desk.write("keyless.json", "{\"other\":{\"S\":\"a\"}}\n");
    desk.check_refused(&desk.import(&["keyless.json"]).await, &["the import is not complete", "\"id\""]);
}

#[tokio::test]
async fn many_items_go_in_parts_and_those_that_are_gone_go() {
    let desk = Desk::new().await;
    let padding = "x".repeat(2000);
    let line = |n: u64| {
        let mut item = item(n);
        item["padding"] = json!({ "S": padding });
        format!("{item}\n")
    };
    desk.write("many.json", (0..5000).map(line).collect::<String>());
    assert_eq!(desk.import(&["many.json"]).await.1, "5000 items imported into orders\n");
    assert_eq!(desk.count(), 5000);
    desk.scene.push(&[put(1, "k1", 77), put(2, "new", 1)]).await;
    desk.write("fewer.json", (0..2000).map(line).collect::<String>());
    assert_eq!(desk.import(&["fewer.json"]).await.1, "2000 items imported into orders\n");
    assert_eq!(desk.count(), 2001);
    assert_eq!(desk.scene.rows("orders")["k1"], json!({ "id": "k1", "n": 77 }));
}

#[tokio::test]
async fn who_cannot_sign_or_asks_for_what_is_not_there_is_told() {
    let desk = Desk::new().await;
    desk.write("a.json", item(1).to_string());
    let url = desk.scene.server.url();
    let args = ["source", "import", "shop", "orders", "a.json", "--server", &url];
    let (code, _, stderr) = desk.run(&args).await;
    assert!(code == 2 && stderr.contains("RIACHO_INGEST_SECRET"), "{stderr}");
    for (secret, want) in [("nonsense", 2), ("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 1)] {
        desk.write("other", secret);
        let (code, _, stderr) = desk.run(&[&args[..], &["--secret-file", "other"]].concat()).await;
        assert_eq!(code, want, "{stderr}");
        assert!(
            !stderr.contains(secret) && stderr.contains(["whsec_", "signature"][usize::from(want == 1)]),
            "{stderr}"
        );
    }
    for (source, table, says) in
        [("none", "orders", "there is no source `none`"), ("shop", "none", "`none` is none of")]
    {
        let args = ["source", "import", source, table, "a.json", "--server", &url, "--secret-file", "secret"];
        let left = desk.run(&args).await;
        desk.check_refused(&left, &["the import is not complete", says]);
    }
    assert_eq!(desk.run(&["source", "import", "shop", "orders"]).await.0, 2);
    assert!(Path::new(&desk.path("a.json")).exists() && desk.count() == 0);
}
