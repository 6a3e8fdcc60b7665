//! Sends at once what is written at about the same time.
//!
//! A request is three frames, each of them written by a turn of its own, and the HTTP/2 library
//! flushes each larger frame by itself. Sent one by one, they cost as many system calls here, and
//! wake whoever reads them as often. Owns the bytes that wait for others, and for how long they do.
//! Knows nothing of what is written.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that wait at the most.
const HELD_BYTES: usize = 64 * 1024;

/// A byte stream that holds back what is written until a turn of the runtime has added nothing.
///
/// A flush of what was just written is put off, and said to be done, so that the writer goes on to
/// what it has besides. It is woken for that, and must flush whenever it is polled, as the HTTP/2
/// library does: a flush that finds nothing new is carried out.
pub(super) struct Gathered<S> {
    stream: S,
    held: BytesMut,
    /// Something was written since the last flush.
    added: bool,
    /// A turn began, with a look for what there is to read, since something was written.
    turned: bool,
}

impl<S> Gathered<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            held: BytesMut::new(),
            added: false,
            turned: false,
        }
    }

    /// Takes in as much of `bytes` as there is room for.
    fn hold(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(HELD_BYTES.saturating_sub(self.held.len()));
        self.held.extend_from_slice(&bytes[..count]);
        self.added |= count > 0;
        count
    }
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    /// Sends all that is held.
    fn send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(context, &self.held))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.held.advance(sent);
        }
        Poll::Ready(Ok(()))
    }

    /// Sends what is held if there is no room for more.
    fn make_room(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.held.len() < HELD_BYTES {
            return Poll::Ready(Ok(()));
        }
        self.send(context)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.turned = true;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.make_room(context))?;
        Poll::Ready(Ok(self.hold(bytes)))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.make_room(context))?;
        Poll::Ready(Ok(slices.iter().map(|slice| self.hold(slice)).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.added {
            (self.added, self.turned) = (false, false);
            // Behind all that can run now, for that may have something to add.
            context.waker().wake_by_ref();
            return Poll::Ready(Ok(()));
        }
        if !self.turned && !self.held.is_empty() {
            self.turned = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(self.send(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.send(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Waker};

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::*;

    /// One turn of a writer: it reads, writes and flushes each of `frames`, and flushes once more.
    fn turn(gathered: &mut Gathered<DuplexStream>, frames: &[&[u8]]) -> Poll<io::Result<()>> {
        let mut context = Context::from_waker(Waker::noop());
        let mut space = [0; 8];
        let read = Pin::new(&mut *gathered).poll_read(&mut context, &mut ReadBuf::new(&mut space));
        assert!(read.is_pending());
        for frame in frames {
            let written = Pin::new(&mut *gathered).poll_write(&mut context, frame);
            assert!(matches!(written, Poll::Ready(Ok(count)) if count == frame.len()));
            let flushed = Pin::new(&mut *gathered).poll_flush(&mut context);
            assert!(flushed.is_ready(), "the writer goes on to the next frame");
        }
        Pin::new(gathered).poll_flush(&mut context)
    }

    fn sent(far: &mut DuplexStream) -> Vec<u8> {
        let mut space = [0; 256];
        let mut read = ReadBuf::new(&mut space);
        let mut context = Context::from_waker(Waker::noop());
        let _ = Pin::new(far).poll_read(&mut context, &mut read);
        read.filled().to_vec()
    }

    #[test]
    fn what_several_turns_write_is_sent_at_once_when_one_adds_nothing() {
        let (near, mut far) = tokio::io::duplex(256);
        let mut gathered = Gathered::new(near);
        assert!(turn(&mut gathered, &[b"head "]).is_pending());
        assert!(turn(&mut gathered, &[b"one ", b"two "]).is_pending());
        assert!(turn(&mut gathered, &[b"end"]).is_pending());
        assert_eq!(sent(&mut far), b"");
        assert!(turn(&mut gathered, &[]).is_ready());
        assert_eq!(sent(&mut far), b"head one two end");
    }

    #[tokio::test]
    async fn a_writer_that_only_flushes_gets_it_sent_too() {
        let (near, mut far) = tokio::io::duplex(256);
        let mut gathered = Gathered::new(near);
        gathered.write_all(b"alone").await.unwrap();
        // The first one is put off.
        for _ in 0..2 {
            gathered.flush().await.unwrap();
        }
        assert_eq!(sent(&mut far), b"alone");
    }

    #[tokio::test]
    async fn what_is_held_goes_out_before_the_end_and_before_it_is_too_much() {
        let (near, mut far) = tokio::io::duplex(2 * HELD_BYTES);
        let mut gathered = Gathered::new(near);
        let all = vec![7; HELD_BYTES + 1];
        gathered.write_all(&all).await.unwrap();
        assert_eq!(gathered.held.len(), 1);
        poll_fn(|context| Pin::new(&mut gathered).poll_shutdown(context))
            .await
            .unwrap();
        drop(gathered);
        let mut heard = Vec::new();
        far.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, all);
    }

    #[tokio::test]
    async fn a_full_stream_takes_the_rest_when_it_has_room() {
        let (near, mut far) = tokio::io::duplex(4);
        let mut gathered = Gathered::new(near);
        gathered.write_all(b"abcdefgh").await.unwrap();
        let mut heard = [0; 8];
        let sending = async {
            for _ in 0..2 {
                gathered.flush().await.unwrap();
            }
        };
        let (read, ()) = tokio::join!(far.read_exact(&mut heard), sending);
        read.unwrap();
        assert_eq!(&heard, b"abcdefgh");
    }
}
