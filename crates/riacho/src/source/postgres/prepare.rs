//! Before reading: the publication and the slot are there, tables are chosen, and it is known whether the log goes on where
//! it was read last.
//!
//! Where it does not (another server, another timeline, a slot that is gone, was invalidated or read by somebody else),
//! all tables are noted as to be copied before anything else is done: their rows stay, and a copy tells what differs.

use super::{
    catalog::{Catalog, Origin, Published, ServerInfo, Slot, ident, literal},
    choose::{Choice, choose},
    notes::{self, POSITION, Position, TABLE, TableNote},
};
use crate::{
    log::Note,
    source::{PostgresSettings, Sink, TableOf, TableSettings},
};
use riacho_core::{
    name::StreamName,
    source::{
        machine::{Fault, FaultKind, Input},
        postgres::{kind::Types, lsn::Lsn},
    },
};
use std::time::Duration;

/// What is read, and from where on.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) slot: String,
    pub(super) publication: String,
    pub(super) position: Position,
    pub(super) applied: Lsn,
    pub(super) tables: Vec<Planned>,
    pub(super) types: Types,
    pub(super) server: ServerInfo,
    /// What the catalogue said: where that changes, a new plan is needed.
    pub(super) said: String,
}

/// A table of a plan.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) of: TableOf,
    pub(super) choice: Choice,
    pub(super) note: TableNote,
}

/// The names of a source's publication and slot.
pub(super) fn names(settings: &PostgresSettings, source: &str) -> (String, String) {
    let own = format!("riacho_{source}");
    (settings.publication.clone().unwrap_or_else(|| own.clone()), settings.slot.clone().unwrap_or(own))
}

/// Makes the plan, and what it needs in the database.
pub(super) async fn prepare(
    catalog: &Catalog<'_>,
    settings: &PostgresSettings,
    tables: &[TableSettings],
    server: ServerInfo,
    (system, timeline): (String, u32),
    sink: &Sink,
) -> Result<Plan, Fault> {
    let (publication, slot_name) = names(settings, sink.source());
    // Read once: what is altered from here on is found by the next look, against `said`.
    let origins = catalog.origins(None).await?;
    let noted = sink.note(POSITION).and_then(|note| notes::read::<Position>(&note));
    let slot = free_slot(catalog, &slot_name, &server).await?;
    let broken = discontinuity(noted.as_ref(), slot.as_ref(), &slot_name, &system, timeline);
    let choices = chosen(&origins, tables, &server, (sink, broken.is_none())).await?;
    // The server writes filters in its own way: whether one has changed only our notes tell.
    let filtered_anew =
        choices.iter().any(|choice| planned(choice.clone(), sink).note.filter != choice.filter);
    let ours = settings.publication.is_none();
    let choices = publish(catalog, &publication, (ours, filtered_anew), choices, &server).await?;
    let position = match (noted, broken) {
        (Some(noted), None) => noted,
        (noted, broken) => {
            if let (Some(_), Some(reason)) = (&noted, &broken) {
                tracing::warn!(
                    source = &**sink.source(),
                    reason,
                    "the database's log does not go on where it was read: tables are read anew, readers get what differs"
                );
            }
            forget(sink).await?;
            let lsn = begin_slot(catalog, &slot_name, slot.as_ref(), (&server, sink)).await?;
            let position = Position { system, timeline, slot: slot_name.clone(), lsn: lsn.to_string() };
            sink.write(Vec::new(), vec![sink.noted(POSITION, notes::write(&position))]).await?;
            position
        }
    };
    let applied =
        position.lsn().ok_or_else(|| Fault::passing("what was noted of the position cannot be read"))?;
    let mut types = Types::default();
    let oids = choices.iter().flat_map(|choice| choice.origin.columns.iter().map(|column| column.type_oid));
    let unknown: Vec<u32> = oids.filter(|oid| !types.knows(*oid)).collect();
    if !unknown.is_empty() {
        catalog.describe(&unknown, &mut types).await?;
    }
    let said = said_of(&origins, catalog, &publication, tables, &server).await?;
    let tables = choices.into_iter().map(|choice| planned(choice, sink)).collect();
    Ok(Plan { slot: slot_name, publication, position, applied, tables, types, server, said })
}

/// What the server is, if it can be read.
pub(super) async fn admitted(catalog: &Catalog<'_>) -> Result<ServerInfo, Fault> {
    let server = catalog.server().await?;
    match refusals(&server).into_iter().next() {
        Some(refusal) => Err(refusal),
        None => Ok(server),
    }
}

/// What of the catalogue a plan depends on, as one text.
pub(super) async fn said(
    catalog: &Catalog<'_>,
    publication: &str,
    tables: &[TableSettings],
    server: &ServerInfo,
) -> Result<String, Fault> {
    said_of(&catalog.origins(None).await?, catalog, publication, tables, server).await
}

