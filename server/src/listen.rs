//! Sockets: binding them, accepting connections and speaking HTTP on them.
//!
//! Owns the transport's tuning and how connections end. It must not know what is asked on them.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::authority::LenientAuthority;
use crate::config::{Config, Url};
use crate::dispatch::Dispatch;
use crate::lanes::Lanes;
use crate::limits;
use crate::metrics::Metered;

/// A bound socket that nobody is served on yet.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: Socket,
    /// Where it can be reached, with the port the system chose.
    pub(crate) url: Url,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    /// The address is ours, but whoever connects is refused.
    Reserved(TcpSocket),
    Unix {
        socket: UnixListener,
        _file: SocketFile,
    },
}

/// Removes the file when the listener is gone.
#[derive(Debug)]
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Listener {
    /// Listens. Must be called on a lane.
    pub(crate) fn bind(url: &Url) -> io::Result<Listener> {
        if let Some(path) = url.socket_file() {
            let socket = bind_socket_file(path)?;
            return Ok(Listener {
                socket,
                url: url.clone(),
            });
        }
        Listener::reserve(url)?.open()
    }

    /// Takes an address that is listened on later, by [`Listener::open`]: until then others get a
    /// refusal at once, where a listener that nobody serves yet would keep them waiting.
    pub(crate) fn reserve(url: &Url) -> io::Result<Listener> {
        let address = address_of(url)?;
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // As for every listener: connections of an earlier run may not be gone yet.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let port = socket.local_addr()?.port();
        Ok(Listener {
            socket: Socket::Reserved(socket),
            url: url.with_port(port),
        })
    }

    /// Begins to listen if that was put off. Must be called on a lane.
    pub(crate) fn open(self) -> io::Result<Listener> {
        let Listener { socket, url } = self;
        let socket = match socket {
            Socket::Reserved(reserved) => Socket::Tcp(reserved.listen(limits::BACKLOG)?),
            open => open,
        };
        Ok(Listener { socket, url })
    }
}

fn address_of(url: &Url) -> io::Result<SocketAddr> {
    url.socket_addr().ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "not an IP address that can be listened on",
        )
    })
}

/// A socket file that nobody answers on is left over from a crash, and is replaced.
fn bind_socket_file(path: &std::path::Path) -> io::Result<Socket> {
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(error);
            }
            std::fs::remove_file(path)?;
            UnixListener::bind(path)?
        }
        bound => bound?,
    };
    Ok(Socket::Unix {
        socket: listener,
        _file: SocketFile(path.to_owned()),
    })
}

fn tune(stream: &TcpStream) -> io::Result<()> {
    // Small replies would wait for the client's delayed acknowledgements.
    stream.set_nodelay(true)?;
    // A machine that vanished says no goodbye, and its watchers would be served for hours.
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, limits::TCP_KEEPALIVE)?;
    sockopt::set_tcp_keepintvl(stream, limits::TCP_KEEPALIVE)?;
    Ok(())
}

/// The tasks of all listeners and connections of a server.
#[derive(Debug, Clone)]
pub(crate) struct Connections {
    lanes: Lanes,
    spread: Spread,
    tasks: TaskTracker,
    /// No new connections, and no new requests on the present ones.
    drain: CancellationToken,
    /// No connections at all.
    kill: CancellationToken,
}

/// Which lanes serve the connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spread {
    /// Each connection the next one.
    Every,
    /// The one that consensus runs on: what a member sends reaches it without waking a thread.
    First,
}

impl Connections {
    /// Listeners stay on the first lane.
    pub(crate) fn new(lanes: Lanes, spread: Spread) -> Connections {
        Connections {
            lanes,
            spread,
            tasks: TaskTracker::new(),
            drain: CancellationToken::new(),
            kill: CancellationToken::new(),
        }
    }

    /// Serves a listener until the connections are drained.
    pub(crate) fn serve(&self, listener: Listener, dispatch: Dispatch, tuning: &Tuning) {
        let (this, builder) = (self.clone(), tuning.builder());
        self.tasks.spawn(async move {
            let accepting = this.accept(&listener, &dispatch, &builder);
            this.drain.run_until_cancelled(accepting).await;
        });
    }

