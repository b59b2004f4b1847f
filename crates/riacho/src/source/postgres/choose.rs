//! Which tables are read, and what stands against it: the same for a start and for `riacho source check`.

use super::catalog::{Origin, ServerInfo};
use crate::source::TableSettings;
use riacho_core::{
    name::StreamName,
    source::{machine::Fault, postgres::stitch::Wanted},
};
use std::collections::HashSet;

/// A table that is to be read.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    pub(super) origin: Origin,
    pub(super) wanted: Wanted,
    /// The rows that are read.
    pub(super) filter: Option<String>,
    /// The columns that the publication is to have; none: all.
    pub(super) published: Option<Vec<String>>,
}

impl Choice {
    /// A text that is another one where our rows of `origin` may have to be others, though the stream says nothing.
    pub(super) fn version(&self, origin: &Origin) -> String {
        format!("{} {:?}", origin.version(), self.wanted.columns)
    }
}

/// What stands against reading a table.
#[derive(Clone, Debug)]
pub(super) struct Obstacle {
    /// What, and what to do.
    pub(super) fault: Fault,
    /// Whether the table was asked for by its name, not by a pattern.
    pub(super) named: bool,
    /// The table, as `schema.name`.
    pub(super) table: String,
}

/// Goes through `settings`; the first that names a table holds for it.
pub(super) fn choose(
    origins: &[Origin],
    settings: &[TableSettings],
    server: &ServerInfo,
) -> (Vec<Choice>, Vec<Obstacle>) {
    let (mut choices, mut obstacles): (Vec<Choice>, Vec<Obstacle>) = (Vec::new(), Vec::new());
    for table in settings {
        let named = !table.is_pattern();
        let mut found = false;
        for origin in origins.iter().filter(|origin| origin.is_named(table)) {
            found = true;
            // Of a partitioned table the whole is read, by the name of its root.
            if !named && (origin.is_partition || !matches!(origin.relkind, 'r' | 'p')) {
                continue;
            }
            if choices.iter().any(|choice| choice.origin.oid == origin.oid) {
                continue;
            }
            match choice(origin, table, server) {
                Ok(choice) => choices.push(choice),
                Err(fault) => obstacles.push(Obstacle { fault, named, table: origin.full_name() }),
            }
        }
        if !found && named {
            let fault = Fault::needs_person(
                format!("there is no table `{}` in the database `{}`", table.table, server.database),
                "name it as `schema.table` where it is not in the schema `public`, or make it",
            );
            let schema = if table.table.contains('.') { "" } else { "public." };
            obstacles.push(Obstacle { fault, named, table: format!("{schema}{}", table.table) });
        }
    }
    let mut names: HashSet<StreamName> = HashSet::new();
    choices.retain(|choice| {
        let first = names.insert(choice.wanted.stream.clone());
        if !first {
            let name = choice.wanted.stream.table().unwrap_or_default();
            let message = format!(
                "two tables would be called `{name}`, `{}` being one of them",
                choice.origin.full_name()
            );
            let fault = Fault::needs_person(message, "give one of them another name with `as`");
            obstacles.push(Obstacle { fault, named: true, table: choice.origin.full_name() });
        }
        first
    });
    (choices, obstacles)
}

