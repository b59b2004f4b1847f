//! Files of SQLite, written by its shell, by Python and by this process.

use crate::{
    live_tables::{Reader, told},
    support::{TestServer, run, until},
};
use riacho::source::{
    Database, Reload, SourceInfo, SourceSettings, Sources, SqliteSettings, TableSettings,
    sqlite::{check, preview, setup, teardown},
};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

/// A server that has a file of SQLite as its source.
pub(super) struct Shop {
    pub server: TestServer,
    pub sources: Sources,
    pub settings: SourceSettings,
    pub path: PathBuf,
    directory: tempfile::TempDir,
}

impl Shop {
    /// One whose file was made by `sql`, and whose `tables` are read.
    pub(super) async fn open(sql: &str, tables: &[&str]) -> Self {
        let tables = tables.iter().map(|name| table(name)).collect();
        Self::with(sql, tables, true).await
    }

    async fn with(sql: &str, tables: Vec<TableSettings>, setup: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shop.db");
        shell(&path, sql);
        Self::of((path, directory), tables, setup, TestServer::start().await).await
    }

    /// One with the file at `path`, and this server.
    pub(super) async fn at(path: PathBuf, tables: &[&str], server: TestServer) -> Self {
        let tables = tables.iter().map(|name| table(name)).collect();
        Self::of((path, tempfile::tempdir().unwrap()), tables, true, server).await
    }

    async fn of(
        (path, directory): (PathBuf, tempfile::TempDir),
        tables: Vec<TableSettings>,
        setup: bool,
        server: TestServer,
    ) -> Self {
        let database = Database::Sqlite(SqliteSettings { path: path.clone(), setup });
        let settings = SourceSettings { name: Arc::from("shop"), database, tables };
        let sources = Sources::new(server.log().clone(), Reload::new(|| Ok(Vec::new())));
        sources.run(vec![settings.clone()]).await;
        Self { server, sources, settings, path, directory }
    }

    /// Waits until the source is in `state`.
    #[track_caller]
    pub(super) fn until(&self, state: &str) -> impl Future<Output = SourceInfo> {
        let sources = self.sources.clone();
        let state = state.to_owned();
        until("a state", async move || sources.list().pop().filter(|info| info.state.as_str() == state))
    }

    /// Reads the table once its rows are whole.
    #[track_caller]
    fn read(&self, table: &str) -> impl Future<Output = Reader> {
        let live = self.until("live");
        let target = format!("/tables/{table}");
        let at = std::panic::Location::caller();
        async move {
            live.await;
            println!("{at}");
            Reader::open(&self.server, &target, "").await
        }
    }

    /// Runs `sql` in SQLite's shell. The source runs on meanwhile: it may have to end a read before the shell can write.
    async fn shell(&self, sql: &str) {
        let (path, sql) = (self.path.clone(), sql.to_owned());
        tokio::task::spawn_blocking(move || shell(&path, &sql)).await.unwrap();
    }

    /// Stops the source as if it were killed, and begins it anew.
    async fn restart(&mut self) {
        self.stop().await;
        self.start().await;
    }

    pub(super) async fn stop(&mut self) {
        self.sources.stop().await;
    }

    pub(super) async fn start(&mut self) {
        self.sources = Sources::new(self.server.log().clone(), Reload::new(|| Ok(Vec::new())));
        self.sources.run(vec![self.settings.clone()]).await;
    }

    /// Our rows of the table.
    pub(super) fn rows(&self, table: &str) -> BTreeMap<String, Value> {
        let stream = riacho_core::name::StreamName::of_table(table).unwrap();
        let page = self.server.log().rows().snapshot(&stream).unwrap().rows(None, usize::MAX).unwrap();
        page.rows.into_iter().map(|row| (row.key.into(), serde_json::from_str(&row.value).unwrap())).collect()
    }

    /// Waits until our rows of the table are these.
    #[track_caller]
    pub(super) fn until_rows(&self, table: &str, rows: Value) -> impl Future<Output = ()> {
        let rows: BTreeMap<String, Value> = serde_json::from_value(rows).unwrap();
        until("rows", async move || (self.rows(table) == rows).then_some(()))
    }
}

fn table(name: &str) -> TableSettings {
    TableSettings::all_of(name)
}

