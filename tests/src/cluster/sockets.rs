//! Which process has a TCP connection, read from `/proc`.
//!
//! Knows Linux's tables of sockets. Must not know what the connections are for.

use std::{fs, net::SocketAddrV4};

/// The process among `processes` that opened the connection `local` → `remote`, by its place.
/// Both addresses as that process sees them.
pub(super) fn owner(
    local: SocketAddrV4,
    remote: SocketAddrV4,
    processes: &[Option<u32>],
) -> Option<usize> {
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    let socket = format!("socket:[{}]", inode(&table, local, remote)?);
    let has = |id: u32| {
        let Ok(files) = fs::read_dir(format!("/proc/{id}/fd")) else {
            return false;
        };
        let mut links = files.flatten().map(|file| fs::read_link(file.path()));
        links.any(|link| link.is_ok_and(|link| link.as_os_str() == socket.as_str()))
    };
    processes.iter().position(|id| id.is_some_and(has))
}

fn inode(table: &str, local: SocketAddrV4, remote: SocketAddrV4) -> Option<&str> {
    let (local, remote) = (written(local), written(remote));
    table.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let is_it = fields.next()? == local && fields.next()? == remote;
        // State, queues, timer, retransmissions, user and timeout are between.
        let inode = fields.nth(6)?;
        // 0: the process has closed it already.
        (is_it && inode != "0").then_some(inode)
    })
}

/// An address as the kernel writes it: the IP as a number of this machine's byte order.
fn written(address: SocketAddrV4) -> String {
    let ip = u32::from_ne_bytes(address.ip().octets());
    format!("{ip:08X}:{:04X}", address.port())
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener, TcpStream};

    use super::*;

    fn v4(address: SocketAddr) -> SocketAddrV4 {
        match address {
            SocketAddr::V4(address) => address,
            SocketAddr::V6(address) => panic!("{address}"),
        }
    }

    #[test]
    fn a_connection_of_this_process_is_found_and_only_among_those_asked_for() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let ends = (
            v4(stream.local_addr().unwrap()),
            v4(stream.peer_addr().unwrap()),
        );
        let me = Some(std::process::id());
        assert_eq!(owner(ends.0, ends.1, &[None, Some(1), me]), Some(2));
        assert_eq!(owner(ends.0, ends.1, &[None]), None);
        drop(stream);
        assert_eq!(owner(ends.0, ends.1, &[me]), None);
    }
}
