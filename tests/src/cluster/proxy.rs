//! The way into one member's peer port: a TCP proxy that knows which member is calling.
//!
//! All members see one peer address of a member, its proxy's. The caller is told from the process
//! that owns the other end of the connection, so each directed pair can be disturbed by itself,
//! without privileges and with any server.

use std::{
    net::{SocketAddr, SocketAddrV4},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::mpsc,
    task::JoinSet,
    time::Instant,
};

use super::{links::Links, sockets};
use crate::Result;

const CHUNK_BYTES: usize = 64 << 10;
/// Chunks under way in one direction, when the way is slow.
const CHUNKS: usize = 256;
/// A caller that has just connected may not be in the kernel's table under its process yet.
const IDENTIFY_ATTEMPTS: u32 = 5;
const IDENTIFY_WAIT: Duration = Duration::from_millis(10);

/// The process id of each member, while it runs.
pub(super) type Processes = Arc<Mutex<Vec<Option<u32>>>>;

/// The proxy of one member. Dropping it closes its port and connections.
#[derive(Debug)]
pub(super) struct Proxy {
    port: u16,
    /// Ends when dropped.
    _tasks: JoinSet<()>,
}

#[derive(Clone, Debug)]
struct Gate {
    to: usize,
    port: u16,
    target: SocketAddr,
    links: Arc<Links>,
    processes: Processes,
}