/// Runs `sql` in SQLite's shell.
#[track_caller]
pub(super) fn shell(path: &Path, sql: &str) {
    let mut child = Command::new("sqlite3")
        .args(["-batch", "-bail", "-cmd", ".timeout 10000"])
        .arg(path)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(sql.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[track_caller]
fn python(path: &Path, code: &str) {
    let code = format!("import sqlite3, sys\ndb = sqlite3.connect(sys.argv[1], timeout=10)\n{code}");
    let output = Command::new("python3").arg("-c").arg(code).arg(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

const ORDERS: &str = "CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT, email TEXT UNIQUE);
    INSERT INTO orders VALUES (1, 'tea', 'a@x'), (2, 'milk', 'b@x');";

#[tokio::test]
async fn a_page_gets_the_rows_of_a_file_and_what_any_program_changes() {
    let shop = Shop::open(ORDERS, &["orders"]).await;
    let mut page = shop.read("orders").await;
    page.group().await;
    assert_eq!(
        serde_json::to_value(&page.rows).unwrap(),
        json!({"1": {"id": 1, "item": "tea", "email": "a@x"}, "2": {"id": 2, "item": "milk", "email": "b@x"}})
    );

    shop.shell("UPDATE orders SET item = 'cake' WHERE id = 1;").await;
    page.group().await;
    python(&shop.path, "db.execute(\"INSERT INTO orders VALUES (3, 'rye', NULL)\"); db.commit()");
    page.group().await;
    let here = Connection::open(&shop.path).unwrap();
    here.execute("DELETE FROM orders WHERE id = 2", []).unwrap();
    page.group().await;
    assert_eq!(page.operations().split_off(2), told(&[("update", "1"), ("insert", "3"), ("delete", "2")]));
    assert_eq!(page.rows["3"], json!({"id": 3, "item": "rye", "email": null}));
    assert_eq!(page.resets, Vec::<Value>::new());
}

#[tokio::test]
async fn changes_of_one_commit_are_one_transaction() {
    let shop = Shop::open(ORDERS, &["orders"]).await;
    let mut page = shop.read("orders").await;
    page.group().await;
    shop.shell("BEGIN; UPDATE orders SET item = 'x'; INSERT INTO orders VALUES (3, 'x', NULL); COMMIT;")
        .await;
    page.group().await;
    assert!(page.rows.len() == 3 && page.rows.values().all(|row| row["item"] == "x"), "{:?}", page.rows);

    shop.shell("BEGIN; UPDATE orders SET item = 'never'; ROLLBACK; DELETE FROM orders;").await;
    page.until(json!({})).await;
    assert!(page.seen.iter().all(|message| message["value"]["item"] != "never"), "{:?}", page.seen);
}

#[tokio::test]
async fn what_replace_removes_is_removed() {
    let sql = format!("{ORDERS} CREATE UNIQUE INDEX lower ON orders(lower(item)) WHERE item IS NOT NULL;");
    let shop = Shop::open(&sql, &["orders"]).await;
    let mut page = shop.read("orders").await;
    shop.shell("PRAGMA recursive_triggers = OFF; REPLACE INTO orders VALUES (1, 'rye', 'c@x');").await;
    page.until(json!({"1": {"id": 1, "item": "rye", "email": "c@x"}, "2": {"id": 2, "item": "milk", "email": "b@x"}}))
        .await;
    shop.shell("PRAGMA recursive_triggers = OFF; REPLACE INTO orders VALUES (3, 'oat', 'b@x');").await;
    page.until(
        json!({"1": {"id": 1, "item": "rye", "email": "c@x"}, "3": {"id": 3, "item": "oat", "email": "b@x"}}),
    )
    .await;
    shop.shell("PRAGMA recursive_triggers = OFF; UPDATE OR REPLACE orders SET email = 'c@x' WHERE id = 3;")
        .await;
    page.until(json!({"3": {"id": 3, "item": "oat", "email": "c@x"}})).await;
    shop.shell("PRAGMA recursive_triggers = OFF; REPLACE INTO orders VALUES (4, 'OAT', 'd@x');").await;
    page.until(json!({"4": {"id": 4, "item": "OAT", "email": "d@x"}})).await;
}

#[tokio::test]
async fn what_is_ignored_stays() {
    let shop = Shop::open(ORDERS, &["orders"]).await;
    let mut page = shop.read("orders").await;
    shop.shell(
        "INSERT OR IGNORE INTO orders VALUES (7, 'x', 'a@x');
         INSERT INTO orders VALUES (8, 'y', 'b@x') ON CONFLICT (email) DO UPDATE SET item = excluded.item;
         INSERT INTO orders VALUES (9, 'z', 'z@x') ON CONFLICT DO NOTHING;",
    )
    .await;
    let rows = json!({
        "1": {"id": 1, "item": "tea", "email": "a@x"},
        "2": {"id": 2, "item": "y", "email": "b@x"},
        "9": {"id": 9, "item": "z", "email": "z@x"},
    });
    page.until(rows).await;
    assert!(page.seen.iter().all(|message| message["headers"]["operation"] != "delete"), "{:?}", page.seen);
}

#[tokio::test]
async fn a_row_whose_key_changes_is_another_row() {
    let shop = Shop::open(ORDERS, &["orders"]).await;
    let mut page = shop.read("orders").await;
    page.group().await;
    shop.shell("UPDATE orders SET id = 20 WHERE id = 2;").await;
    page.group().await;
    assert_eq!(page.operations().split_off(2), told(&[("delete", "2"), ("insert", "20")]));
}

#[tokio::test]
async fn keys_are_of_any_shape() {
    let shop = Shop::open(
        "CREATE TABLE pairs (a TEXT, n INT, v, PRIMARY KEY (n, a)) WITHOUT ROWID;
         CREATE TABLE words (w TEXT PRIMARY KEY COLLATE NOCASE, v) WITHOUT ROWID;
         CREATE TABLE bytes (b BLOB PRIMARY KEY, rowid TEXT, oid TEXT, _rowid_ TEXT);
         INSERT INTO pairs VALUES ('x', 1, NULL), ('y', 1, 2.5);
         INSERT INTO words VALUES ('Tea', 1), ('milk', 2);
         INSERT INTO bytes VALUES (x'00ff', 'a', 'b', 'c'), ('text', NULL, NULL, NULL);",
        &["*"],
    )
    .await;
    shop.until("live").await;
    shop.until_rows(
        "pairs",
        json!({"[1,\"x\"]": {"a": "x", "n": 1, "v": null}, "[1,\"y\"]": {"a": "y", "n": 1, "v": 2.5}}),
    )
    .await;
    shop.until_rows(
        "bytes",
        json!({
            "AP8=": {"b": "AP8=", "rowid": "a", "oid": "b", "_rowid_": "c"},
            "text": {"b": "text", "rowid": null, "oid": null, "_rowid_": null},
        }),
    )
    .await;
    shop.shell(
        "UPDATE pairs SET a = 'z' WHERE a = 'x'; DELETE FROM pairs WHERE a = 'y';
         UPDATE words SET w = 'TEA' WHERE w = 'tea'; REPLACE INTO words VALUES ('MILK', 3);
         DELETE FROM bytes WHERE b = x'00ff';",
    )
    .await;
    shop.until_rows("words", json!({"TEA": {"w": "TEA", "v": 1}, "MILK": {"w": "MILK", "v": 3}})).await;
    shop.until_rows("pairs", json!({"[1,\"z\"]": {"a": "z", "n": 1, "v": null}})).await;
    shop.until_rows("bytes", json!({"text": {"b": "text", "rowid": null, "oid": null, "_rowid_": null}}))
        .await;
}

#[tokio::test]
async fn a_source_that_was_killed_misses_nothing_and_repeats_nothing() {
    let mut shop = Shop::open(ORDERS, &["orders"]).await;
    let mut page = shop.read("orders").await;
    page.group().await;
    shop.stop().await;
    shop.shell("INSERT INTO orders VALUES (3, 'x', NULL); DELETE FROM orders WHERE id = 1;").await;
    shop.start().await;
    page.group().await;
    shop.restart().await;
    shop.until("live").await;
    shop.shell("UPDATE orders SET item = 'y' WHERE id = 3;").await;
    page.group().await;
    let mut operations = page.operations().split_off(2);
    operations[..2].sort();
    assert_eq!(operations, told(&[("delete", "1"), ("insert", "3"), ("update", "3")]));
    assert_eq!(page.resets, Vec::<Value>::new());
}

#[tokio::test]
async fn a_file_that_was_restored_is_compared() {
    for in_place in [true, false] {
        let mut shop = Shop::open(ORDERS, &["orders"]).await;
        let mut page = shop.read("orders").await;
        page.group().await;
        let copy = shop.directory.path().join("copy.db");
        shop.shell(&format!("VACUUM INTO '{}';", copy.display())).await;
        shop.shell("UPDATE orders SET item = 'lost' WHERE id = 1; DELETE FROM orders WHERE id = 2;").await;
        page.group().await;
        if in_place {
            shop.stop().await;
            // Another history of as many changes.
            shell(
                &copy,
                "UPDATE orders SET item = 'other' WHERE id = 2; UPDATE orders SET item = 'more' WHERE id = 2;",
            );
            shop.shell(&format!(".restore '{}'", copy.display())).await;
            shop.start().await;
        } else {
            shell(&copy, "UPDATE orders SET item = 'more' WHERE id = 2;");
            std::fs::rename(&copy, &shop.path).unwrap();
        }
        let rows = json!({
            "1": {"id": 1, "item": "tea", "email": "a@x"}, "2": {"id": 2, "item": "more", "email": "b@x"}
        });
        page.until(rows).await;
        assert_eq!(page.resets, Vec::<Value>::new());
        shop.shell("DELETE FROM orders;").await;
        page.until(json!({})).await;
    }
}

#[tokio::test]
async fn a_table_that_is_made_anew_is_compared() {
    let shop = Shop::open(ORDERS, &["orders"]).await;
    let mut page = shop.read("orders").await;
    page.group().await;
    shop.shell(
        "BEGIN; CREATE TABLE new (id INTEGER PRIMARY KEY, item TEXT, n INT DEFAULT 5);
         INSERT INTO new (id, item) SELECT id, item FROM orders WHERE id = 2;
         DROP TABLE orders; ALTER TABLE new RENAME TO orders; COMMIT;
         INSERT INTO orders VALUES (3, 'x', 1);",
    )
    .await;
    page.until(json!({"2": {"id": 2, "item": "milk", "n": 5}, "3": {"id": 3, "item": "x", "n": 1}})).await;
    shop.shell("ALTER TABLE orders ADD COLUMN note TEXT; ALTER TABLE orders DROP COLUMN n;").await;
    page.until(
        json!({"2": {"id": 2, "item": "milk", "note": null}, "3": {"id": 3, "item": "x", "note": null}}),
    )
    .await;
    shop.shell("ALTER TABLE orders RENAME COLUMN id TO no; UPDATE orders SET note = 'n' WHERE no = 3;").await;
    page.until(
        json!({"2": {"no": 2, "item": "milk", "note": null}, "3": {"no": 3, "item": "x", "note": "n"}}),
    )
    .await;
    shop.shell("DROP TABLE orders;").await;
    page.until(json!({})).await;
    shop.shell("CREATE TABLE orders (id INTEGER PRIMARY KEY); INSERT INTO orders VALUES (1);").await;
    page.until(json!({"1": {"id": 1}})).await;
    assert_eq!(page.resets, Vec::<Value>::new());
}

#[tokio::test]
async fn triggers_that_were_dropped_come_back_with_a_comparison() {
    let shop = Shop::open(ORDERS, &["orders"]).await;
    let mut page = shop.read("orders").await;
    page.group().await;
    shop.shell("DROP TRIGGER _riacho_delete_orders; DELETE FROM orders WHERE id = 1; VACUUM;").await;
    page.until(json!({"2": {"id": 2, "item": "milk", "email": "b@x"}})).await;
    shop.shell("DROP TABLE _riacho_changes;").await;
    shop.until("live").await;
    shop.until_rows("orders", json!({"2": {"id": 2, "item": "milk", "email": "b@x"}})).await;
    until("the table of changes", async || {
        let db = Connection::open(&shop.path).unwrap();
        db.execute("UPDATE orders SET item = 'x'", []).ok()
    })
    .await;
    page.until(json!({"2": {"id": 2, "item": "x", "email": "b@x"}})).await;
}

#[tokio::test]
async fn a_table_that_comes_later_and_fits_a_pattern_is_read() {
    let shop = Shop::open(ORDERS, &["*"]).await;
    shop.until("live").await;
    shop.shell("CREATE TABLE items (id TEXT PRIMARY KEY); INSERT INTO items VALUES ('a');").await;
    shop.until_rows("items", json!({"a": {"id": "a"}})).await;
    assert_eq!(shop.sources.list()[0].tables.len(), 2);
}

#[tokio::test]
async fn columns_and_filters_are_the_databases_work() {
    let wanted = TableSettings {
        table: "orders".to_owned(),
        name: Some("mine".to_owned()),
        columns: Some(vec!["item".to_owned()]),
        filter: Some("item <> 'milk' -- not milk".to_owned()),
        key: None,
    };
    let shop = Shop::with(ORDERS, vec![wanted], true).await;
    let mut page = shop.read("mine").await;
    page.until(json!({"1": {"id": 1, "item": "tea"}})).await;
    shop.shell("UPDATE orders SET item = 'milk' WHERE id = 1; UPDATE orders SET item = 'rye' WHERE id = 2;")
        .await;
    page.until(json!({"2": {"id": 2, "item": "rye"}})).await;
    shop.shell(
        "UPDATE orders SET email = 'other' WHERE id = 2; UPDATE orders SET item = 'oat' WHERE id = 2;",
    )
    .await;
    page.until(json!({"2": {"id": 2, "item": "oat"}})).await;
    assert_eq!(page.operations().last(), told(&[("update", "2")]).last());
}

#[tokio::test]
async fn setup_is_asked_for_done_and_undone() {
    let shop = Shop::with(ORDERS, vec![table("orders")], false).await;
    let broken = shop.until("broken").await;
    let (_, fault) = broken.last_fault.unwrap();
    let command = format!("riacho source setup sqlite:{} --table orders", shop.path.display());
    assert_eq!(fault.remedy, Some(command));

    let tables = ["orders".to_owned()];
    let sql = preview(&shop.path, &tables).unwrap();
    assert!(sql.contains("CREATE TRIGGER \"_riacho_insert_orders\""), "{sql}");
    assert!(check(&shop.path, &tables).iter().any(|finding| finding.fatal));
    assert_eq!(setup(&shop.path, &tables).unwrap(), sql);
    assert!(!check(&shop.path, &tables).iter().any(|finding| finding.fatal));
    assert_eq!(preview(&shop.path, &tables).unwrap(), "");
    shop.sources.resume("shop").await;
    shop.until("live").await;

    shop.sources.stop().await;
    teardown(&shop.path).unwrap();
    let db = Connection::open(&shop.path).unwrap();
    let left: i64 = db
        .query_row("SELECT count(*) FROM sqlite_schema WHERE name LIKE '\\_riacho%' ESCAPE '\\'", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn the_commands_set_up_check_and_undo() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shop.db");
    shell(&path, ORDERS);
    let source = async |args: &[&str]| {
        let output = run(directory.path(), &[&["source"], args].concat()).await;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    };
    let tables = ["sqlite:shop.db", "--table", "orders"];
    let with = |words: &[&'static str]| [words, tables.as_slice()].concat();

    let (code, out, err) = source(&with(&["check"])).await;
    assert!(code == 1 && out.contains("CREATE TRIGGER") && err.contains("cannot be a source"), "{out} {err}");
    let (_, preview, _) = source(&with(&["setup", "--preview"])).await;
    let (code, ran, _) = source(&with(&["setup"])).await;
    assert!(code == 0 && ran == preview && ran.contains("CREATE TRIGGER"), "{ran}");
    let (code, out, _) = source(&with(&["check"])).await;
    assert!(
        code == 0 && out.contains("advice: the file is not in WAL mode") && out.contains("can be"),
        "{out}"
    );
    let (code, out, _) = source(&["teardown", "sqlite:shop.db"]).await;
    assert!(code == 0 && out.contains("DROP TABLE"), "{out}");
    assert_eq!(source(&["teardown", "sqlite:shop.db"]).await, (0, String::new(), String::new()));

    let (code, _, err) = source(&["check", "shop.db", "--table", "orders"]).await;
    assert!(code == 2 && err.contains("sqlite:shop.db"), "{err}");
    let (code, _, err) = source(&["setup", "sqlite:none.db", "--table", "orders"]).await;
    assert!(code == 1 && err.contains("riacho: there is no file none.db"), "{err}");
    let (code, _, err) = source(&["setup", "sqlite:shop.db", "--table", "order"]).await;
    assert!(code == 1 && err.contains("riacho: did you mean `orders`?"), "{err}");
}

#[tokio::test]
async fn what_cannot_be_a_source_says_why() {
    let cases = [
        ("CREATE TABLE t (a);", "t", "has no primary key", "INTEGER PRIMARY KEY"),
        ("CREATE VIEW t AS SELECT 1;", "t", "is a view", "tables"),
        ("CREATE TABLE Orders (a PRIMARY KEY);", "orders", "no table `orders`", "`Orders`"),
        (
            "CREATE TABLE t (a PRIMARY KEY); INSERT INTO t VALUES (NULL);",
            "t",
            "NULL in its primary key",
            "NOT NULL",
        ),
        ("CREATE TABLE t (a TEXT PRIMARY KEY); INSERT INTO t VALUES ('');", "t", "empty", "key"),
        ("CREATE VIRTUAL TABLE t USING fts5(a);", "t", "virtual table", "ordinary"),
    ];
    for (sql, name, message, remedy) in cases {
        let shop = Shop::open(sql, &[name]).await;
        let info = shop.until("broken").await;
        let (_, fault) = info.last_fault.unwrap();
        assert!(fault.message.contains(message), "{fault:?}");
        assert!(fault.remedy.as_ref().is_some_and(|said| said.contains(remedy)), "{fault:?}");
    }
}

#[tokio::test]
async fn a_file_that_is_none_says_why() {
    let shop = Shop::open(ORDERS, &["orders"]).await;
    let directory = shop.directory.path();
    std::fs::write(
        directory.join("text.db"),
        "not a database, but long enough to be taken for one".repeat(100),
    )
    .unwrap();
    let cases = [("text.db", "not a file of SQLite"), ("none.db", "no file"), ("", "directory")];
    for (name, message) in cases {
        let findings = check(&directory.join(name), &["orders".to_owned()]);
        assert!(findings[0].fatal && findings[0].message.contains(message), "{findings:?}");
    }
    shop.until("live").await;
}

#[tokio::test]
async fn a_file_that_comes_back_is_read_on() {
    let shop = Shop::open(ORDERS, &["orders"]).await;
    let mut page = shop.read("orders").await;
    page.group().await;
    let away = shop.directory.path().join("away.db");
    std::fs::rename(&shop.path, &away).unwrap();
    shop.until("backing_off").await;
    shell(&away, "DELETE FROM orders WHERE id = 1;");
    std::fs::rename(&away, &shop.path).unwrap();
    page.until(json!({"2": {"id": 2, "item": "milk", "email": "b@x"}})).await;
    assert_eq!(page.operations().split_off(2), told(&[("delete", "1")]));
}

#[tokio::test]
async fn writers_in_wal_and_rollback_mode_are_both_heard() {
    for mode in ["wal", "delete", "truncate", "persist"] {
        let shop = Shop::open(&format!("PRAGMA journal_mode = {mode}; {ORDERS}"), &["orders"]).await;
        shop.until("live").await;
        let write = |from: i64| {
            let (path, mode) = (shop.path.clone(), mode.to_owned());
            std::thread::spawn(move || {
                let db = Connection::open(path).unwrap();
                db.busy_timeout(std::time::Duration::from_secs(20)).unwrap();
                db.query_row(&format!("PRAGMA journal_mode = {mode}"), [], |_| Ok(())).unwrap();
                for id in from..from + 50 {
                    db.execute("INSERT INTO orders (id) VALUES (?1)", [id]).unwrap();
                }
            })
        };
        let writers = [write(100), write(200)];
        until("all rows", async || (shop.rows("orders").len() == 102).then_some(())).await;
        writers.into_iter().for_each(|writer| writer.join().unwrap());
    }
}