async fn said_of(
    origins: &[Origin],
    catalog: &Catalog<'_>,
    publication: &str,
    tables: &[TableSettings],
    server: &ServerInfo,
) -> Result<String, Fault> {
    let (choices, obstacles) = choose(origins, tables, server);
    let chosen = choices.iter().map(|Choice { origin: o, .. }| {
        // The stream tells of columns too, but not before a row changes.
        format!("{}:{}:{}", o.full_name(), o.identity, o.version())
    });
    let refused = obstacles.into_iter().map(|obstacle| obstacle.fault.message);
    let tables: Vec<String> = chosen.chain(refused).collect();
    let published = catalog.publication(publication, server).await?;
    Ok(format!("{}\n{published:?}", tables.join("\n")))
}

/// Why a server cannot be read, all reasons.
pub(super) fn refusals(server: &ServerInfo) -> Vec<Fault> {
    let mut refusals = Vec::new();
    if server.major < SERVER_MAJOR_MIN {
        let message =
            format!("this is PostgreSQL {}, and {SERVER_MAJOR_MIN} is the oldest that is read", server.major);
        refusals.push(Fault::needs_person(message, "upgrade it"));
    }
    if server.in_recovery {
        let remedy = "give the address of the primary, or several hosts";
        refusals.push(Fault::needs_person("this server is a standby", remedy));
    }
    if server.wal_level != "logical" {
        let message =
            format!("`wal_level` is `{}`, which leaves out what logical replication needs", server.wal_level);
        let remedy = "ALTER SYSTEM SET wal_level = logical; then restart PostgreSQL";
        refusals.push(Fault::needs_person(message, remedy));
    }
    if !server.may_replicate {
        let remedy = format!("ALTER ROLE {} REPLICATION;", ident(&server.user));
        refusals.push(Fault::needs_person(format!("the role `{}` may not replicate", server.user), remedy));
    }
    refusals
}

/// The statement that makes a publication of these tables.
pub(super) fn create_publication(name: &str, choices: &[Choice]) -> String {
    let list = choices.iter().map(published_sql).collect::<Vec<_>>().join(", ");
    format!("CREATE PUBLICATION {} FOR TABLE {list} WITH (publish_via_partition_root = true);", ident(name))
}

// The slot, once nobody reads from it: after a lost connection the server may take a while to know.
async fn free_slot(catalog: &Catalog<'_>, name: &str, server: &ServerInfo) -> Result<Option<Slot>, Fault> {
    let mut tries = 0;
    loop {
        let Some(slot) = catalog.slot(name, server).await? else { return Ok(None) };
        match admit_slot(&slot, name, server) {
            Ok(()) => return Ok(Some(slot)),
            Err(fault) if fault.kind == FaultKind::NeedsPerson || tries == SLOT_TRIES => return Err(fault),
            Err(_) => tries += 1,
        }
        tokio::time::sleep(SLOT_PAUSE).await;
    }
}

fn admit_slot(slot: &Slot, name: &str, server: &ServerInfo) -> Result<(), Fault> {
    if slot.plugin != PLUGIN || slot.database != server.database {
        let message = format!(
            "the slot `{name}` is of another kind or database (`{}`, `{}`)",
            slot.plugin, slot.database
        );
        return Err(Fault::needs_person(message, "give this source another `slot`"));
    }
    match &slot.active_pid {
        // Perhaps our own connection of before, which the server does not know to be dead yet.
        Some(pid) => {
            Err(Fault::passing(format!("the slot `{name}` is in use by the server's process {pid}")))
        }
        None => Ok(()),
    }
}

// Why the log does not go on where it was read.
fn discontinuity(
    noted: Option<&Position>,
    slot: Option<&Slot>,
    slot_name: &str,
    system: &str,
    timeline: u32,
) -> Option<String> {
    let noted = noted?;
    if !system.is_empty() && !noted.system.is_empty() && noted.system != system {
        return Some("it is another database cluster".to_owned());
    }
    if timeline != 0 && noted.timeline != 0 && noted.timeline != timeline {
        // What the old primary had committed, and we read, the new one may never have had.
        return Some(format!("another server took over (timeline {} after {})", timeline, noted.timeline));
    }
    let Some(slot) = slot else { return Some(format!("the slot `{slot_name}` is gone")) };
    if slot.lost {
        return Some(format!(
            "the slot `{slot_name}` was invalidated; max_slot_wal_keep_size may be too small"
        ));
    }
    if noted.slot != slot_name {
        return Some("it is read by another slot now".to_owned());
    }
    if slot.confirmed > noted.lsn() {
        return Some(format!("somebody else has read from the slot `{slot_name}`"));
    }
    None
}

