//! A port that passes bytes on, until it is told not to.
//!
//! Owns the listener and what passes between a client and the server behind. Knows nothing of the
//! protocol.

use std::{io, net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::AbortHandle,
};

use crate::Failure;

const BUFFER: usize = 16 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Gate {
    /// Where connections lead; `None` refuses them.
    target: Option<SocketAddr>,
    paused: bool,
    /// Connections of an older one end.
    generation: u64,
}

/// A listener in front of a server.
pub(super) struct Relay {
    endpoint: String,
    gate: Arc<watch::Sender<Gate>>,
    accepting: AbortHandle,
}

impl Relay {
    pub(super) async fn open(target: &str) -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let gate = Arc::new(watch::Sender::new(Gate {
            target: Some(address(target)?),
            paused: false,
            generation: 0,
        }));
        let accepting = tokio::spawn(accept(listener, Arc::clone(&gate))).abort_handle();
        Ok(Self {
            endpoint,
            gate,
            accepting,
        })
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Breaks every connection and refuses new ones.
    pub(super) fn close(&self) {
        self.gate.send_modify(|gate| {
            gate.target = None;
            gate.generation += 1;
        });
    }

    /// Passes connections on to `target`, and ends a pause.
    pub(super) fn open_to(&self, target: &str) -> Result<(), Failure> {
        let target = Some(address(target)?);
        self.gate.send_modify(|gate| {
            gate.target = target;
            gate.paused = false;
        });
        Ok(())
    }

    pub(super) fn pause(&self) {
        self.gate.send_modify(|gate| gate.paused = true);
    }

    pub(super) fn resume(&self) {
        self.gate.send_modify(|gate| gate.paused = false);
    }

    pub(super) fn disconnect(&self) {
        self.gate.send_modify(|gate| gate.generation += 1);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
        self.close();
    }
}

fn address(endpoint: &str) -> Result<SocketAddr, Failure> {
    let bare = endpoint.strip_prefix("http://").unwrap_or(endpoint);
    bare.parse().map_err(|_| {
        Failure::new(
            "INTERNAL",
            format!("{endpoint} is no address to pass on to"),
        )
    })
}

async fn accept(listener: TcpListener, gate: Arc<watch::Sender<Gate>>) {
    loop {
        // A connection that was reset before it was taken is none; others follow.
        if let Ok((client, _)) = listener.accept().await {
            tokio::spawn(serve(client, gate.subscribe()));
        }
    }
}

/// Passes bytes until one side ends, or the relay breaks the connection.
async fn serve(client: TcpStream, mut gate: watch::Receiver<Gate>) {
    let begun = *gate.borrow_and_update();
    let Some(target) = begun.target else {
        return;
    };
    let passing = pass(client, target, gate.clone());
    let broken = gate.wait_for(|gate| gate.generation != begun.generation);
    tokio::select! {
        biased;
        _ = broken => {}
        _ = passing => {}
    }
}

async fn pass(
    client: TcpStream,
    target: SocketAddr,
    gate: watch::Receiver<Gate>,
) -> io::Result<()> {
    let server = TcpStream::connect(target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::try_join!(
        pump(from_client, to_server, gate.clone()),
        pump(from_server, to_client, gate),
    )?;
    Ok(())
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut gate: watch::Receiver<Gate>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = from.read(&mut buffer).await?;
        // The relay is gone: so is the connection.
        let is_gone = gate.wait_for(|gate| !gate.paused).await.is_err();
        if length == 0 || is_gone {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..length]).await?;
    }
}
