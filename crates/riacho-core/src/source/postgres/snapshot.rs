//! What a snapshot sees, so that changes of a stream can be told from rows that were read beside it.

/// Which transactions a snapshot sees: the text of `pg_current_snapshot()`, `xmin:xmax:xip,…`.
///
/// Transactions have 64 bits here: the upper ones count how often the 32 bits that replication knows went round. Only
/// top-level transactions are listed and may be asked for, as [`Begin`](super::pgoutput::Message::Begin) and
/// [`StreamCommit`](super::pgoutput::Message::StreamCommit) name them.
/// Spec: PostgreSQL, "Transaction ID and Snapshot Information Functions".
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Visibility {
    xmin: u64,
    xmax: u64,
    xip: Vec<u64>,
}

impl Visibility {
    /// Takes the text form; none for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let (xmin, xmax, list) = (id(parts.next()?)?, id(parts.next()?)?, parts.next()?);
        let xip = match list {
            "" => Vec::new(),
            list => list.split(',').map(id).collect::<Option<_>>()?,
        };
        let ordered = xmin <= xmax && xip.is_sorted() && xip.iter().all(|xid| (xmin..xmax).contains(xid));
        (ordered && parts.next().is_none()).then_some(Self { xmin, xmax, xip })
    }

    /// The first transaction that had not ended; all before it had.
    pub fn xmin(&self) -> u64 {
        self.xmin
    }

    /// The first transaction that had not begun, or, where some later ones had ended, not ended.
    pub fn xmax(&self) -> u64 {
        self.xmax
    }

    /// Transactions from `xmin` on and before `xmax` that had not ended, in order.
    pub fn xip(&self) -> &[u64] {
        &self.xip
    }

    /// Whether the snapshot sees what transaction `xid` did, if that was committed.
    ///
    /// `xid` is taken for the nearest one to `xmax`: it must be less than 2^31 transactions away, which PostgreSQL
    /// makes sure of for all it can still tell apart.
    pub fn sees(&self, xid: u32) -> bool {
        let xid = self.widen(xid);
        xid < self.xmin || xid < self.xmax && self.xip.binary_search(&xid).is_err()
    }

    /// Whether all transactions before `other`'s `xmax` have ended here. Of those that ran then and are younger than any that
    /// had ended, `other` does not tell: have one end before it is taken.
    pub fn settled_after(&self, other: &Self) -> bool {
        self.xmin >= other.xmax
    }

    fn widen(&self, xid: u32) -> u64 {
        let distance = xid.wrapping_sub(self.xmax as u32) as i32;
        // Before transaction 0 there is none, so this one is far ahead.
        self.xmax.checked_add_signed(distance.into()).unwrap_or_else(|| xid.into())
    }
}

fn id(text: &str) -> Option<u64> {
    // `parse` takes a plus.
    text.parse().ok().filter(|_| !text.starts_with('+'))
}
