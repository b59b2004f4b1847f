//! Tests of what is understood, without a server; and of what a real one says.

use super::{
    Env, Role, Session, Target,
    conninfo::Params,
    fault, pgpass, replication_fault,
    server_for_tests::{Postgres, PostgresOptions},
    service,
    tls::TlsMode,
};
use pgwire_replication::{ReplicationClient, SslMode};
use riacho_core::source::machine::{Fault, FaultKind};
use std::{ffi::OsString, fs, os::unix::fs::PermissionsExt};

fn parse_with(text: &str, env: &[(&str, &str)]) -> Result<Target, Fault> {
    let env: Vec<(OsString, OsString)> =
        env.iter().map(|(name, value)| (name.into(), value.into())).collect();
    Target::parse(text, &env)
}

#[track_caller]
fn parsed(text: &str) -> Target {
    parse_with(text, &[("USER", "someone")]).unwrap()
}

fn password(target: &Target) -> Option<&str> {
    target.password.as_ref().map(|secret| secret.0.as_str())
}

#[test]
fn url_and_pairs_say_the_same() {
    for text in [
        "postgres://app:s%40%2F%3A%25@db.example.com:6432/shop?sslmode=require&connect_timeout=3",
        "postgresql://app@db.example.com:6432/shop?sslmode=require&connect_timeout=3&password=s@/:%25",
        r"host=db.example.com port = 6432 dbname='shop' user=app password='s@/:%' sslmode=require connect_timeout=3",
    ] {
        let target = parsed(text);
        assert_eq!(target.shown(), "db.example.com:6432/shop as app", "{text}");
        assert_eq!(password(&target), Some("s@/:%"), "{text}");
        assert_eq!(target.security.mode, TlsMode::Require, "{text}");
        assert_eq!(target.connect_timeout().as_secs(), 3, "{text}");
        assert_eq!(target.role, Role::Any, "{text}");
    }
}

#[test]
fn places_are_read_as_libpq_reads_them() {
    for (text, shown) in [
        ("postgres://h/", "h:5432/someone as someone"),
        ("postgres://u@h", "h:5432/u as u"),
        ("postgres://u@[::1]:99/d", "[::1]:99/d as u"),
        ("postgres://u@%2Fvar%2Frun%2Fx/d", "/var/run/x:5432/d as u"),
        ("postgres://u@/d?host=/var/run/x&port=99", "/var/run/x:99/d as u"),
        ("postgres://u@a:1,b,c:3/d", "a:1,b:5432,c:3/d as u"),
        ("postgres://u@a,b/d?port=7", "a:7,b:7/d as u"),
        ("host=a,b port=1,2 user=u dbname=d", "a:1,b:2/d as u"),
        ("hostaddr=10.0.0.1 user=u dbname=d", "10.0.0.1:5432/d as u"),
        ("host=h hostaddr=10.0.0.1 user=u dbname=d", "h:5432/d as u"),
        (r"host=h user=u dbname='a \'b\' \\c'", r"h:5432/a 'b' \c as u"),
        (r"host=h user=u dbname=a\ b", "h:5432/a b as u"),
    ] {
        assert_eq!(parsed(text).shown(), shown, "{text}");
    }
    assert_eq!(parsed("postgres://u@a,b/d").role, Role::ReadWrite);
    assert_eq!(parsed("postgres://u@a,b/d?target_session_attrs=any").role, Role::Any);
}

