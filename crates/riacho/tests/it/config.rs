//! Settings from flags, environment, file and defaults.

use riacho::{
    config::{self, Config, Durability, Keep, LogFormat, Origins, Problems, SettingsFile},
    source::{
        Database, DynamoDbSettings, SqliteSettings, TableSettings,
        settings::{Changes, FirstRows, Secret},
    },
};
use riacho_core::name::StreamName;
use std::{ffi::OsString, fs, path::Path, time::Duration};

fn read(args: &[(&str, &str)], env: &[(&str, &str)], file: &str) -> Result<Config, Problems> {
    let args: Vec<_> = args.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let env: Vec<(OsString, OsString)> = env.iter().map(|(k, v)| (k.into(), v.into())).collect();
    let file = SettingsFile { path: "riacho.toml".into(), text: file.to_owned() };
    Config::from_parts(&args, &env, Some(&file))
}

#[track_caller]
fn check_file(file: &str, want: &str) {
    check_refused(read(&[], &[], file), want);
}

#[track_caller]
fn check_env(name: &str, value: &str, want: &str) {
    check_refused(read(&[], &[(name, value)], ""), want);
}

#[track_caller]
fn check_refused(result: Result<Config, Problems>, want: &str) {
    let problems = result.expect_err("must be refused").to_string();
    assert_eq!(problems, want);
}

#[test]
fn without_anything_the_defaults_hold() {
    let config = Config::from_parts(&[], &[], None).unwrap();
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:4700");
    assert_eq!(config.http.cors_origins, Origins::None);
    assert_eq!(config.log.data, Path::new("riacho-data"));
    assert!(config.log.create && !config.http.anonymous);
    assert_eq!(config.delivery.heartbeat, Duration::from_secs(15));
    assert_eq!(config.logging.log_format, LogFormat::Text);
    assert_eq!(config.limits.head_bytes_max, 16 * 1024);
    assert_eq!(config.limits.event_bytes_max, 1024 * 1024);
    let rule = config.log.streams.of("any/thing");
    assert_eq!((rule.durability, rule.keep, rule.closed), (Durability::Durable, Keep::DEFAULT, false));
    let tables = &config.tables;
    assert_eq!(
        (tables.snapshot_hold, tables.snapshot_max_age),
        (Duration::from_mins(1), Duration::from_secs(1))
    );
    assert_eq!(tables.rows_cache_bytes, 32 << 20);
    assert_eq!(config.limits.row_bytes_max, 1 << 20);
    assert_eq!((config.limits.views_max, config.limits.snapshots_max), (100_000, 100));
    let rule = config.log.streams.tables().of("any/table");
    assert_eq!((rule.tombstones, rule.old_value, &rule.schema), (Duration::from_hours(7 * 24), false, &None));
    let changes = (rule.stream.durability, rule.stream.keep, rule.stream.closed);
    let day = Keep { age: Some(Duration::from_hours(24)), bytes: Some(64 << 20), events: None };
    assert_eq!(changes, (Durability::Durable, day, false));
}

#[test]
fn flags_win_over_environment_over_file_over_defaults() {
    let file = "drain = \"1s\"\nretry = \"1s\"\nheartbeat = \"1s\"\nlisten = \"127.0.0.1:1\"\n";
    let env =
        [("RIACHO_LISTEN", "127.0.0.1:2"), ("RIACHO_DRAIN", "2s"), ("RIACHO_RETRY", "2s"), ("HOME", "/")];
    let config = read(&[("listen", "127.0.0.1:3"), ("drain", "3s")], &env, file).unwrap();
    assert_eq!(config.http.listen.port(), 3);
    assert_eq!(config.http.drain, Duration::from_secs(3));
    assert_eq!(config.delivery.retry, Duration::from_secs(2));
    assert_eq!(config.delivery.heartbeat, Duration::from_secs(1));
    assert_eq!(config.log.trim_interval, Duration::from_secs(10));
    let shown = config.effective.to_string();
    for (line, origin) in [
        ("listen = \"127.0.0.1:3\"", "--listen"),
        ("retry = \"2s\"", "RIACHO_RETRY"),
        ("heartbeat = \"1s\"", "riacho.toml:3"),
        ("trim_interval = \"10s\"", "default"),
    ] {
        let found = shown.lines().find(|l| l.starts_with(line)).unwrap_or_else(|| panic!("{line}\n{shown}"));
        assert!(found.ends_with(&format!("# {origin}")), "{found}");
    }
}