impl Proxy {
    /// Listens on `port` for connections to member `to`, whose own port is at `target`.
    ///
    /// # Errors
    /// When the port is taken.
    pub(super) async fn start(
        port: u16,
        to: usize,
        target: SocketAddr,
        links: Arc<Links>,
        processes: Processes,
    ) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let gate = Gate {
            to,
            port,
            target,
            links,
            processes,
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(gate.accept(listener));
        Ok(Self {
            port,
            _tasks: tasks,
        })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

impl Gate {
    async fn accept(self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            // What has ended is taken out, or the set would grow with every connection.
            while connections.try_join_next().is_some() {}
            let Ok((stream, SocketAddr::V4(caller))) = listener.accept().await else {
                tokio::time::sleep(IDENTIFY_WAIT).await;
                continue;
            };
            connections.spawn(self.clone().carry(stream, caller));
        }
    }

    async fn carry(self, mut near: TcpStream, caller: SocketAddrV4) {
        let from = self.identify(caller).await;
        let to = Some(self.to);
        tokio::select! {
            biased;
            () = self.links.cut(from, to) => {}
            connected = TcpStream::connect(self.target) => {
                if let Ok(mut far) = connected {
                    self.carry_between(&mut near, &mut far, from).await;
                    return;
                }
            }
        }
        // As if nobody listened.
        let _ = near.set_zero_linger();
    }

    async fn carry_between(&self, near: &mut TcpStream, far: &mut TcpStream, from: Option<usize>) {
        let to = Some(self.to);
        let _ = (near.set_nodelay(true), far.set_nodelay(true));
        let is_cut = {
            let (near_read, near_write) = near.split();
            let (far_read, far_write) = far.split();
            let there = pump(near_read, far_write, &self.links, from, to);
            let back = pump(far_read, near_write, &self.links, to, from);
            tokio::select! {
                biased;
                () = self.links.cut(from, to) => true,
                // An error in one direction is the end of both.
                ended = async { tokio::try_join!(there, back) } => ended.is_err(),
            }
        };
        if is_cut {
            let _ = (near.set_zero_linger(), far.set_zero_linger());
        }
    }

    async fn identify(&self, caller: SocketAddrV4) -> Option<usize> {
        let here = SocketAddrV4::new([127, 0, 0, 1].into(), self.port);
        for _ in 0..IDENTIFY_ATTEMPTS {
            let processes = self.processes.lock().clone();
            // The kernel's tables are long on a busy machine; other connections must not wait.
            let look = move || sockets::owner(caller, here, &processes);
            if let Ok(Some(from)) = tokio::task::spawn_blocking(look).await {
                return Some(from);
            }
            tokio::time::sleep(IDENTIFY_WAIT).await;
        }
        None
    }
}

/// Carries bytes one way, in order, each as late as the way is now.
async fn pump(
    mut read: ReadHalf<'_>,
    mut write: WriteHalf<'_>,
    links: &Links,
    from: Option<usize>,
    to: Option<usize>,
) -> std::io::Result<()> {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Bytes)>(CHUNKS);
    let reading = async move {
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let count = read.read(&mut buffer).await?;
            let chunk = (Instant::now(), Bytes::copy_from_slice(&buffer[..count]));
            if count == 0 || sender.send(chunk).await.is_err() {
                return std::io::Result::Ok(());
            }
        }
    };
    let writing = async move {
        while let Some((sent, chunk)) = receiver.recv().await {
            let late = links.passable(from, to).await;
            tokio::time::sleep_until(sent + late).await;
            // It may have been lost while it was under way.
            links.passable(from, to).await;
            write.write_all(&chunk).await?;
        }
        links.passable(from, to).await;
        write.shutdown().await
    };
    tokio::try_join!(reading, writing).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use handfast_ports::free_port;

    use crate::cluster::links::Condition;

    /// This process is member 0 and calls member 1, an echo.
    async fn echo() -> (Proxy, Arc<Links>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    tokio::io::copy(&mut read, &mut write).await
                });
            }
        });
        let links = Arc::new(Links::new(2));
        let processes = Arc::new(Mutex::new(vec![Some(std::process::id()), None]));
        let port = free_port();
        let proxy = Proxy::start(port, 1, target, Arc::clone(&links), processes);
        let proxy = proxy.await.unwrap();
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        (proxy, links, stream)
    }

    async fn said(stream: &mut TcpStream, word: &[u8]) -> std::io::Result<Vec<u8>> {
        stream.write_all(word).await?;
        let mut heard = vec![0; word.len()];
        stream.read_exact(&mut heard).await?;
        Ok(heard)
    }

    #[tokio::test]
    async fn bytes_wait_while_either_direction_is_lost() {
        let (_proxy, links, mut stream) = echo().await;
        assert_eq!(said(&mut stream, b"one").await.unwrap(), b"one");
        for (from, to) in [(0, 1), (1, 0)] {
            links.set(from, to, Condition::Lost);
            stream.write_all(b"two").await.unwrap();
            let mut heard = [0; 3];
            let early =
                tokio::time::timeout(Duration::from_millis(50), stream.read_exact(&mut heard));
            assert!(early.await.is_err(), "{from} to {to} must be silent");
            links.heal();
            stream.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, b"two");
        }
    }

    #[tokio::test]
    async fn a_cut_resets_what_is_open_and_what_comes() {
        let (proxy, links, mut stream) = echo().await;
        assert_eq!(said(&mut stream, b"one").await.unwrap(), b"one");
        links.set(1, 0, Condition::Cut);
        assert!(
            stream.read(&mut [0; 1]).await.is_err(),
            "a reset is an error"
        );
        let mut again = TcpStream::connect(("127.0.0.1", proxy.port()))
            .await
            .unwrap();
        assert!(said(&mut again, b"two").await.is_err());
        links.heal();
        let mut healed = TcpStream::connect(("127.0.0.1", proxy.port()))
            .await
            .unwrap();
        assert_eq!(said(&mut healed, b"three").await.unwrap(), b"three");
    }

    #[tokio::test]
    async fn late_bytes_do_not_come_early() {
        let (_proxy, links, mut stream) = echo().await;
        links.set(0, 1, Condition::Late(Duration::from_millis(80)));
        let sent = Instant::now();
        assert_eq!(said(&mut stream, b"slow").await.unwrap(), b"slow");
        assert!(sent.elapsed() >= Duration::from_millis(80));
    }
}