#[test]
fn what_is_refused_is_named_and_no_password_is_repeated() {
    for (text, part) in [
        ("postgres://u:sec/ret@h/d", "no number from 1 to 65535"),
        ("postgres://u:sec%zzret@h/d", "`%`"),
        ("postgres://u:secret@h:0/d", "no number from 1 to 65535"),
        ("postgres://u@h/d?password=x&secret=y", "parameter 2"),
        ("postgres://u@h/d?secret", "parameter 1"),
        ("postgres://u@[::1/d?password=secret", "malformed"),
        ("user=u password=sec ret=x", "pair 3"),
        ("user=u password=sec ret", "pair 3"),
        ("user=u password='secret", "quote"),
        ("host=h user=u password=secret sslmode=always", "`sslmode`"),
        ("host=h user=u password=secret channel_binding=require", "`channel_binding`"),
        ("host=h user=u password=secret sslcrl=x", "`sslcrl`"),
        ("host=h user=u sslrootcert=system sslmode=require", "sslrootcert=system"),
        ("host=a,b,c port=1,2 user=u", "`port`"),
        ("host=a hostaddr=10.0.0.1,10.0.0.2 user=u", "`hostaddr`"),
        ("host=a hostaddr=localhost user=u", "`hostaddr`"),
        ("host=h user=u connect_timeout=soon", "`connect_timeout`"),
        ("host=h user=u service=nowhere", "`nowhere`"),
    ] {
        let fault = parse_with(text, &[]).unwrap_err();
        let said = format!("{fault:?}");
        assert_eq!(fault.kind, FaultKind::NeedsPerson, "{text}");
        assert!(fault.message.contains(part), "{text}: {said}");
        assert!(!said.contains("sec") && !said.contains("ret="), "{text}: {said}");
    }
    assert!(parse_with("host=h", &[]).unwrap_err().message.contains("no user"));
}

#[test]
fn debug_of_a_target_has_no_password() {
    assert!(!format!("{:?}", parsed("postgres://u:hush@h/d")).contains("hush"));
}

#[test]
fn text_comes_before_service_and_service_before_environment() {
    let home = tempfile::tempdir().unwrap();
    let service = "# of tests\n[other]\nhost=wrong\n\n[shop]\nhost=of-service\nport=1\nuser=of-service\n[shop]\nport=2\n";
    fs::write(home.path().join(".pg_service.conf"), service).unwrap();
    let home = home.path().to_str().unwrap();
    let env = [
        ("HOME", home),
        ("PGUSER", "of-env"),
        ("PGDATABASE", "of-env"),
        ("PGSSLMODE", "disable"),
        ("USER", "x"),
    ];
    let target = parse_with("service=shop host=of-text", &env).unwrap();
    assert_eq!(target.shown(), "of-text:1/of-env as of-service");
    assert_eq!(target.security.mode, TlsMode::Disable);
    let by_env = [&env[..], &[("PGSERVICE", "shop")]].concat();
    assert_eq!(parse_with("", &by_env).unwrap().shown(), "of-service:1/of-env as of-service");
    // As if it were not given.
    assert_eq!(parse_with("host=h user=", &env).unwrap().shown(), "h:5432/of-env as of-env");
}

#[test]
fn service_files_with_errors_say_the_line() {
    for (text, answer) in [
        ("[a]\nhost=h\n[b]\nnonsense", Ok(true)),
        ("[a]\nhost=h\nnonsense\n", Err(3)),
        ("[a]\nhost =h\n", Err(2)),
        ("[a]\nservice=b\n", Err(2)),
        ("[b]\nhost=h\n", Ok(false)),
        ("", Ok(false)),
    ] {
        assert_eq!(service::fill_from(&mut Params::default(), text, "a"), answer, "{text}");
    }
}

#[test]
fn password_files_are_read_line_by_line() {
    let text = "# h:1:d:u:comment\nh:1:other:u:a\nh:1:d:u:b\\:c\\\\d\nh:*:*:*:any\n[\\:\\:1]:1:d:u:six\n*:*:*:admin:x:more\n";
    for (wanted, password) in [
        (["h", "1", "d", "u"], Some("b:c\\d")),
        (["h", "1", "other", "u"], Some("a")),
        (["h", "2", "d", "v"], Some("any")),
        (["[::1]", "1", "d", "u"], Some("six")),
        (["z", "1", "d", "admin"], Some("x")),
        (["z", "1", "d", "u"], None),
    ] {
        assert_eq!(pgpass::find_in(text, &wanted).as_deref(), password, "{wanted:?}");
    }
}

