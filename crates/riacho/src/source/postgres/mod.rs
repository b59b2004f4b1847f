//! PostgreSQL, by logical replication: a publication, a slot, copies of tables beside the stream.
//!
//! What is read when, and what of the stream a copy has already, is decided by
//! `riacho_core::source::postgres::stitch`. Positions of the server stay here.

/// How a database is reached.
pub(crate) mod connect;
/// What a server says of itself.
mod catalog;
/// Which tables are read, and what stands against it.
mod choose;
/// What is noted in the log.
mod notes;
/// Before reading.
mod prepare;
/// What a server lacks.
pub(crate) mod check;
/// Copies of tables.
mod copier;
/// Rows for copies, by several sessions.
mod parts;
/// The stream.
mod follow;

use super::{PostgresSettings, Sink, TableSettings};
use catalog::Catalog;
use connect::{Reached, Target, replication_fault};
use follow::{Ended, follow};
use pgwire_replication::ReplicationClient;
use riacho_core::source::machine::{Fault, Input};
use std::sync::Arc;

/// Reads one database of PostgreSQL.
pub(crate) struct PostgresReader {
    settings: PostgresSettings,
    tables: Vec<TableSettings>,
}

impl PostgresReader {
    /// A reader of these tables.
    pub(crate) fn new(settings: PostgresSettings, tables: Vec<TableSettings>) -> Self {
        Self { settings, tables }
    }

    /// Reads until something fails.
    pub(crate) async fn read(&mut self, sink: &Sink) -> Fault {
        match self.read_on(sink).await {
            Ok(never) => match never {},
            Err(fault) => fault,
        }
    }

    async fn read_on(&self, sink: &Sink) -> Result<std::convert::Infallible, Fault> {
        let env: Vec<_> = std::env::vars_os().collect();
        let target = Arc::new(Target::parse(&self.settings.url.0, &env)?);
        loop {
            // What a reader before this one had on its way is in the log, or never will be.
            sink.write(Vec::new(), Vec::new()).await?;
            let session = target.connect().await?;
            sink.tell(Input::Connected);
            let catalog = Catalog { session: &session, target: &target };
            let server = prepare::admitted(&catalog).await?;
            let identity = identify(&target, session.reached()).await?;
            let plan =
                prepare::prepare(&catalog, &self.settings, &self.tables, server, identity, sink).await?;
            match follow(&catalog, &target, session.reached(), (plan, &self.tables), sink).await {
                Ended::Fault(fault) => return Err(fault),
                // Another plan, at once.
                Ended::Altered => {
                    tracing::info!(source = &**sink.source(), "the tables of the database have changed");
                }
            }
        }
    }
}

// The cluster's identifier and timeline, which every user who replicates may ask for.
async fn identify(target: &Target, reached: &Reached) -> Result<(String, u32), Fault> {
    let fault = |err: &_| replication_fault(err, target);
    let asked = async {
        let config = target.replication(reached, "riacho", "riacho");
        let mut client = ReplicationClient::connect_gated(config).await.map_err(|err| fault(&err))?;
        let system = client.identify_system().await.map_err(|err| fault(&err))?;
        Ok((system.system_id, system.timeline))
    };
    match tokio::time::timeout(target.connect_timeout(), asked).await {
        Ok(identity) => identity,
        Err(_) => Err(Fault::passing(format!("{} does not answer", target.shown()))),
    }
}