#[test]
fn what_check_prints_is_a_file_that_says_the_same() {
    let file = "[limits]\nevent_bytes_max = 70000\n[[stream]]\nmatch = \"a\\\"/*\"\nkeep.age = \"90s\"\n\
        [[table]]\nmatch = \"t\"\ntombstones = \"90s\"\nschema = \"a \\\"b\\\".json\"\n\
        [[table]]\nmatch = \"t/*\"\nold_value = true\nkeep = { events = 5, bytes = 1 }\n[[table]]\nmatch = \"**\"\n";
    let config = read(&[("cors-origins", "https://a.b, http://c:81")], &[], file).unwrap();
    let again = read(&[], &[], &config.effective.to_string()).unwrap();
    assert_eq!(
        (again.http, again.log, again.tables, again.delivery, again.logging, again.limits),
        (config.http, config.log, config.tables, config.delivery, config.logging, config.limits)
    );
}

#[test]
fn a_wrong_value_is_named_with_its_source_and_the_right_shape() {
    check_env("RIACHO_LISTEN", "8080", "RIACHO_LISTEN: expected an address like 127.0.0.1:4700, got `8080`");
    check_env("RIACHO_LISTEN", "", "RIACHO_LISTEN: expected an address like 127.0.0.1:4700, got ``");
    check_env("RIACHO_CREATE", "yes", "RIACHO_CREATE: expected true or false, got `yes`");
    check_env("RIACHO_REACTORS", "-1", "RIACHO_REACTORS: expected a number from 0 to 1024, got `-1`");
    check_env(
        "RIACHO_LIMITS_EVENT_BYTES_MAX",
        "65MiB",
        "RIACHO_LIMITS_EVENT_BYTES_MAX: expected a size from 1KiB to 64MiB, got `65MiB`",
    );
    check_env(
        "RIACHO_LOG_LEVEL",
        "inof",
        "RIACHO_LOG_LEVEL: expected a filter like info or riacho=debug, got `inof`",
    );
    check_refused(
        read(&[("drain", "10")], &[], ""),
        "--drain: expected a duration from 0ms to 10m, got `10`",
    );
}

#[test]
fn a_wrong_value_of_the_file_is_named_with_its_line() {
    check_file(
        "# our server\n\nlisten = 8080\n",
        "riacho.toml:3: listen: expected an address like 127.0.0.1:4700, got `8080`",
    );
    check_file("anonymous = 1.5", "riacho.toml:1: anonymous: expected true or false, got `1.5`");
    check_file("data = []", "riacho.toml:1: data: expected a path, got array");
    check_file("limits = 3", "riacho.toml:1: limits: expected a table, as in [limits]");
    check_file(
        "[[stream]]\nmatch = \"a\"\n\n[[stream]]\nmatch = \"b*\"\nkeep = { age = \"1w\" }\n",
        "riacho.toml:5: stream.match: the pattern uses `*` beside other characters; it stands for a whole segment, got `b*`\n\
         riacho.toml:6: stream.keep.age: expected a duration from 1s to 36500d, got `1w`",
    );
    check_file(
        "[stream]\nmatch = \"a\"",
        "riacho.toml:1: stream: expected one or more [[stream]], with two brackets",
    );
    check_file(
        "[[stream]]\nclosed = true",
        "riacho.toml:1: stream.match is missing: it says which streams the rule is for",
    );
    check_file(
        "[[table]]\nmatch = \"b*\"\n[[table]]\nmatch = \"-/tables/a\"\ntombstones = 7\nold_value = 1\nschema = \"\"\n\
         keep = { bytes = \"64 MiB\", age = \"0s\" }\n[[table]]\nold_value = true\n",
        "riacho.toml:2: table.match: the pattern uses `*` beside other characters; it stands for a whole segment, got `b*`\n\
         riacho.toml:4: table.match: the pattern begins with the segment `-`, which the server keeps for itself, got `-/tables/a`\n\
         riacho.toml:5: table.tombstones: expected a duration from 1s to 36500d, got `7`\n\
         riacho.toml:6: table.old_value: expected true or false, got `1`\n\
         riacho.toml:7: table.schema: expected a path, got ``\n\
         riacho.toml:8: table.keep.bytes: expected a size from 1 to 1024TiB, got `64 MiB`\n\
         riacho.toml:8: table.keep.age: expected a duration from 1s to 36500d, got `0s`\n\
         riacho.toml:9: table.match is missing: it says which tables the rule is for",
    );
    check_file(
        "[table]\nmatch = \"a\"",
        "riacho.toml:1: table: expected one or more [[table]], with two brackets",
    );
}

