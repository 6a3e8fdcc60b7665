//! Tells a service manager how the server is doing (`Type=notify` of systemd).
//!
//! Owns the datagrams. Without a manager nothing is sent.

use std::io;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Where the manager listens.
const SOCKET: &str = "NOTIFY_SOCKET";

/// The server answers from now on.
pub(super) fn ready() {
    send("READY=1");
}

/// The server is about to end.
pub(super) fn stopping() {
    send("STOPPING=1");
}

fn send(state: &str) {
    let Some(path) = std::env::var(SOCKET).ok().filter(|path| !path.is_empty()) else {
        return;
    };
    if let Err(error) = send_to(&path, state) {
        tracing::warn!("cannot tell the service manager at {path}: {error}");
    }
}

fn send_to(path: &str, state: &str) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.send_to_addr(state.as_bytes(), &address(path)?)?;
    Ok(())
}

/// A name that starts with `@` is no file.
fn address(path: &str) -> io::Result<SocketAddr> {
    #[cfg(target_os = "linux")]
    if let Some(name) = path.strip_prefix('@') {
        use std::os::linux::net::SocketAddrExt;
        return SocketAddr::from_abstract_name(name);
    }
    SocketAddr::from_pathname(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manager_gets_the_state() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        send_to(path.to_str().unwrap(), "READY=1").unwrap();
        let mut buffer = [0; 64];
        let length = manager.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"READY=1");
    }
}