#[tokio::test]
async fn password_file_that_others_may_read_is_ignored() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pass");
    fs::write(&file, "*:*:*:*:hush").unwrap();
    for (mode, found) in [(0o600, true), (0o640, false), (0o604, false), (0o400, true)] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(pgpass::find(&file, "h", 1, "d", "u").await.is_some(), found, "{mode:o}");
    }
    assert!(pgpass::find(&directory.path().join("none"), "h", 1, "d", "u").await.is_none());
}

#[test]
fn variables_that_are_empty_are_not_set() {
    let env = [("PGHOST".into(), OsString::new())];
    assert_eq!(Env(&env).get("PGHOST"), None);
}

async fn server(options: PostgresOptions) -> Postgres {
    Postgres::start(options).await
}

async fn connect(text: &str) -> Result<Session, Fault> {
    parsed(text).connect().await
}

async fn value(session: &Session, sql: &str) -> String {
    session.query_one(sql, &[]).await.unwrap().get(0)
}

/// Connects the replication client as far as START_REPLICATION would come.
async fn replicates(text: &str) -> Result<(), Fault> {
    let target = parsed(text);
    let session = target.connect().await?;
    let config = target.replication(session.reached(), "slot", "publication");
    let as_fault = |err| replication_fault(&err, &target);
    let mut client = ReplicationClient::connect_gated(config).await.map_err(as_fault)?;
    client.identify_system().await.map_err(as_fault)?;
    let zone = client.simple_query("SHOW TimeZone").await.map_err(as_fault)?;
    assert_eq!(format!("{zone:?}").matches("UTC").count(), 1, "{zone:?}");
    Ok(())
}

#[tokio::test]
async fn session_reads_values_as_replication_does_and_ends_with_a_reason() {
    let mut server = server(PostgresOptions::default()).await;
    server
        .psql("ALTER ROLE postgres SET TimeZone = 'Asia/Tokyo'; ALTER ROLE postgres SET DateStyle = 'German'")
        .await;
    let url = server.url();
    let session = connect(&url).await.unwrap();
    for (setting, is) in [
        ("application_name", "riacho"),
        ("TimeZone", "UTC"),
        ("DateStyle", "ISO, MDY"),
        ("IntervalStyle", "iso_8601"),
        ("bytea_output", "hex"),
        ("extra_float_digits", "1"),
        ("statement_timeout", "0"),
    ] {
        assert_eq!(value(&session, &format!("SELECT current_setting('{setting}')")).await, is, "{setting}");
    }
    replicates(&url).await.unwrap();
    replicates(&server.socket_url()).await.unwrap();
    assert_eq!(session.reached().tls.mode, SslMode::Disable);

    server
        .psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'riacho'")
        .await;
    let ended = session.ended().await;
    assert_eq!(ended.kind, FaultKind::Passing);
    assert!(ended.message.contains("told to end"), "{ended:?}");
    server.stop();
    let refused = connect(&url).await.unwrap_err();
    assert_eq!(refused.kind, FaultKind::Passing);
    assert!(refused.message.contains("nothing listens"), "{refused:?}");
    let server = server.restart().await;
    connect(&url).await.unwrap();
    drop(server);
}

#[tokio::test]
async fn dropped_session_leaves_no_connection() {
    let server = server(PostgresOptions::default()).await;
    drop(connect(&server.url()).await.unwrap());
    server.until("SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'riacho'").await;
}