#[test]
fn a_file_that_is_not_toml_is_refused_with_its_line() {
    let problems = read(&[], &[], "create = true\nlisten = \n").unwrap_err().to_string();
    assert!(problems.starts_with("riacho.toml:2: "), "{problems}");
    let problems = read(&[], &[], "create = true\ncreate = true\n").unwrap_err().to_string();
    assert!(problems.starts_with("riacho.toml:2: duplicate key"), "{problems}");
}

#[test]
fn unknown_settings_name_the_nearest_right_one() {
    check_file("lisen = \"x\"", "riacho.toml:1: no setting is called `lisen`; did you mean `listen`?");
    check_file(
        "\nevent_bytes_max = \"1MiB\"",
        "riacho.toml:2: no setting is called `event_bytes_max`; did you mean `limits.event_bytes_max`?",
    );
    check_file(
        "[limits]\nevent_byte_max = 1",
        "riacho.toml:2: no setting is called `limits.event_byte_max`; did you mean `limits.event_bytes_max`?",
    );
    check_file("[limit]\n", "riacho.toml:1: no setting is called `limit`; did you mean `limits`?");
    check_file(
        "[[stream]]\nmatch = \"a\"\nkeep = { ages = \"1d\" }",
        "riacho.toml:3: no setting is called `stream.keep.ages`; did you mean `stream.keep.age`?",
    );
    check_file(
        "[[table]]\nmatch = \"a\"\nold_values = true\ndurability = \"memory\"",
        "riacho.toml:3: no setting is called `table.old_values`; did you mean `table.old_value`?\n\
         riacho.toml:4: no setting is called `table.durability`; `riacho check` lists all there are",
    );
    check_file("[[tables]]\n", "riacho.toml:1: no setting is called `tables`; did you mean `table`?");
    check_file(
        "zebra = 1",
        "riacho.toml:1: no setting is called `zebra`; `riacho check` lists all there are",
    );
    check_env("RIACHO_LISTNE", "x", "RIACHO_LISTNE: no such setting; did you mean `RIACHO_LISTEN`?");
    check_refused(read(&[("lissen", "x")], &[], ""), "--lissen: no such setting; did you mean `--listen`?");
}

#[test]
fn all_problems_are_told_at_once() {
    let problems = read(&[("listen", "x")], &[("RIACHO_DATA", "")], "create = 1\nretry = 1").unwrap_err();
    let at: Vec<_> = problems.0.iter().map(|p| p.at.as_str()).collect();
    assert_eq!(at, ["riacho.toml:1", "riacho.toml:2", "RIACHO_DATA", "--listen"]);
}

#[test]
fn the_variables_of_the_client_commands_are_no_mistake() {
    read(&[], &[("RIACHO_SERVER", "http://x"), ("RIACHO_CONFIG", "x.toml")], "").unwrap();
}

#[test]
fn only_loopback_may_be_listened_on_without_anonymous() {
    for loopback in
        ["127.0.0.1:1", "127.9.9.9:0", "[::1]:1", "localhost:1", "LOCALHOST:1", "[::ffff:127.0.0.1]:1"]
    {
        read(&[("listen", loopback)], &[], "").unwrap();
    }
    for open in ["0.0.0.0:1", "[::]:1", "192.168.1.1:1", "example.com:1", "localhost.example.com:1"] {
        let problems = read(&[("listen", open)], &[], "").unwrap_err().to_string();
        assert!(
            problems.starts_with(&format!("--listen: {open} can be reached from other machines")),
            "{problems}"
        );
        assert!(
            problems.contains("no authentication exists yet") && problems.contains("--anonymous"),
            "{problems}"
        );
        read(&[("listen", open), ("anonymous", "true")], &[], "").unwrap();
    }
}