// Notes that all tables are to be copied, before the slot is made anew: so a crash between costs no change.
async fn forget(sink: &Sink) -> Result<(), Fault> {
    let mut stale: Vec<Note> = vec![sink.noted(POSITION, Vec::new())];
    for (name, value) in sink.notes(TABLE) {
        let mut note = notes::read::<TableNote>(&value).unwrap_or_default();
        note.copied = false;
        stale.push(sink.noted(&name, notes::write(&note)));
    }
    sink.write(Vec::new(), stale).await
}

// A slot that begins now.
async fn begin_slot(
    catalog: &Catalog<'_>,
    name: &str,
    slot: Option<&Slot>,
    (server, sink): (&ServerInfo, &Sink),
) -> Result<Lsn, Fault> {
    if slot.is_some() {
        catalog.execute(&format!("SELECT pg_catalog.pg_drop_replication_slot({})", literal(name))).await?;
    }
    // From 17 on standbys may have a copy of it, so that a failover loses nothing.
    let failover = if server.major >= 17 { ", failover => true" } else { "" };
    let sql = format!(
        "SELECT lsn FROM pg_catalog.pg_create_logical_replication_slot({}, {}{failover})",
        literal(name),
        literal(PLUGIN)
    );
    // The server begins it once all that is open now has ended.
    sink.tell(Input::Waits(Some(format!(
        "the slot `{name}` waits for transactions that were open before it to end"
    ))));
    let lsn = catalog.value(&sql).await;
    sink.tell(Input::Waits(None));
    let lsn = lsn.map_err(|fault| out_of_slots(fault, name))?;
    lsn.as_deref()
        .and_then(Lsn::parse)
        .ok_or_else(|| Fault::passing("PostgreSQL made a slot that begins nowhere"))
}

fn out_of_slots(fault: Fault, name: &str) -> Fault {
    let remedy = "raise max_replication_slots in postgresql.conf and restart PostgreSQL, or drop a slot that nobody reads: \
                  SELECT slot_name FROM pg_replication_slots WHERE NOT active; SELECT pg_drop_replication_slot('...');";
    // A slot may become free any time, but seldom by itself.
    match fault.message.contains("53400") || fault.message.contains("max_replication_slots") {
        true => Fault::needs_person(format!("the slot `{name}` cannot be made: {}", fault.message), remedy),
        false => fault,
    }
}

// The tables that are read. One that was fed and is gone is emptied; one that cannot be read, and was named, is a fault.
async fn chosen(
    origins: &[Origin],
    tables: &[TableSettings],
    server: &ServerInfo,
    (sink, goes_on): (&Sink, bool),
) -> Result<Vec<Choice>, Fault> {
    let (choices, obstacles) = choose(origins, tables, server);
    let mut gone = Vec::new();
    for (name, value) in sink.notes(TABLE) {
        let note = notes::read::<TableNote>(&value).unwrap_or_default();
        let exists = origins.iter().any(|origin| origin.full_name() == note.origin);
        let chosen = choices.iter().any(|choice| note_name(&choice.wanted.stream) == name);
        if !chosen && !exists {
            gone.push((name, note.origin));
        } else if !chosen {
            sink.write(Vec::new(), vec![sink.noted(&name, Vec::new())]).await?;
        }
    }
    for obstacle in obstacles {
        let was_fed = goes_on && gone.iter().any(|(_, origin)| *origin == obstacle.table);
        match obstacle.named && !was_fed {
            true => return Err(obstacle.fault),
            false => tracing::warn!(
                source = &**sink.source(),
                reason = obstacle.fault.message,
                remedy = obstacle.fault.remedy,
                "table passed over"
            ),
        }
    }
    if choices.is_empty() {
        let message = format!("no table of the database `{}` can be read", server.database);
        return Err(Fault::needs_person(message, "name tables that have a primary key in `tables`"));
    }
    // Of another database, or one that is being restored, nothing is taken for dropped.
    for (name, origin) in gone.into_iter().filter(|_| goes_on) {
        tracing::warn!(source = &**sink.source(), table = origin, "table was dropped: its rows go");
        let table = name.strip_prefix(TABLE).and_then(|name| StreamName::of_table(name).ok());
        if let Some(table) = table {
            sink.empty(&table, vec![sink.noted(&name, Vec::new())]).await?;
        }
    }
    Ok(choices)
}

