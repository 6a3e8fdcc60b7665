//! How a connection's bytes get to an endpoint: TCP, a Unix socket, or what a test puts there.
//!
//! Owns opening the byte stream. Knows nothing of HTTP and of what is said on it.

use std::{fmt, future::Future, io, sync::Arc};

use futures::future::BoxFuture;
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::transport::Uri;
use tower::{Service, ServiceExt};

/// A stream of bytes in both directions.
pub(crate) trait Bytestream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytestream for T {}

pub(crate) type BoxStream = Box<dyn Bytestream>;
type Custom = dyn Fn(Uri) -> BoxFuture<'static, io::Result<BoxStream>> + Send + Sync;

/// Opens byte streams to endpoints.
#[derive(Clone, Default)]
pub(crate) struct Dial(Option<Arc<Custom>>);

impl Dial {
    /// Opens what `connect` opens.
    pub(crate) fn custom<F, Fut, Io>(connect: F) -> Self
    where
        F: Fn(Uri) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = io::Result<Io>> + Send + 'static,
        Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        Self(Some(Arc::new(move |uri| {
            let connecting = connect(uri);
            Box::pin(async move { Ok(Box::new(connecting.await?) as BoxStream) })
        })))
    }

    /// A byte stream to `url`, in the form endpoints are kept in.
    pub(crate) async fn open(&self, url: &str) -> io::Result<BoxStream> {
        if let Some(custom) = &self.0 {
            let uri = url.parse::<Uri>().map_err(io::Error::other)?;
            return custom(uri).await;
        }
        if let Some(path) = url
            .strip_prefix("unix://")
            .or_else(|| url.strip_prefix("unix:"))
        {
            return unix(path).await;
        }
        let uri = url.parse::<Uri>().map_err(io::Error::other)?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let tcp = tcp.ready().await.map_err(cause)?;
        let stream = tcp.call(uri).await.map_err(cause)?;
        Ok(Box::new(stream.into_inner()))
    }
}

#[cfg(unix)]
async fn unix(path: &str) -> io::Result<BoxStream> {
    Ok(Box::new(tokio::net::UnixStream::connect(path).await?))
}

#[cfg(not(unix))]
async fn unix(_: &str) -> io::Result<BoxStream> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "this system has no Unix sockets",
    ))
}

/// The operating system's error at the bottom of the connector's own.
fn cause(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    let mut last: &(dyn std::error::Error + 'static) = &error;
    while let Some(source) = last.source() {
        last = source;
    }
    match last.downcast_ref::<io::Error>() {
        Some(io) => io::Error::new(io.kind(), io.to_string()),
        None => io::Error::other(last.to_string()),
    }
}

impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "custom" } else { "system" })
    }
}