#[test]
fn what_is_no_address_is_refused() {
    for bad in [
        "4700",
        ":4700",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:+80",
        "127.0.0:1",
        "::1:4700",
        "[::1]",
        "h:65536",
        "a b:1",
    ] {
        read(&[("listen", bad)], &[], "").expect_err(bad);
    }
}

#[test]
fn sizes_and_durations_are_taken_in_all_units() {
    for (text, bytes) in
        [("65536", 65_536), ("500KB", 500_000), ("64KiB", 65_536), ("1MB", 1_000_000), ("2MiB", 2 << 20)]
    {
        let config = read(&[], &[("RIACHO_LIMITS_EVENT_BYTES_MAX", text)], "").unwrap();
        assert_eq!(config.limits.event_bytes_max, bytes, "{text}");
    }
    for bad in
        ["1 MiB", "1mib", "1.5MiB", "-1", "MiB", "99999999999999999999", "18446744073709551615TiB", "1M"]
    {
        read(&[], &[("RIACHO_LIMITS_EVENT_BYTES_MAX", bad)], "").expect_err(bad);
    }
    assert_eq!(
        read(&[], &[], "[limits]\nevent_bytes_max = 0x1_0000").unwrap().limits.event_bytes_max,
        65_536
    );
}

#[test]
fn origins_are_exact_or_all() {
    let origins = |list: &str| read(&[("cors-origins", list)], &[], "").map(|c| c.http.cors_origins);
    assert_eq!(origins("*"), Ok(Origins::Any));
    let two = Origins::Exact(vec!["https://app.example".into(), "http://[::1]:8080".into()]);
    assert_eq!(origins("https://app.example, http://[::1]:8080"), Ok(two.clone()));
    let file = "cors_origins = [\"https://app.example\", \"http://[::1]:8080\"]";
    assert_eq!(read(&[], &[], file).unwrap().http.cors_origins, two);
    assert!(
        two.allows("https://app.example") && !two.allows("https://app.example.org") && !two.allows("null")
    );
    for never_sent in [
        "https://app.example/",
        "https://App.example",
        "app.example",
        "https://a.b:443",
        "http://a.b:80",
        "https://*.a.b",
        "*,https://a.b",
        "https://a.b:x",
        "https://",
        "null",
        "https://u@a.b",
    ] {
        origins(never_sent).expect_err(never_sent);
    }
}

#[test]
fn the_first_stream_rule_that_matches_holds() {
    let file = r#"
        create = false
        [[stream]]
        match = "chat/lobby"
        closed = true
        [[stream]]
        match = "chat/*"
        durability = "memory"
        keep = { events = 100 }
    "#;
    let log = read(&[], &[], file).unwrap().log;
    assert!(!log.create);
    assert!(log.streams.of("chat/lobby").closed);
    assert_eq!(log.streams.of("chat/lobby").keep, Keep::DEFAULT);
    let room = log.streams.of("chat/room");
    assert_eq!(room.durability, Durability::Memory);
    assert_eq!(room.keep, Keep { age: None, bytes: None, events: Some(100) });
    assert!(log.streams.configured("chat/room").is_some());
    assert!(log.streams.configured("chat/a/b").is_none());
    assert_eq!(log.streams.of("chat/a/b").durability, Durability::Durable);
}

#[test]
fn the_first_table_rule_that_matches_holds_for_the_table_and_its_stream() {
    let file = r#"
        create = false
        [[stream]]
        match = "**"
        durability = "memory"
        keep = { events = 1 }
        [[table]]
        match = "shop/orders"
        schema = "orders.json"
        tombstones = "1h"
        [[table]]
        match = "shop/*"
        old_value = true
        keep = { age = "10m" }
    "#;
    let streams = read(&[], &[], file).unwrap().log.streams;
    let stream = |table| StreamName::of_table(table).unwrap();
    let rule = |table| streams.tables().of(table);
    assert_eq!(rule("shop/orders").schema.as_deref(), Some(Path::new("orders.json")));
    assert_eq!(
        (rule("shop/orders").tombstones, rule("shop/orders").old_value),
        (Duration::from_hours(1), false)
    );
    assert_eq!((rule("shop/items").old_value, &rule("shop/items").schema), (true, &None));
    for (table, keep) in [
        ("shop/orders", Keep::OF_TABLES),
        ("shop/items", Keep { age: Some(Duration::from_mins(10)), bytes: None, events: None }),
        ("other", Keep::OF_TABLES),
    ] {
        let found = streams.of(stream(table).as_str());
        assert_eq!((found.keep, found.durability), (keep, Durability::Durable), "{table}");
        assert_eq!(found, &rule(table).stream);
        let configured = table != "other";
        assert_eq!(streams.configured(stream(table).as_str()).is_some(), configured, "{table}");
        assert_eq!(streams.tables().configured(table).is_some(), configured, "{table}");
    }
    assert_eq!(streams.of("shop/orders").durability, Durability::Memory, "a stream of a table's name");
}