// Has the publication what is chosen. One that is ours is kept so; of one that is given only what it has is read.
async fn publish(
    catalog: &Catalog<'_>,
    name: &str,
    (ours, filtered_anew): (bool, bool),
    mut choices: Vec<Choice>,
    server: &ServerInfo,
) -> Result<Vec<Choice>, Fault> {
    let published = catalog.publication(name, server).await?;
    if !ours {
        let Some(published) = published else {
            let remedy = create_publication(name, &choices);
            return Err(Fault::needs_person(format!("there is no publication `{name}`"), remedy));
        };
        let of = |choice: &Choice| {
            published
                .iter()
                .find(|p| p.namespace == choice.origin.namespace && p.name == choice.origin.name)
                .cloned()
        };
        choices.retain(|choice| {
            let there = of(choice).is_some();
            if !there {
                let table = choice.origin.full_name();
                tracing::warn!(
                    publication = name,
                    table,
                    "table passed over: the publication does not have it"
                );
            }
            there
        });
        for choice in &mut choices {
            let Some(Published { columns, filter, .. }) = of(choice) else { continue };
            choice.filter = filter;
            // A publication of whole tables has columns that come later too, which the stream is the first to tell of.
            let lacks = |columns: &Vec<String>| {
                let own = choice.origin.columns.iter().filter(|column| !column.generated);
                own.into_iter().any(|column| !columns.iter().any(|name| **name == *column.name))
            };
            if let Some(columns) = columns.filter(lacks) {
                let wanted = choice.wanted.columns.take();
                let is_wanted =
                    |column: &String| wanted.as_ref().is_none_or(|wanted| wanted.contains(column));
                choice.wanted.columns = Some(columns.into_iter().filter(is_wanted).collect());
            }
        }
        if choices.is_empty() {
            return Err(Fault::needs_person(
                format!("the publication `{name}` has none of the tables"),
                "add them to it",
            ));
        }
        return Ok(choices);
    }
    let list = choices.iter().map(published_sql).collect::<Vec<_>>().join(", ");
    match published {
        None => {
            let sql = create_publication(name, &choices);
            change(catalog, &sql).await?;
        }
        Some(published) => {
            if filtered_anew || !is_as(&published, &choices, server) {
                let sql = format!("ALTER PUBLICATION {} SET TABLE {list};", ident(name));
                change(catalog, &sql).await?;
            }
        }
    }
    Ok(choices)
}

fn published_sql(choice: &Choice) -> String {
    let columns = choice.published.as_ref().map(|columns| {
        let columns: Vec<String> = columns.iter().map(|column| ident(column)).collect();
        format!(" ({})", columns.join(", "))
    });
    let filter = choice.filter.as_ref().map(|filter| format!(" WHERE ({filter})"));
    format!("{}{}{}", choice.origin.only(), columns.unwrap_or_default(), filter.unwrap_or_default())
}

// Whether a publication has these tables and no others. Filters are compared by being there: the server writes them in its
// own way, and a changed one is noted with the table.
fn is_as(published: &[Published], choices: &[Choice], server: &ServerInfo) -> bool {
    let same = |choice: &Choice| {
        let of = |p: &&Published| p.namespace == choice.origin.namespace && p.name == choice.origin.name;
        published.iter().find(of).is_some_and(|published| {
            let all = || {
                choice
                    .origin
                    .columns
                    .iter()
                    .filter(|column| !column.generated)
                    .map(|c| c.name.to_string())
                    .collect()
            };
            let mut wanted: Vec<String> = choice.published.clone().unwrap_or_else(all);
            let mut has = published.columns.clone().unwrap_or_default();
            wanted.sort_unstable();
            has.sort_unstable();
            (server.major < 15 || wanted == has) && published.filter.is_some() == choice.filter.is_some()
        })
    };
    published.len() == choices.len() && choices.iter().all(same)
}

// Makes or changes the publication; not behind somebody who keeps a table locked, without a word to anybody.
async fn change(catalog: &Catalog<'_>, sql: &str) -> Result<(), Fault> {
    let changed = catalog.execute(&format!("SET LOCAL lock_timeout = '5s'; {sql}")).await;
    changed.map_err(|fault| match fault.kind {
        FaultKind::Passing => fault,
        FaultKind::NeedsPerson => fault.with_remedy(format!(
            "have an owner of the tables, or a superuser, run: {sql} and name it as `publication`"
        )),
    })
}

fn planned(choice: Choice, sink: &Sink) -> Planned {
    let note = sink.note(&note_name(&choice.wanted.stream));
    let mut note = note.and_then(|note| notes::read::<TableNote>(&note)).unwrap_or_default();
    // Other rows are wanted than were copied, or the table is another one by now.
    let same = note.origin == choice.origin.full_name()
        && note.filter == choice.filter
        && note.version == choice.version(&choice.origin);
    note.copied &= same;
    let of = TableOf {
        origin: choice.origin.full_name(),
        stream: choice.wanted.stream.clone(),
        ready: note.ready,
    };
    Planned { of, choice, note }
}

/// The name of a table's note.
pub(super) fn note_name(table: &StreamName) -> String {
    format!("{TABLE}{}", table.table().unwrap_or_default())
}

const SERVER_MAJOR_MIN: u32 = 14;
const SLOT_TRIES: u32 = 25;
const SLOT_PAUSE: Duration = Duration::from_millis(200);
const PLUGIN: &str = "pgoutput";
