//! How many connections there may be, in all and from one address, and how many bytes of requests at once.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Counts connections against their bounds.
pub struct Connections {
    count: AtomicUsize,
    max: usize,
    per_address_max: usize,
    addresses: Mutex<HashMap<IpAddr, Arc<Address>>>,
}

struct Address {
    ip: IpAddr,
    count: AtomicUsize,
    // A circle until the last connection from the address ends, which removes this from the map.
    connections: Arc<Connections>,
}

/// One connection's place; given back when dropped. One word, as there is one per subscriber.
pub struct Permit {
    address: Arc<Address>,
}

/// Which bound was hit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hit {
    /// Connections in all.
    Total,
    /// Connections from one address.
    Address,
}

impl Connections {
    /// No connections yet.
    pub fn new(max: usize, per_address_max: usize) -> Arc<Self> {
        let addresses = Mutex::new(HashMap::new());
        Arc::new(Self { count: AtomicUsize::new(0), max, per_address_max, addresses })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// A place for a connection from `ip`.
    ///
    /// # Errors
    /// The bound that is reached.
    pub fn admit(self: &Arc<Self>, ip: IpAddr) -> Result<Permit, Hit> {
        if self.count.fetch_add(1, Ordering::Relaxed) >= self.max {
            self.count.fetch_sub(1, Ordering::Relaxed);
            return Err(Hit::Total);
        }
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let address = addresses.entry(ip).or_insert_with(|| {
            Arc::new(Address { ip, count: AtomicUsize::new(0), connections: Arc::clone(self) })
        });
        if address.count.load(Ordering::Relaxed) >= self.per_address_max {
            self.count.fetch_sub(1, Ordering::Relaxed);
            return Err(Hit::Address);
        }
        address.count.fetch_add(1, Ordering::Relaxed);
        Ok(Permit { address: Arc::clone(address) })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let connections = &self.address.connections;
        connections.count.fetch_sub(1, Ordering::Relaxed);
        // Under the lock, so that nobody is admitted to an entry that is being removed.
        let mut addresses = connections.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if self.address.count.fetch_sub(1, Ordering::Relaxed) == 1 {
            addresses.remove(&self.address.ip);
        }
    }
}
