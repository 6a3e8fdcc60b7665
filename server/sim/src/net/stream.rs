//! A client's connection: what a socket would be.
//!
//! Owns the two ends. How late bytes are is the lane's affair.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, PollSender};

use super::lane::{End, Lane};
use super::{Net, Place};

/// Most bytes of one frame.
const FRAME_BYTES: usize = 16 << 10;
/// Frames that may wait at either end.
const WINDOW: usize = 16;

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct SimStream {
    incoming: mpsc::Receiver<Bytes>,
    left: Bytes,
    outgoing: Option<PollSender<Bytes>>,
}

/// Both ends of a connection between two places, which lives no longer than `life`.
pub(super) fn pair(
    net: &Net,
    near: Place,
    far: Place,
    life: &CancellationToken,
) -> (SimStream, SimStream) {
    let broken = life.child_token();
    let (near_out, far_in) = direction(net, near, far, &broken);
    let (far_out, near_in) = direction(net, far, near, &broken);
    let end = |outgoing, incoming| SimStream {
        incoming,
        left: Bytes::new(),
        outgoing: Some(PollSender::new(outgoing)),
    };
    (end(near_out, near_in), end(far_out, far_in))
}

fn direction(
    net: &Net,
    from: Place,
    to: Place,
    broken: &CancellationToken,
) -> (mpsc::Sender<Bytes>, mpsc::Receiver<Bytes>) {
    let (send, sent) = mpsc::channel(WINDOW);
    let (deliver, delivered) = mpsc::channel(WINDOW);
    let lane = Lane {
        net: net.clone(),
        from,
        to,
        broken: broken.clone(),
        what: "bytes",
    };
    let broken = broken.clone();
    tokio::spawn(async move {
        let end = lane
            .run(ReceiverStream::new(sent), deliver, |bytes| bytes)
            .await;
        // Who closes a socket for reading ends the connection as a whole.
        if end == End::Dropped {
            broken.cancel();
        }
    });
    (send, delivered)
}

impl AsyncRead for SimStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.left.is_empty() {
            match ready!(self.incoming.poll_recv(context)) {
                Some(bytes) => self.left = bytes,
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = buffer.remaining().min(self.left.len());
        buffer.put_slice(&self.left[..count]);
        self.left.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        let Some(outgoing) = &mut self.outgoing else {
            return Poll::Ready(Err(gone()));
        };
        if ready!(outgoing.poll_reserve(context)).is_err() {
            return Poll::Ready(Err(gone()));
        }
        let count = bytes.len().min(FRAME_BYTES);
        let sent = outgoing.send_item(Bytes::copy_from_slice(&bytes[..count]));
        Poll::Ready(sent.map(|()| count).map_err(|_| gone()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing = None;
        Poll::Ready(Ok(()))
    }
}
