//! A proxy between a client and the server, which can lose answers.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Passes bytes on; while it swallows, none come back.
pub struct Proxy {
    /// Where clients find it.
    pub endpoint: String,
    swallowing: Arc<AtomicBool>,
    cut: watch::Sender<()>,
}

impl Proxy {
    /// A proxy in front of the server.
    pub async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let swallowing = Arc::new(AtomicBool::new(false));
        let cut = watch::Sender::new(());
        let (swallow, cuts) = (Arc::clone(&swallowing), cut.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(
                    client,
                    server,
                    Arc::clone(&swallow),
                    cuts.subscribe(),
                ));
            }
        });
        Self {
            endpoint,
            swallowing,
            cut,
        }
    }

    /// Loses every answer from now on.
    pub fn swallow(&self) {
        self.swallowing.store(true, Ordering::SeqCst);
    }

    /// Ends all connections and passes everything on from now on.
    pub fn heal(&self) {
        self.swallowing.store(false, Ordering::SeqCst);
        self.cut.send_replace(());
    }
}

async fn serve(
    client: TcpStream,
    server: SocketAddr,
    swallowing: Arc<AtomicBool>,
    mut cut: watch::Receiver<()>,
) {
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let back = async {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
            if !swallowing.load(Ordering::SeqCst)
                && to_client.write_all(&buffer[..count]).await.is_err()
            {
                return;
            }
        }
    };
    tokio::select! {
        _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
        () = back => {}
        _ = cut.changed() => {}
    }
}