fn choice(origin: &Origin, settings: &TableSettings, server: &ServerInfo) -> Result<Choice, Fault> {
    let (name, sql) = (origin.full_name(), origin.sql());
    match origin.relkind {
        'r' | 'p' => {}
        'v' | 'm' => {
            let what = if origin.relkind == 'v' { "a view" } else { "a materialized view" };
            let remedy = "name the tables it is made of, or have a trigger keep a table of what it shows";
            return Err(Fault::needs_person(
                format!("`{name}` is {what}, which has no changes of its own"),
                remedy,
            ));
        }
        _ => {
            return Err(Fault::needs_person(
                format!("`{name}` is a foreign table"),
                "read it where it lives",
            ));
        }
    }
    if origin.persistence == 'u' {
        let remedy = format!("ALTER TABLE {sql} SET LOGGED;");
        return Err(Fault::needs_person(format!("`{name}` is unlogged: its changes are in no log"), remedy));
    }
    if origin.is_partition {
        return Err(Fault::needs_person(
            format!("`{name}` is a partition"),
            "name the table it is a part of",
        ));
    }
    if origin.identity == 'n' {
        let remedy = format!("ALTER TABLE {sql} REPLICA IDENTITY DEFAULT;");
        return Err(Fault::needs_person(format!("`{name}` has REPLICA IDENTITY NOTHING"), remedy));
    }
    if origin.key.is_empty() {
        let remedy = format!(
            "give it a primary key: ALTER TABLE {sql} ADD PRIMARY KEY (id); or choose a unique index of columns that are \
             never null: ALTER TABLE {sql} REPLICA IDENTITY USING INDEX name;"
        );
        return Err(Fault::needs_person(
            format!("`{name}` has no primary key: its rows have no names"),
            remedy,
        ));
    }
    if !origin.may_select {
        let remedy = format!(
            "GRANT USAGE ON SCHEMA {} TO {}; GRANT SELECT ON {sql} TO {};",
            super::catalog::ident(&origin.namespace),
            super::catalog::ident(&server.user),
            super::catalog::ident(&server.user)
        );
        return Err(Fault::needs_person(format!("`{}` may not read `{name}`", server.user), remedy));
    }
    let known = |column: &String| origin.columns.iter().any(|known| *known.name == **column);
    if let Some(column) = settings.columns.iter().flatten().find(|column| !known(column)) {
        return Err(Fault::needs_person(
            format!("`{name}` has no column `{column}`"),
            "take it out of `columns`",
        ));
    }
    if settings.filter.is_some() {
        if server.major < 15 {
            let message = format!("`where` of `{name}` needs PostgreSQL 15, and this is {}", server.major);
            return Err(Fault::needs_person(message, "leave `where` out; readers may ask with `where=`"));
        }
        if origin.relkind == 'p' {
            let message = format!("`where` is not for the partitioned table `{name}`");
            return Err(Fault::needs_person(message, "leave `where` out; readers may ask with `where=`"));
        }
        // Else every update of the table by anybody would fail: the server judges the row before as well.
        if origin.identity != 'f' {
            let remedy = format!("ALTER TABLE {sql} REPLICA IDENTITY FULL;");
            return Err(Fault::needs_person(
                format!("`where` of `{name}` needs the whole row before a change"),
                remedy,
            ));
        }
    }
    let table = origin.table_name(settings);
    let stream = StreamName::of_table(&table).map_err(|err| {
        Fault::needs_person(format!("the table name `{table}` {err}"), "give it another one with `as`")
    })?;
    let readable =
        |name: &str| origin.columns.iter().any(|column| &*column.name == name && !column.generated);
    if let Some(column) = origin.key.iter().find(|column| !readable(column)) {
        let message =
            format!("the key of `{name}` has the column `{column}`, which is generated and not replicated");
        return Err(Fault::needs_person(message, "choose another index with REPLICA IDENTITY USING INDEX"));
    }
    // With the whole row as identity a list of columns must have all.
    let listed = settings
        .columns
        .as_ref()
        .filter(|_| server.major >= 15 && origin.identity != 'f' && origin.relkind != 'p');
    let published = listed.map(|columns| {
        let with_key = |name: &str| {
            columns.iter().any(|column| column == name) || origin.key.iter().any(|key| **key == *name)
        };
        origin
            .columns
            .iter()
            .map(|column| column.name.to_string())
            .filter(|name| with_key(name) && readable(name))
            .collect()
    });
    Ok(Choice {
        wanted: Wanted {
            stream,
            namespace: origin.namespace.clone(),
            name: origin.name.clone(),
            key: origin.key.clone(),
            columns: settings.columns.clone(),
        },
        filter: settings.filter.clone(),
        published,
        origin: origin.clone(),
    })
}