#[tokio::test]
async fn who_is_refused_is_told_why_and_what_to_do() {
    let server = server(PostgresOptions {
        settings: vec!["max_connections = 8".to_owned(), "superuser_reserved_connections = 1".to_owned()],
        ..PostgresOptions::default()
    })
    .await;
    server.psql("CREATE ROLE plain LOGIN PASSWORD 'right'").await;
    let url = |user, password, database| server.url_of(user, password, database);
    let cases = [
        (url("plain", "wr0ng", "postgres"), FaultKind::NeedsPerson, "refused the password"),
        (url("nobody", "wr0ng", "postgres"), FaultKind::NeedsPerson, "refused the password"),
        (url("plain", "right", "nowhere"), FaultKind::NeedsPerson, "no such database"),
        (
            format!("host=127.0.0.1 port={} user=plain dbname=postgres", server.port()),
            FaultKind::NeedsPerson,
            "password",
        ),
        (format!("{}?sslmode=require", server.url()), FaultKind::NeedsPerson, "does not speak TLS"),
        ("postgres://u@no-such-host.invalid/d".to_owned(), FaultKind::Passing, "cannot be reached"),
        ("postgres://u@%2Fno%2Fsuch/d".to_owned(), FaultKind::Passing, "is not there"),
    ];
    for (url, kind, part) in cases {
        let fault = connect(&url).await.unwrap_err();
        assert_eq!(fault.kind, kind, "{url}: {fault:?}");
        assert!(fault.message.contains(part), "{url}: {fault:?}");
        assert_eq!(fault.remedy.is_some(), kind == FaultKind::NeedsPerson, "{url}: {fault:?}");
        assert!(!format!("{fault:?}").contains("wr0ng"), "{fault:?}");
    }

    // A role without REPLICATION has sessions, and no replication.
    let plain = url("plain", "right", "postgres");
    let refused = replicates(&plain).await.unwrap_err();
    assert_eq!(refused.kind, FaultKind::NeedsPerson, "{refused:?}");
    let target = parsed(&plain);
    let session = target.connect().await.unwrap();
    let denied = session.simple_query("SELECT * FROM pg_authid").await.unwrap_err();
    let denied = fault(&denied, &target);
    assert!(denied.message.contains("lack of rights"), "{denied:?}");

    let mut held = vec![session];
    let full = loop {
        match target.connect().await {
            Ok(session) => held.push(session),
            Err(fault) => break fault,
        }
    };
    assert_eq!(full.kind, FaultKind::Passing, "{full:?}");
    assert!(full.message.contains("no connection left"), "{full:?}");
}

#[tokio::test]
async fn passwords_come_from_the_password_file_of_the_host() {
    let server = server(PostgresOptions::default()).await;
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join(".pgpass");
    fs::write(&file, format!("other:*:*:*:wrong\n127.0.0.1:{}:*:postgres:p@ss\\:w/rd\n", server.port()))
        .unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let text = format!("host=127.0.0.1 port={} user=postgres", server.port());
    let target = parse_with(&text, &[("HOME", home.path().to_str().unwrap())]).unwrap();
    let session = target.connect().await.unwrap();
    assert!(!format!("{session:?}").contains("p@ss"), "no secret in Debug");
    assert_eq!(target.replication(session.reached(), "s", "p").password, "p@ss:w/rd");
}