#[test]
fn a_table_rule_that_nothing_reaches_is_refused() {
    check_file(
        "[[stream]]\nmatch = \"**\"\n[[table]]\nmatch = \"a/*\"\n[[table]]\nmatch = \"a/b\"\n",
        "riacho.toml:5: table: no table reaches the rule for `a/b`: the first match wins, and `a/*` (riacho.toml:3) takes them all",
    );
}

#[test]
fn a_stream_rule_that_nothing_reaches_is_refused() {
    check_file(
        "[[stream]]\nmatch = \"a/*\"\n[[stream]]\nmatch = \"a/b\"\n",
        "riacho.toml:3: stream: no stream reaches the rule for `a/b`: the first match wins, and `a/*` (riacho.toml:1) takes them all",
    );
    for above in ["**", "x/*"] {
        read(&[], &[], &format!("[[stream]]\nmatch = \"{above}\"\n[[stream]]\nmatch = \"x/*\"\n"))
            .expect_err(above);
    }
}

#[test]
fn limits_that_contradict_each_other_are_refused() {
    check_file(
        "[limits]\nevent_bytes_max = \"3MiB\"\nbatch_bytes_max = \"2MiB\"",
        "riacho.toml:3: limits.batch_bytes_max (2MiB, riacho.toml:3) is less than limits.event_bytes_max (3MiB, \
         riacho.toml:2), which must fit into it",
    );
    // The default is not what somebody got wrong.
    check_file(
        "[limits]\nview_bytes_max = \"1GiB\"",
        "riacho.toml:2: limits.views_bytes_max (256MiB, default) is less than limits.view_bytes_max (1GiB, \
         riacho.toml:2), which must fit into it",
    );
}

#[test]
fn connections_leave_descriptors_for_the_rest_of_the_process() {
    let limits = Config::from_parts(&[], &[], None).unwrap().limits;
    assert_eq!(limits.connections_within(1 << 20), 100_000);
    assert_eq!(limits.connections_within(1024), 768);
    assert_eq!(limits.connections_within(100), 1);
}

#[test]
fn every_setting_has_a_sentence_and_a_default_that_it_takes() {
    let shown = Config::from_parts(&[], &[], None).unwrap().effective.json();
    let shown = shown["settings"].as_array().unwrap();
    assert_eq!(shown.len(), config::settings().count(), "every default is taken");
    for setting in config::settings() {
        assert!(
            setting.doc().ends_with('.') && !setting.doc().contains("  "),
            "{}: {}",
            setting.name,
            setting.doc()
        );
    }
}

/// Compares a generated file of the repository; `UPDATE=1 cargo test` writes it anew.
#[track_caller]
fn check_fresh(path: &str, want: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, want).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == want, "{} is stale: UPDATE=1 cargo test -p riacho --test it config", path.display());
}

#[test]
fn the_documentation_of_settings_is_fresh() {
    check_fresh("docs/config.md", &config::markdown());
    check_fresh("riacho.example.toml", &config::example());
}

