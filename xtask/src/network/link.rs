//! One link: it listens, carries each connection to a server, and makes trouble.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::schedule::Trouble;

/// Bytes carried at once.
const CHUNK: usize = 16 << 10;
/// How often a narrow link lets some bytes through.
const TRICKLE: Duration = Duration::from_millis(20);
/// No cut is due.
const NEVER: u64 = u64::MAX;

/// What goes through one link.
#[derive(Debug)]
pub(super) struct Link {
    port: u16,
    state: watch::Sender<State>,
    /// Bytes until everything is cut, both ways counted together.
    left: Arc<AtomicU64>,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    trouble: Option<Trouble>,
    /// Its connections are reset, and new ones too, whatever trouble there is.
    unplugged: bool,
    /// Connections of an earlier generation are reset.
    generation: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    There,
    Back,
}

impl Link {
    pub(super) fn start(runtime: &Handle, server: SocketAddr) -> io::Result<Self> {
        let _inside = runtime.enter();
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let port = listener.local_addr()?.port();
        let state = watch::Sender::new(State::default());
        let left = Arc::new(AtomicU64::new(NEVER));
        runtime.spawn(accept(listener, server, state.clone(), left.clone()));
        Ok(Self { port, state, left })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn trouble(&self, trouble: Trouble) {
        match trouble {
            Trouble::Cut => self.cut(),
            Trouble::CutAfter(bytes) => self.left.store(bytes.into(), Ordering::SeqCst),
            Trouble::Refused => {
                self.state.send_modify(|state| state.trouble = Some(trouble));
                self.cut();
            }
            _ => self.state.send_modify(|state| state.trouble = Some(trouble)),
        }
    }

    pub(super) fn mend(&self) {
        self.left.store(NEVER, Ordering::SeqCst);
        self.state.send_modify(|state| {
            if state.trouble == Some(Trouble::Swallowed) {
                state.generation += 1;
            }
            state.trouble = None;
        });
    }

    pub(super) fn unplug(&self, unplugged: bool) {
        self.state.send_modify(|state| {
            state.unplugged = unplugged;
            state.generation += u64::from(unplugged);
        });
    }

    fn cut(&self) {
        self.state.send_modify(|state| state.generation += 1);
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, state: watch::Sender<State>, left: Arc<AtomicU64>) {
    loop {
        // A connection that was gone before it was taken.
        let Ok((client, _)) = listener.accept().await else { continue };
        let State { trouble, unplugged, generation } = *state.borrow();
        if unplugged || trouble == Some(Trouble::Refused) {
            reset(&client);
            continue;
        }
        tokio::spawn(carry(client, server, state.subscribe(), generation, left.clone()));
    }
}

/// One connection, from its begin to its end.
async fn carry(
    mut client: TcpStream,
    server: SocketAddr,
    state: watch::Receiver<State>,
    generation: u64,
    left: Arc<AtomicU64>,
) {
    let Ok(mut server) = TcpStream::connect(server).await else { return reset(&client) };
    // Without delay each write is a packet; what fails here fails again below.
    let _ = client.set_nodelay(true).and_then(|()| server.set_nodelay(true));
    let mut ends = state.clone();
    let whole = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        tokio::select! {
            _ = ends.wait_for(|state| state.generation != generation) => false,
            whole = pump(from_client, to_server, state.clone(), Way::There, &left) => whole.unwrap_or(false),
            whole = pump(from_server, to_client, state, Way::Back, &left) => whole.unwrap_or(false),
        }
    };
    if !whole {
        reset(&client);
        reset(&server);
    }
}

/// Carries bytes until their source ends them, or a cut is due (`false`).
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut state: watch::Receiver<State>,
    way: Way,
    left: &AtomicU64,
) -> io::Result<bool> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(true);
        }
        // The sender is not dropped before the runtime is.
        let Ok(now) = state.wait_for(|state| passes(state.trouble, way)).await.map(|state| *state) else {
            return Ok(false);
        };
        let (pass, cut) = spend(left, read);
        match now.trouble {
            Some(Trouble::Split) => {
                for byte in &buffer[..pass] {
                    to.write_all(std::slice::from_ref(byte)).await?;
                }
            }
            Some(Trouble::Narrow(rate)) => {
                let part = (f64::from(rate) * TRICKLE.as_secs_f64()).max(1.0) as usize;
                for part in buffer[..pass].chunks(part) {
                    to.write_all(part).await?;
                    tokio::time::sleep(TRICKLE).await;
                }
            }
            _ => to.write_all(&buffer[..pass]).await?,
        }
        if cut {
            return Ok(false);
        }
    }
}

fn passes(trouble: Option<Trouble>, way: Way) -> bool {
    match trouble {
        Some(Trouble::Stalled | Trouble::Swallowed) => false,
        Some(Trouble::StalledThere) => way != Way::There,
        Some(Trouble::StalledBack) => way != Way::Back,
        _ => true,
    }
}

/// How many of `count` bytes still pass, and whether that was the end.
fn spend(left: &AtomicU64, count: usize) -> (usize, bool) {
    let count = count as u64;
    let spent = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| match left {
        NEVER => None,
        left if left > count => Some(left - count),
        // Only this connection: the next one is whole.
        _ => Some(NEVER),
    });
    match spent {
        Ok(left) if left <= count => (left as usize, true),
        _ => (count as usize, false),
    }
}

/// So that closing it tells the other side of a failure (tcp(7), `SO_LINGER`).
fn reset(stream: &TcpStream) {
    // A connection that is gone needs no reset.
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_is_due_once_in_the_middle_of_what_is_carried() {
        let left = AtomicU64::new(NEVER);
        assert_eq!(spend(&left, 100), (100, false));
        left.store(150, Ordering::SeqCst);
        assert_eq!(spend(&left, 100), (100, false));
        assert_eq!(spend(&left, 100), (50, true));
        assert_eq!(spend(&left, 100), (100, false));
    }

    #[test]
    fn a_one_way_stall_holds_one_way() {
        assert!(passes(None, Way::There) && passes(Some(Trouble::Split), Way::Back));
        assert!(!passes(Some(Trouble::StalledThere), Way::There) && passes(Some(Trouble::StalledThere), Way::Back));
        assert!(!passes(Some(Trouble::Swallowed), Way::There) && !passes(Some(Trouble::Stalled), Way::Back));
    }
}