#[tokio::test]
async fn tls_is_as_much_as_the_mode_asks_for() {
    let server = server(PostgresOptions {
        hba: Some("hostssl all all 127.0.0.1/32 scram-sha-256".to_owned()),
        certificate_for: Some("DNS:localhost".to_owned()),
        ..PostgresOptions::default()
    })
    .await;
    let roots = server.directory().join("ca.crt");
    let roots = roots.to_str().unwrap();
    let by_address = server.url();
    let by_name = by_address.replace("127.0.0.1", "localhost");
    let encrypted = "SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()";

    for url in [
        by_address.clone(),
        format!("{by_address}?sslmode=allow"),
        format!("{by_address}?sslmode=require"),
        format!("{by_address}?sslmode=verify-ca&sslrootcert={roots}"),
        // As libpq: roots are used.
        format!("{by_address}?sslmode=require&sslrootcert={roots}"),
        format!("{by_name}?sslmode=verify-full&sslrootcert={roots}"),
        format!("{by_name}?sslmode=verify-full&sslrootcert={roots}&hostaddr=127.0.0.1"),
    ] {
        let session = connect(&url).await.unwrap_or_else(|fault| panic!("{url}: {fault:?}"));
        assert_eq!(value(&session, encrypted).await, "true", "{url}");
        replicates(&url).await.unwrap_or_else(|fault| panic!("{url}: {fault:?}"));
    }
    for (url, part) in [
        (format!("{by_address}?sslmode=disable"), "pg_hba.conf"),
        (format!("{by_address}?sslmode=verify-full&sslrootcert={roots}"), "not valid for name"),
        (format!("{by_name}?sslmode=verify-full"), "UnknownIssuer"),
        (format!("{by_name}?sslmode=verify-ca"), "UnknownIssuer"),
        (format!("{by_name}?sslrootcert=system"), "UnknownIssuer"),
        (format!("{by_name}?sslmode=verify-full&sslrootcert=/no/such.crt"), "/no/such.crt"),
    ] {
        let fault = connect(&url).await.map(|_| ()).unwrap_err();
        assert_eq!(fault.kind, FaultKind::NeedsPerson, "{url}: {fault:?}");
        assert!(fault.message.contains(part), "{url}: {fault:?}");
        assert!(fault.remedy.is_some() || part.starts_with('/'), "{url}: {fault:?}");
    }
}

#[tokio::test]
async fn address_in_a_certificate_is_a_name() {
    let server = server(PostgresOptions {
        hba: Some("hostnossl all all all reject\nhostssl all all all scram-sha-256".to_owned()),
        certificate_for: Some("IP:127.0.0.1".to_owned()),
        ..PostgresOptions::default()
    })
    .await;
    let roots = server.directory().join("ca.crt");
    for url in [server.url(), server.url().replace("127.0.0.1", "localhost")] {
        let mode = if url.contains("localhost") { "verify-ca" } else { "verify-full" };
        let url = format!("{url}?sslmode={mode}&sslrootcert={}", roots.display());
        replicates(&url).await.unwrap_or_else(|fault| panic!("{url}: {fault:?}"));
    }
}

#[tokio::test]
async fn prefer_goes_without_tls_where_only_plain_is_let_in() {
    let server = server(PostgresOptions {
        hba: Some("hostnossl all all 127.0.0.1/32 scram-sha-256".to_owned()),
        certificate_for: Some("DNS:localhost".to_owned()),
        ..PostgresOptions::default()
    })
    .await;
    replicates(&server.url()).await.unwrap();
    assert!(connect(&format!("{}?sslmode=require", server.url())).await.is_err());
}

#[tokio::test]
async fn of_several_hosts_the_one_that_takes_writes_is_found_also_after_a_failover() {
    let mut primary = server(PostgresOptions::default()).await;
    let standby = primary.standby().await;
    let (a, b) = (standby.port(), primary.port());
    let password = "p%40ss%3Aw%2Frd";
    let url = format!("postgres://postgres:{password}@127.0.0.1:{a},127.0.0.1:{b}/postgres");
    let at = async |url: &str| connect(url).await.map(|session| session.reached().server.port);
    assert_eq!(at(&url).await, Ok(b));
    for (attributes, port) in
        [("any", a), ("standby", a), ("read-only", a), ("primary", b), ("prefer-standby", a)]
    {
        assert_eq!(at(&format!("{url}?target_session_attrs={attributes}")).await, Ok(port), "{attributes}");
    }
    primary.kill();
    let fault = at(&url).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Passing);
    assert!(fault.message.contains("takes no writes; "), "{fault:?}");
    standby.promote().await;
    assert_eq!(at(&url).await, Ok(a));
}