#[test]
fn the_example_parses_as_it_is_and_with_every_setting_taken() {
    let defaults = Config::from_parts(&[], &[], None).unwrap();
    let example = config::example();
    let taken: Vec<_> = example
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(setting) if !setting.starts_with([' ', '#']) => setting,
            _ => line,
        })
        .collect();
    for text in [example.clone(), taken.join("\n")] {
        let config = read(&[], &[], &text).unwrap();
        assert_eq!(
            (config.http, config.tables, config.delivery, config.logging, config.limits),
            (
                defaults.http.clone(),
                defaults.tables.clone(),
                defaults.delivery.clone(),
                defaults.logging.clone(),
                defaults.limits.clone()
            )
        );
        assert_eq!(config.log.streams.of("x"), defaults.log.streams.of("x"));
        assert_eq!(config.log.streams.tables().of("x"), defaults.log.streams.tables().of("x"));
    }
    assert!(taken.contains(&"[[stream]]") && taken.contains(&"[[table]]"));
    for setting in config::settings() {
        let name = setting.name.rsplit('.').next().unwrap();
        assert!(taken.iter().any(|line| line.starts_with(&format!("{name} = "))), "{name}");
    }
}

const SOURCES: &str = r#"
[[source]]
sqlite = "data/my shop.db"

[[source]]
name = "crm"
postgres = "postgres://riacho:pass@word@db.example:5433/crm?password=s3cr3t"
tables = ["sales.*", { table = "people", as = "staff", columns = ["id", "name"], where = "active" }]
slot = "one"
"#;

#[test]
fn sources_are_read_with_all_that_is_said_of_their_tables() {
    let config = read(&[], &[], SOURCES).unwrap();
    let [shop, crm] = &config.sources[..] else { panic!("{:?}", config.sources) };
    assert_eq!((&*shop.name, shop.database.kind()), ("my_shop", "sqlite"));
    assert_eq!(shop.tables, [TableSettings::all_of("*")]);
    let Database::Postgres(postgres) = &crm.database else { panic!("{crm:?}") };
    assert_eq!(
        (&*crm.name, postgres.slot.as_deref(), postgres.publication.as_deref()),
        ("crm", Some("one"), None)
    );
    let staff = TableSettings {
        table: "people".into(),
        name: Some("staff".into()),
        columns: Some(vec!["id".into(), "name".into()]),
        filter: Some("active".into()),
        key: None,
    };
    assert_eq!(crm.tables, [TableSettings::all_of("sales.*"), staff]);
    // Nobody who looks at the configuration learns the password, and what is printed says the same otherwise.
    for shown in [config.effective.to_string(), config.effective.json().to_string(), format!("{config:?}")] {
        assert!(!shown.contains("pass@word") && !shown.contains("s3cr3t"), "{shown}");
    }
    let again = read(&[], &[], &config.effective.to_string()).unwrap();
    assert_eq!(
        again.sources.iter().map(|source| &source.tables).collect::<Vec<_>>(),
        [&shop.tables, &crm.tables]
    );
}

#[test]
fn one_source_is_given_by_flags_or_variables() {
    let flags = [("source", "sqlite:shop.db"), ("table", "orders, stock"), ("setup", "true")];
    let config = read(&flags, &[("RIACHO_SOURCE", "postgres://db/else")], "").unwrap();
    let [shop] = &config.sources[..] else { panic!("{:?}", config.sources) };
    assert_eq!(shop.database, Database::Sqlite(SqliteSettings { path: "shop.db".into(), setup: true }));
    assert_eq!(shop.tables, ["orders", "stock"].map(TableSettings::all_of));
    let config = read(&[], &[("RIACHO_SOURCE", "postgres://db/else")], "").unwrap();
    assert_eq!((&*config.sources[0].name, config.sources[0].database.kind()), ("else", "postgres"));
}

