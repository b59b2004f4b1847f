//! What a server lacks before it can be a source, all at once and in plain words. Nothing is changed.

use super::{
    catalog::{Catalog, ServerInfo, ident},
    choose::{Choice, choose},
    connect::Target,
    prepare,
};
use crate::source::{Finding, PostgresSettings, TableSettings};
use riacho_core::source::machine::Fault;

/// What stands against reading `tables` as the source `name`, and what would be better otherwise; empty where all is well.
pub(crate) async fn check(settings: &PostgresSettings, tables: &[TableSettings], name: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Err(fault) = look(settings, tables, name, &mut findings).await {
        findings.push(Finding::fatal(fault));
    }
    findings
}

async fn look(
    settings: &PostgresSettings,
    tables: &[TableSettings],
    name: &str,
    findings: &mut Vec<Finding>,
) -> Result<(), Fault> {
    let env: Vec<_> = std::env::vars_os().collect();
    let target = Target::parse(&settings.url.0, &env)?;
    let session = target.connect().await?;
    let catalog = Catalog { session: &session, target: &target };
    let server = catalog.server().await?;
    findings.extend(prepare::refusals(&server).into_iter().map(Finding::fatal));
    let (choices, obstacles) = choose(&catalog.origins(None).await?, tables, &server);
    for obstacle in obstacles {
        // What a pattern finds and cannot be read is passed over.
        findings.push(Finding { fatal: obstacle.named, ..Finding::fatal(obstacle.fault) });
    }
    let (publication, slot) = prepare::names(settings, name);
    let published = catalog.publication(&publication, &server).await?;
    match (&settings.publication, published) {
        (Some(given), None) => findings.push(Finding::needed(
            format!("there is no publication `{given}`"),
            prepare::create_publication(&publication, &choices),
        )),
        (None, None) => findings.extend(cannot_publish(&catalog, &server, &publication, &choices).await?),
        _ => {}
    }
    if catalog.slot(&slot, &server).await?.is_none() {
        room(&catalog, findings).await?;
    }
    let unbounded = catalog
        .value("SELECT setting FROM pg_catalog.pg_settings WHERE name = 'max_slot_wal_keep_size'")
        .await?;
    if unbounded.as_deref() == Some("-1") {
        findings.push(Finding::advised(
            "`max_slot_wal_keep_size` has no bound: while a source is away, the server keeps all of its log",
            "ALTER SYSTEM SET max_slot_wal_keep_size = '50GB'; SELECT pg_reload_conf();",
        ));
    }
    Ok(())
}

// Whether the user can make the publication: it takes the right to create in the database, and owning the tables.
async fn cannot_publish(
    catalog: &Catalog<'_>,
    server: &ServerInfo,
    publication: &str,
    choices: &[Choice],
) -> Result<Option<Finding>, Fault> {
    let oids: Vec<String> = choices.iter().map(|choice| choice.origin.oid.to_string()).collect();
    let owned = format!(
        "SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE') AND NOT EXISTS \
         (SELECT FROM pg_catalog.pg_class WHERE oid = ANY ('{{{}}}'::pg_catalog.oid[]) \
         AND NOT pg_catalog.pg_has_role(relowner, 'USAGE'))",
        oids.join(",")
    );
    if choices.is_empty() || catalog.value(&owned).await?.as_deref() == Some("t") {
        return Ok(None);
    }
    Ok(Some(Finding::needed(
        format!("`{}` may not make the publication: it does not own all of the tables", server.user),
        format!(
            "have an owner run: {} and name it as `publication = \"{publication}\"`",
            prepare::create_publication(publication, choices)
        ),
    )))
}

async fn room(catalog: &Catalog<'_>, findings: &mut Vec<Finding>) -> Result<(), Fault> {
    for (setting, used) in
        [("max_replication_slots", "pg_replication_slots"), ("max_wal_senders", "pg_stat_replication")]
    {
        let sql = format!(
            "SELECT (SELECT count(*) FROM pg_catalog.{used}) >= current_setting('{setting}')::pg_catalog.int8, \
             current_setting('{setting}')"
        );
        let rows = catalog.rows(&sql).await?;
        let Some(row) = rows.first().filter(|row| row.get(0) == Some("t")) else { continue };
        let max: u32 = row.get(1).and_then(|max| max.parse().ok()).unwrap_or_default();
        findings.push(Finding::needed(
            format!("all of `{setting}` ({max}) are in use"),
            format!("ALTER SYSTEM SET {} = {}; then restart PostgreSQL", ident(setting), max + 5),
        ));
    }
    Ok(())
}
