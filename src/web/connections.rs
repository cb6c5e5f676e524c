//! Connections that nobody makes a call on any more: cut. The framework times the first head of each
//! connection only; a later head, or the rest of a body that nobody reads, could come byte by byte for ever.

use std::any::Any;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use actix_web::dev::Extensions;

use crate::enforce::window::monotonic_ms;

/// How long a connection may go without a call: as long as a silent one is kept, and as long again as
/// its first head may take.
const PATIENCE_MS: u64 = 10_000;
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Every open connection of this server.
#[derive(Clone, Default)]
pub struct Connections(Arc<Mutex<Vec<Weak<Connection>>>>);

/// One connection: a handle of our own to cut it by, and when it was last of use.
pub(super) struct Connection {
    socket: TcpStream,
    calls: AtomicU32,
    last_used_ms: AtomicU64,
}

/// A call that is being answered: while it lives, its connection is not cut.
pub(super) struct InUse(Option<Arc<Connection>>);

impl Connections {
    /// Takes a connection in when it is made.
    pub fn greet(&self, io: &dyn Any, data: &mut Extensions) {
        let Some(socket) = duplicate(io) else { return };
        let last_used_ms = AtomicU64::new(monotonic_ms());
        let connection = Arc::new(Connection { socket, calls: AtomicU32::new(0), last_used_ms });
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&connection));
        data.insert(connection);
    }

    /// Cuts what is of no use, for ever.
    pub async fn watch(self) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        loop {
            ticks.tick().await;
            let now = monotonic_ms();
            self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|connection| {
                let Some(connection) = connection.upgrade() else { return false };
                let used = connection.is_used(now);
                if !used {
                    // One that is gone already needs no cutting.
                    let _ = connection.socket.shutdown(Shutdown::Both);
                }
                used
            });
        }
    }
}

impl Connection {
    /// Whether a call is being answered, or the last one was not long ago.
    fn is_used(&self, now: u64) -> bool {
        // In this order: a call that ends meanwhile has written its time before it stops counting.
        // The clock begins at 0 with its first reader, which may well be the first connection.
        self.calls.load(Ordering::Acquire) > 0
            || now.saturating_sub(self.last_used_ms.load(Ordering::Acquire)) < PATIENCE_MS
    }
}

impl InUse {
    /// Notes that a call began; it ends when what is returned is dropped.
    pub(super) fn begin(connection: Option<&Arc<Connection>>) -> Self {
        let connection = connection.cloned();
        if let Some(connection) = &connection {
            connection.calls.fetch_add(1, Ordering::AcqRel);
        }
        Self(connection)
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        if let Some(connection) = &self.0 {
            connection.last_used_ms.store(monotonic_ms(), Ordering::Release);
            connection.calls.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// A second handle of a connection's socket, with TLS or without.
#[cfg(unix)]
fn duplicate(io: &dyn Any) -> Option<TcpStream> {
    use actix_tls::accept::rustls_0_23::TlsStream;
    use std::os::fd::AsFd as _;
    type Socket = actix_web::rt::net::TcpStream;
    let encrypted = || io.downcast_ref::<TlsStream<Socket>>().map(|stream| stream.get_ref().0);
    let socket = io.downcast_ref::<Socket>().or_else(encrypted)?;
    socket.as_fd().try_clone_to_owned().ok().map(TcpStream::from)
}

#[cfg(not(unix))]
fn duplicate(_: &dyn Any) -> Option<TcpStream> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_of_the_first_moment_has_the_same_patience() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let connection =
            Connection { socket, calls: AtomicU32::new(0), last_used_ms: AtomicU64::new(0) };
        assert!(connection.is_used(0));
        assert!(connection.is_used(PATIENCE_MS - 1));
        assert!(!connection.is_used(PATIENCE_MS));
        connection.calls.fetch_add(1, Ordering::AcqRel);
        assert!(connection.is_used(10 * PATIENCE_MS));
    }
}