#[test]
fn a_source_that_cannot_be_is_refused_with_what_is_wrong() {
    let cases = [
        (
            "name = \"x\"",
            "source: says not where rows come from: `sqlite = \"PATH\"`, `postgres = \"URL\"` or `dynamodb = \"REGION\"`",
        ),
        (
            "sqlite = \"a\"\npostgres = \"postgres://b\"",
            "source: has more than one of `sqlite`, `postgres` and `dynamodb`; make it several",
        ),
        (
            "sqlite = \"a\"\nname = \"Shop!\"",
            "source: the name `Shop!` is not made of 1 to 40 small letters, digits and `_`; give it one with `name`",
        ),
        (
            "sqlite = \"a\"\ntables = [1]",
            "source.tables: expected a list of names of tables, got `something else in the list`",
        ),
        (
            "sqlite = \"a\"\ntables = [{ table = \"t\", rename = \"u\" }]",
            "source.tables: a table has no `rename`; there are table, as, columns, where, key",
        ),
        (
            "sqlite = \"a\"\ntables = [{ table = \"t*\", as = \"u\" }]",
            "source: `t*` is a pattern, which `as` cannot rename",
        ),
        ("sqlit = \"a\"", "no setting is called `source.sqlit`; did you mean `source.sqlite`?"),
    ];
    for (text, want) in cases {
        let problems = read(&[], &[], &format!("[[source]]\n{text}")).expect_err(text).to_string();
        assert!(problems.lines().any(|line| line.ends_with(want)), "{text}: {problems}");
    }
    let twice = "[[source]]\nsqlite = \"a.db\"\ntables = [\"t\"]\n[[source]]\nsqlite = \"b/a.db\"\ntables = [\"t\"]\n";
    check_file(
        twice,
        "riacho.toml:4: source: another one is called `a` (riacho.toml:1); give it another `name`\n\
         riacho.toml:4: source: `t` is a table of the source `a` too; rename one of them with `as`",
    );
    check_refused(
        read(&[("table", "t")], &[], ""),
        "--source: is missing: --table and --setup belong to a source",
    );
    let url = "mysql://u:secret@db/x";
    check_refused(
        read(&[("source", url)], &[], ""),
        "--source: expected something like sqlite:shop.db, postgres://user@host/shop or dynamodb:orders, got `mysql://***@db/x`",
    );
}

#[test]
fn a_source_of_dynamodb_is_read_with_all_that_is_said_of_it() {
    let plain = read(&[("source", "dynamodb:orders, users")], &[], "").unwrap();
    let [plain] = &plain.sources[..] else { panic!("{:?}", plain.sources) };
    assert_eq!((&*plain.name, plain.database.kind()), ("orders", "dynamodb"));
    assert_eq!(plain.database, Database::DynamoDb(DynamoDbSettings::default()));
    assert_eq!(plain.tables, [TableSettings::all_of("orders"), TableSettings::all_of("users")]);

    let of = |text: &str| {
        let config = read(&[], &[], &format!("[[source]]\nname = \"shop\"\n{text}")).expect(text);
        let Database::DynamoDb(dynamodb) = config.sources[0].database.clone() else { panic!("{text}") };
        (dynamodb, config)
    };
    let (region, _) = of("dynamodb = \"eu-west-1\"\ntables = [\"t\"]");
    assert_eq!(region, DynamoDbSettings { region: Some("eu-west-1".into()), ..DynamoDbSettings::default() });
    let (default, _) = of("dynamodb = \"default\"\ntables = [\"t\"]");
    assert_eq!(default, DynamoDbSettings::default(), "as the AWS tools find it");

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ingest.secret");
    fs::write(&file, format!("{INGEST_SECRET}\n")).unwrap();
    let by_file = format!("ingest_secret_file = \"{}\"", file.display());
    for secret in [by_file, format!("ingest_secret = \"{INGEST_SECRET}\"")] {
        let (given, config) = of(&format!(
            "dynamodb = \"default\"\n{secret}\nsnapshot = \"import\"\npoll = \"1s\"\nrcu_max = 100\n\
             endpoint = \"http://localhost:8000\"\nprofile = \"shop\"\n\
             tables = [\"t\", {{ table = \"u\", key = [\"a\", \"b\"], as = \"users\", columns = [\"c\"] }}]"
        ));
        let want = DynamoDbSettings {
            region: None,
            endpoint: Some("http://localhost:8000".into()),
            profile: Some("shop".into()),
            // Where there is a secret, changes are pushed.
            changes: Changes::Ingest,
            snapshot: FirstRows::Import,
            secret: Some(Secret(INGEST_SECRET.into())),
            poll: Duration::from_secs(1),
            rcu_max: Some(100),
            ..DynamoDbSettings::default()
        };
        assert_eq!(given, want);
        assert_eq!(config.sources[0].tables[1].key, Some(vec!["a".to_owned(), "b".to_owned()]));
        let shown = config.effective.to_string();
        for shown in [&shown, &config.effective.json().to_string(), &format!("{config:?}")] {
            assert!(!shown.contains(INGEST_SECRET) && shown.contains("***"), "{shown}");
        }
        let said = shown.replace("***", INGEST_SECRET);
        assert_eq!(read(&[], &[], &said).unwrap().sources, config.sources);
    }
    let secret = format!("dynamodb = \"default\"\ningest_secret = \"{INGEST_SECRET}\"\ntables = [\"t\"]\n");
    for changes in [Changes::Poll, Changes::Ingest, Changes::Both] {
        let (given, _) = of(&format!("{secret}changes = \"{}\"", changes.as_str()));
        assert_eq!((given.changes, given.snapshot), (changes, FirstRows::Scan));
    }
}

