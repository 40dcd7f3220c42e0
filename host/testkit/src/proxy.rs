//! A TCP proxy between a host and its database, whose connections can be cut, refused and stalled.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// The time in which the server must accept. On loopback it accepts at once, or not at all.
const CONNECT: Duration = Duration::from_secs(5);

/// A proxy on a port of its own. Dropping it cuts all connections, and accepts no more.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    line: Arc<Line>,
}

/// The state that all its threads share.
#[derive(Debug)]
struct Line {
    target: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    refusing: bool,
    stalled: bool,
    over: bool,
    last: u64,
    /// The two ends of each open connection.
    open: HashMap<u64, [TcpStream; 2]>,
}

impl Proxy {
    /// Starts a proxy for the server at `target`.
    pub fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let line = Arc::new(Line { target, state: Mutex::default(), changed: Condvar::new() });
        let accepting = Arc::clone(&line);
        thread::spawn(move || accepting.accept(&listener));
        Self { address, line }
    }

    /// Returns the address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts all open connections. Returns how many there were.
    pub fn cut(&self) -> usize {
        let cut = std::mem::take(&mut self.line.state().open);
        for ends in cut.values() {
            close(ends);
        }
        self.line.changed.notify_all();
        cut.len()
    }

    /// Closes new connections as soon as they arrive, or no longer does so. Open connections go on.
    pub fn refuse(&self, refuse: bool) {
        self.line.state().refusing = refuse;
    }

    /// Passes nothing on, in either direction, including the ends of connections; or passes on everything that has
    /// gathered. New connections are accepted during a stall.
    pub fn stall(&self, stall: bool) {
        self.line.state().stalled = stall;
        self.line.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.line.state().over = true;
        self.cut();
        // This wakes the accepting thread. If it cannot be reached, it is gone already.
        let _ = TcpStream::connect(self.address);
    }
}

impl Line {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming().flatten() {
            let (over, refusing) = {
                let state = self.state();
                (state.over, state.refusing)
            };
            if over {
                return;
            }
            if refusing {
                continue;
            }
            // If the server is down, the connection is closed at once.
            if let Ok(server) = TcpStream::connect_timeout(&self.target, CONNECT) {
                // The same happens without the two ends (too many open files).
                let _ = self.open(client, server);
            }
        }
    }

    fn open(self: &Arc<Self>, client: TcpStream, server: TcpStream) -> std::io::Result<()> {
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let ends = [client.try_clone()?, server.try_clone()?];
        let back = (server.try_clone()?, client.try_clone()?);
        let id = {
            let mut state = self.state();
            state.last += 1;
            let id = state.last;
            state.open.insert(id, ends);
            id
        };
        for (from, to) in [(client, server), back] {
            let line = Arc::clone(self);
            thread::spawn(move || line.pass_on(id, from, to));
        }
        Ok(())
    }

    /// Passes data on until one end closes or the connection is cut.
    fn pass_on(&self, id: u64, mut from: TcpStream, mut to: TcpStream) {
        let mut piece = [0; 16 << 10];
        loop {
            let read = from.read(&mut piece).unwrap_or(0);
            if !self.may_pass(id) || read == 0 || to.write_all(&piece[..read]).is_err() {
                break;
            }
        }
        if let Some(ends) = self.state().open.remove(&id) {
            close(&ends);
        }
    }

    /// Waits while everything is stalled. Returns whether the connection goes on.
    fn may_pass(&self, id: u64) -> bool {
        let held_up = |state: &mut State| state.stalled && state.open.contains_key(&id);
        let state = self.changed.wait_while(self.state(), held_up).unwrap_or_else(PoisonError::into_inner);
        state.open.contains_key(&id)
    }
}

fn close(ends: &[TcpStream; 2]) {
    for end in ends {
        // It may be closed already.
        let _ = end.shutdown(Shutdown::Both);
    }
}
