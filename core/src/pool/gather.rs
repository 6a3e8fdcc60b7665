//! Sends at once what is written at about the same time.
//!
//! A request is three frames, each of them written by a turn of its own; sent one by one, they cost
//! three system calls here and wake the member three times. Owns the one turn of the runtime that
//! a write waits for others. Knows nothing of what is written.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A byte stream whose writer comes back once before anything is written, with what was added.
pub(super) struct Gathered<S> {
    stream: S,
    /// The writer was told to come back since the last write.
    waited: bool,
}

impl<S> Gathered<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            waited: false,
        }
    }
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    fn write<F>(&mut self, context: &mut Context<'_>, write: F) -> Poll<io::Result<usize>>
    where
        F: FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    {
        if !self.waited {
            self.waited = true;
            // Behind all that can run now.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let written = write(Pin::new(&mut self.stream), context);
        self.waited = written.is_pending();
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(context, |stream, context| stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(context, |stream, context| {
            stream.poll_write_vectored(context, slices)
        })
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::RefCell,
        future::{Future, poll_fn},
        rc::Rc,
        task::Waker,
    };

    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn what_comes_while_a_write_waits_goes_with_it() {
        let (near, mut far) = tokio::io::duplex(64);
        let mut gathered = Gathered::new(near);
        let waiting = RefCell::new(b"head".to_vec());
        let mut turns = 0;
        let sending = poll_fn(|context| {
            turns += 1;
            let bytes = waiting.borrow().clone();
            Pin::new(&mut gathered).poll_write(context, &bytes)
        });
        let adding = async { waiting.borrow_mut().extend(b", body") };
        let (sent, ()) = tokio::join!(sending, adding);
        assert_eq!(sent.unwrap(), 10);
        assert_eq!(turns, 2);
        let mut heard = [0; 10];
        far.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"head, body");
    }

    #[tokio::test]
    async fn a_write_that_found_the_stream_full_waits_for_room_only() {
        let (near, mut far) = tokio::io::duplex(4);
        let mut gathered = Gathered::new(near);
        let polls = Rc::new(RefCell::new(0));
        let mut write = Box::pin(poll_fn(|context| {
            *polls.borrow_mut() += 1;
            Pin::new(&mut gathered).poll_write(context, b"abcd")
        }));
        assert_eq!(write.as_mut().await.unwrap(), 4);
        // Once to gather, and then it finds no room.
        let mut context = Context::from_waker(Waker::noop());
        assert!(write.as_mut().poll(&mut context).is_pending());
        assert!(write.as_mut().poll(&mut context).is_pending());
        far.read_exact(&mut [0; 4]).await.unwrap();
        assert!(write.as_mut().poll(&mut context).is_ready());
        assert_eq!(*polls.borrow(), 5);
    }
}
