//! Events in their order become bytes: the one place where a view, a reader behind it and a page are encoded.
//!
//! An event of a stream is a piece by itself; the changes of a transaction are one piece, so that nobody stands in the
//! middle of one.

use riacho_core::{
    event::Event,
    position::{Epoch, Offset, Position},
    table::terms::{Shown, Terms},
    time::Millis,
    transport::Form,
};
use std::sync::Arc;

/// What cannot be divided: an event, or what a reader is shown of a transaction.
#[derive(Debug)]
pub(crate) struct Piece<'a> {
    /// Its last event.
    pub upto: Offset,
    /// When that came to the log.
    pub time: Millis,
    /// The bytes; none where the reader is shown nothing.
    pub bytes: &'a [u8],
}

/// Gives each piece of `events` to `each`, in order; `terms` are those of whoever reads changes. Changes at the end whose
/// transaction is not complete are left out: gives how many events were not. `whole`: what comes after `events`, in any
/// table that was asked for, is of no transaction among them.
pub(crate) fn encode_run(
    form: Form,
    epoch: Epoch,
    terms: Option<&Terms>,
    events: &[Arc<Event>],
    whole: bool,
    mut each: impl FnMut(Piece<'_>),
) -> usize {
    let mut bytes = Vec::new();
    let mut done = 0;
    while let Some(first) = events.get(done) {
        let rest = events.get(done..).unwrap_or_default();
        let Some(len) = piece_len(rest, whole) else { break };
        let group = rest.get(..len).unwrap_or_default();
        let last = group.last().unwrap_or(first);
        bytes.clear();
        match (&first.change, terms) {
            (None, _) => form.event(&mut bytes, epoch, first),
            (Some(_), None) => {}
            (Some(_), Some(terms)) => {
                let shown: Vec<(&Event, Shown<'_>)> =
                    group.iter().filter_map(|event| Some((&**event, terms.show_event(event)?))).collect();
                let at = Position { epoch, offset: last.offset };
                form.changes(&mut bytes, at, txid(first), &shown);
            }
        }
        each(Piece { upto: last.offset, time: last.time, bytes: &bytes });
        done += len;
    }
    done
}

/// The name of the transaction that the change `event` belongs to.
pub(crate) fn txid(event: &Event) -> Option<&str> {
    event.change.as_ref().and_then(|change| change.txid.as_deref())
}

/// Whether `events` begin with a whole piece; `whole` as for [`encode_run`].
pub(crate) fn has_piece(events: &[Arc<Event>], whole: bool) -> bool {
    piece_len(events, whole).is_some()
}

/// Whether two events that follow each other are changes of one transaction.
pub(crate) fn same_transaction(event: &Event, next: &Event) -> bool {
    txid(event).is_some() && txid(event) == txid(next)
}

// How many of `events` make up the first piece; none where its end is not among them. Each table has a last change in a
// transaction; `whole` says that what may follow is of another one.
fn piece_len(events: &[Arc<Event>], whole: bool) -> Option<usize> {
    let ends = |(at, event): (usize, &Arc<Event>)| {
        let last = event.change.as_ref().is_none_or(|change| change.last);
        last && events
            .get(at + 1)
            .map_or(whole || txid(event).is_none(), |next| !same_transaction(event, next))
    };
    Some(events.iter().enumerate().position(ends)? + 1)
}