    /// Serves one connection that is up already.
    pub(crate) fn serve_connection<I>(&self, io: I, dispatch: Dispatch, tuning: &Tuning)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.spawn(|| Ok(io), dispatch, tuning.builder());
    }

    /// Cancelled once no new requests are taken.
    pub(crate) fn draining(&self) -> CancellationToken {
        self.drain.clone()
    }

    /// Closes every connection at once, in the background.
    pub(crate) fn cut(&self) {
        self.kill.cancel();
        self.drain.cancel();
        self.tasks.close();
    }

    /// Lets running requests finish, for a while, and then closes every connection.
    pub(crate) async fn close(&self) {
        self.drain.cancel();
        self.tasks.close();
        if tokio::time::timeout(limits::DRAIN_TIMEOUT, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("requests are still running; closing their connections");
            self.kill.cancel();
            self.tasks.wait().await;
        }
    }

    async fn accept(&self, listener: &Listener, dispatch: &Dispatch, builder: &Builder) {
        loop {
            let accepted = match &listener.socket {
                Socket::Tcp(socket) => socket.accept().await.and_then(|(stream, _)| {
                    if let Err(error) = tune(&stream) {
                        tracing::debug!(%error, "a connection stays untuned");
                    }
                    let stream = stream.into_std()?;
                    self.spawn(
                        || TcpStream::from_std(stream),
                        dispatch.clone(),
                        builder.clone(),
                    );
                    Ok(())
                }),
                Socket::Unix { socket, .. } => socket.accept().await.and_then(|(stream, _)| {
                    let stream = stream.into_std()?;
                    self.spawn(
                        || UnixStream::from_std(stream),
                        dispatch.clone(),
                        builder.clone(),
                    );
                    Ok(())
                }),
                // Nobody can have come.
                Socket::Reserved(_) => return,
            };
            if let Err(error) = accepted {
                tracing::warn!(%error, url = %listener.url, "a connection was not accepted");
                // Out of file descriptors, as a rule: others have to close some first.
                tokio::time::sleep(limits::ACCEPT_RETRY).await;
            }
        }
    }

    /// Serves a connection on its lane; `open` registers its socket there.
    fn spawn<I>(
        &self,
        open: impl FnOnce() -> io::Result<I> + Send + 'static,
        dispatch: Dispatch,
        builder: Builder,
    ) where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (drain, kill) = (self.drain.clone(), self.kill.clone());
        let traffic = dispatch.traffic();
        let served = async move {
            let io = TokioIo::new(Metered::new(LenientAuthority::new(open()?), traffic));
            let connection = builder.serve_connection(io, dispatch);
            tokio::pin!(connection);
            tokio::select! {
                biased;
                ended = connection.as_mut() => ended,
                () = drain.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    kill.run_until_cancelled(connection).await.unwrap_or(Ok(()))
                }
            }
        };
        let logged = async move {
            if let Err(error) = served.await {
                tracing::debug!(%error, "a connection ended badly");
            }
        };
        let lane = match self.spread {
            Spread::Every => self.lanes.next(),
            Spread::First => self.lanes.first(),
        };
        self.tasks.spawn_on(logged, lane);
    }
}

type Builder = auto::Builder<TokioExecutor>;

/// What of the configuration the transport needs.
#[derive(Debug, Clone)]
pub(crate) struct Tuning {
    max_concurrent_streams: u32,
    stream_window_bytes: u32,
    frame_bytes: u32,
    keepalive_interval: Option<Duration>,
    keepalive_timeout: Duration,
}

impl Tuning {
    /// For clients.
    pub(crate) fn of(config: &Config) -> Tuning {
        let interval = config.grpc_keepalive_interval;
        Tuning {
            max_concurrent_streams: config.max_concurrent_streams,
            stream_window_bytes: limits::STREAM_WINDOW_BYTES,
            frame_bytes: limits::FRAME_BYTES,
            keepalive_interval: (!interval.is_zero()).then_some(interval),
            keepalive_timeout: config.grpc_keepalive_timeout,
        }
    }

    /// For other members. They ask for signs of life themselves, and often.
    pub(crate) fn for_members(config: &Config) -> Tuning {
        Tuning {
            max_concurrent_streams: limits::PEER_STREAMS,
            stream_window_bytes: limits::PEER_WINDOW_BYTES,
            frame_bytes: limits::PEER_FRAME_BYTES,
            keepalive_interval: None,
            keepalive_timeout: config.grpc_keepalive_timeout,
        }
    }

    fn builder(&self) -> Builder {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(limits::HEADER_READ_TIMEOUT);
        builder
            .http2()
            .timer(TokioTimer::new())
            .auto_date_header(false)
            .max_concurrent_streams(self.max_concurrent_streams)
            .max_pending_accept_reset_streams(limits::PENDING_RESETS)
            .max_frame_size(self.frame_bytes)
            .initial_stream_window_size(self.stream_window_bytes)
            .initial_connection_window_size(limits::CONNECTION_WINDOW_BYTES)
            .keep_alive_interval(self.keepalive_interval)
            .keep_alive_timeout(self.keepalive_timeout);
        builder
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Most programs' connections came a second late when a thousand of them started at once.
    #[tokio::test]
    async fn many_that_connect_at_once_find_room() {
        let listener = Listener::bind(&Url::parse_listen("http://127.0.0.1:0").unwrap()).unwrap();
        let address = listener.url.socket_addr().unwrap();
        // Nobody accepts them: only what the system keeps for us answers.
        let connecting = (0..500).map(|_| TcpStream::connect(address));
        let all = futures::future::try_join_all(connecting);
        let connected = tokio::time::timeout(Duration::from_mins(1), all).await;
        assert_eq!(connected.expect("there is room").unwrap().len(), 500);
    }
}