#[test]
fn a_source_of_dynamodb_that_cannot_be_is_refused_with_what_is_wrong() {
    let secret = format!("ingest_secret = \"{INGEST_SECRET}\"");
    let needs = "which needs `ingest_secret` or `ingest_secret_file`";
    let names = "names of DynamoDB's tables stand in `tables` (or after `dynamodb:`), without patterns";
    let tables = "tables = [\"t\"]";
    let cases = [
        (String::new(), names),
        ("tables = [\"t*\"]".to_owned(), names),
        (
            "tables = [{ table = \"t\", where = \"a > 1\" }]".to_owned(),
            "say which rows they want with `where`",
        ),
        ("tables = [{ table = \"t\", key = [\"a\", \"b\", \"c\"] }]".to_owned(), "hash first"),
        ("tables = [\"t\", \"t\"]".to_owned(), "`t` and `t` are the same table"),
        ("tables = [{ table = \"t\", as = \"u\" }, \"u\"]".to_owned(), "or called the same"),
        (
            format!("{tables}\naccess_key_id = \"AKIA\""),
            "only one of `access_key_id` and `secret_access_key`",
        ),
        (format!("{tables}\nchanges = \"ingest\""), needs),
        (format!("{tables}\nchanges = \"both\""), needs),
        (format!("{tables}\nsnapshot = \"import\""), needs),
        (format!("{tables}\nchanges = \"push\""), "got `push`"),
        (format!("{tables}\nsnapshot = \"copy\""), "got `copy`"),
        (
            format!("{tables}\n{secret}\ningest_secret_file = \"x\""),
            "has both `ingest_secret` and `ingest_secret_file`",
        ),
        (
            format!("{tables}\ningest_secret_file = \"/no/such\""),
            "the secret cannot be read from `/no/such`: ",
        ),
        (
            format!("{tables}\ningest_secret = \"whsec_c2hvcnQ=\""),
            "not `whsec_` and 24 to 64 bytes in base64",
        ),
        (format!("{tables}\n{secret}\npoll = \"0s\""), "source.poll: expected a duration"),
        (format!("{tables}\nrcu_max = 0"), "source.rcu_max: expected a number"),
        (format!("{tables}\nsqlite = \"a\""), "has more than one of"),
    ];
    for (text, want) in cases {
        let file = format!("[[source]]\nname = \"shop\"\ndynamodb = \"default\"\n{text}");
        let problems = read(&[], &[], &file).expect_err(&text).to_string();
        assert!(problems.contains(want), "{text}: {problems}");
        assert!(!problems.contains("c2hvcnQ"), "{problems}");
    }
    let elsewhere = "[[source]]\nsqlite = \"a\"\ntables = [{ table = \"t\", key = [\"a\"] }]";
    let problems = read(&[], &[], elsewhere).unwrap_err().to_string();
    assert!(problems.contains("`key` of a table is for DynamoDB only"), "{problems}");
    read(&[], &[("RIACHO_INGEST_SECRET", "x")], "").expect("it is for `source import`");
}

const INGEST_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[test]
fn patterns_of_tables_have_stars_for_any_text() {
    let cases = [
        ("*", "a", true),
        ("a*", "ab", true),
        ("a*", "b", false),
        ("*a", "ba", true),
        ("a*c*e", "abcde", true),
    ];
    let more = [
        ("a*c*e", "ace", true),
        ("a*c*e", "ae", false),
        ("ab*ba", "aba", false),
        ("a", "a", true),
        ("a", "ab", false),
    ];
    for (pattern, table, want) in cases.into_iter().chain(more) {
        assert_eq!(TableSettings::all_of(pattern).matches(table), want, "{pattern} {table}");
    }
}
