//! Clients whose HTTP/2 `:authority` is no authority.
//!
//! etcd's Go clients up to 3.5 send things like `http://10.0.0.1:2379` or `#initially=[…]` there,
//! which etcd does not look at, but the HTTP/2 library under this server resets such requests
//! before any handler sees them. Nothing here looks at the authority either, so an unusable one is
//! overwritten on its way in by one of the same size.
//!
//! Owns as much of the HTTP/2 and HPACK formats as that takes. Only the first request of a
//! connection is looked at when there is nothing wrong with it.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::uri::Authority;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEADER_BYTES: usize = 9;
/// Longer header frames than clients are allowed to send are not waited for.
const FRAME_BYTES_MAX: usize = 16 * 1024;
const READ_BYTES: usize = 8 * 1024;

const TYPE_HEADERS: u8 = 1;
const FLAG_PADDED: u8 = 0x8;
const FLAG_PRIORITY: u8 = 0x20;

/// Number of `:authority` in HPACK's static table.
const NAME_AUTHORITY: usize = 1;
/// `X`, and its eight bits in HPACK's Huffman code.
const FILLER: u8 = b'X';
const FILLER_HUFFMAN: u8 = 0xfc;

/// A connection whose unusable authorities are overwritten while they are read.
#[derive(Debug)]
pub(crate) struct LenientAuthority<I> {
    io: I,
    filter: Option<Filter>,
}

impl<I> LenientAuthority<I> {
    pub(crate) fn new(io: I) -> LenientAuthority<I> {
        LenientAuthority {
            io,
            filter: Some(Filter::default()),
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for LenientAuthority<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            let Some(filter) = &mut this.filter else {
                return Pin::new(&mut this.io).poll_read(cx, buf);
            };
            if filter.deliver(buf) {
                return Poll::Ready(Ok(()));
            }
            if filter.done {
                this.filter = None;
                continue;
            }
            let mut chunk = [0; READ_BYTES];
            let mut chunk = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut this.io).poll_read(cx, &mut chunk))?;
            filter.take(chunk.filled());
        }
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for LenientAuthority<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// What was read, up to where it has been looked at.
#[derive(Debug, Default)]
struct Filter {
    bytes: Vec<u8>,
    /// Bytes at the front that were looked at and may be delivered.
    cleared: usize,
    /// Bytes still to come of a frame that is of no interest.
    skip: usize,
    past_preface: bool,
    /// Nothing more is to be looked at.
    done: bool,
}

impl Filter {
    /// Hands out cleared bytes; false when there are none.
    fn deliver(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let count = self.cleared.min(buf.remaining());
        buf.put_slice(&self.bytes[..count]);
        self.bytes.drain(..count);
        self.cleared -= count;
        count > 0
    }

    /// Looks at bytes that were read; none at all is the end of the connection.
    fn take(&mut self, chunk: &[u8]) {
        self.bytes.extend_from_slice(chunk);
        self.done = chunk.is_empty();
        while !self.done && self.step() {}
        if self.done {
            self.cleared = self.bytes.len();
        }
    }

    /// Clears the next piece; false when more bytes have to be there first.
    fn step(&mut self) -> bool {
        let rest = &mut self.bytes[self.cleared..];
        if !self.past_preface {
            let known = rest.len().min(PREFACE.len());
            self.done = rest[..known] != PREFACE[..known];
            self.past_preface = known == PREFACE.len();
            self.cleared += if self.past_preface { known } else { 0 };
            return self.past_preface;
        }
        if self.skip > 0 {
            let count = self.skip.min(rest.len());
            self.skip -= count;
            self.cleared += count;
            return count > 0;
        }
        let Some((header, payload)) = rest.split_at_mut_checked(FRAME_HEADER_BYTES) else {
            return false;
        };
        let length =
            usize::from(header[0]) << 16 | usize::from(header[1]) << 8 | usize::from(header[2]);
        let (kind, flags) = (header[3], header[4]);
        if kind != TYPE_HEADERS {
            self.cleared += FRAME_HEADER_BYTES;
            self.skip = length;
            return true;
        }
        if length > FRAME_BYTES_MAX {
            self.done = true;
            return false;
        }
        let Some(payload) = payload.get_mut(..length) else {
            return false;
        };
        // A client that is right once is right for the life of the connection.
        self.done = !overwrite_unusable(block(payload, flags));
        self.cleared += FRAME_HEADER_BYTES + length;
        true
    }
}

/// The header block inside a HEADERS frame; its padding at the end does no harm.
fn block(payload: &mut [u8], flags: u8) -> &mut [u8] {
    let padded = usize::from(flags & FLAG_PADDED != 0);
    let priority = if flags & FLAG_PRIORITY != 0 { 5 } else { 0 };
    payload.get_mut(padded + priority..).unwrap_or_default()
}

/// Overwrites the authority of a header block if it is unusable; whether it did.
fn overwrite_unusable(block: &mut [u8]) -> bool {
    let Some((value, huffman)) = authority_in(block) else {
        return false;
    };
    let value = &mut block[value];
    let usable = match huffman {
        true => decode_short(value).is_some_and(|text| Authority::try_from(&text[..]).is_ok()),
        false => Authority::try_from(&*value).is_ok(),
    };
    if !usable {
        // As long as before, and never longer when decoded: the sender's and the receiver's
        // dynamic tables stay in step.
        value.fill(if huffman { FILLER_HUFFMAN } else { FILLER });
    }
    !usable
}

/// Where the value of a literal `:authority` is, and whether it is Huffman coded.
///
/// Pseudo headers come first, so that it is in the first frame of a block.
fn authority_in(block: &[u8]) -> Option<(Range<usize>, bool)> {
    let mut cursor = Cursor { block, at: 0 };
    loop {
        let first = *block.get(cursor.at)?;
        if first & 0x80 != 0 {
            cursor.integer(7)?;
        } else if first & 0xe0 == 0x20 {
            cursor.integer(5)?;
        } else {
            let name = cursor.integer(if first & 0x40 != 0 { 6 } else { 4 })?;
            if name == 0 {
                cursor.string()?;
            }
            let value = cursor.string()?;
            if name == NAME_AUTHORITY {
                return Some(value);
            }
        }
    }
}

/// Reads HPACK's primitive types.
struct Cursor<'a> {
    block: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn byte(&mut self) -> Option<usize> {
        let byte = *self.block.get(self.at)?;
        self.at += 1;
        Some(usize::from(byte))
    }

    /// An integer that starts in the low `bits` of the next byte.
    fn integer(&mut self, bits: u32) -> Option<usize> {
        let most = (1 << bits) - 1;
        let mut value = self.byte()? & most;
        if value < most {
            return Some(value);
        }
        // Three more bytes are enough for everything that fits into a frame.
        for shift in [0, 7, 14] {
            let byte = self.byte()?;
            value += (byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn string(&mut self) -> Option<(Range<usize>, bool)> {
        let huffman = self.block.get(self.at)? & 0x80 != 0;
        let length = self.integer(7)?;
        let start = self.at;
        self.at = start
            .checked_add(length)
            .filter(|&end| end <= self.block.len())?;
        Some((start..self.at, huffman))
    }
}

/// The characters with codes of 5 to 8 bits, in the order of their codes (RFC 7541, appendix B).
const SHORT_CODES: [&[u8]; 4] = [
    b"012aceiost",
    b" %-./3456789=A_bdfghlmnpru",
    b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz",
    b"&*,;XZ",
];
const SHORTEST_CODE_BITS: usize = 5;

/// Decodes a Huffman coded text of such characters, which are all that a host and port consist
/// of; `None` for any other.
fn decode_short(coded: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(coded.len() * 8 / SHORTEST_CODE_BITS);
    let (mut code, mut bits) = (0usize, 0usize);
    for byte in coded {
        for shift in (0..8).rev() {
            code = code << 1 | usize::from(byte >> shift & 1);
            bits += 1;
            if let Some(character) = short_code(code, bits) {
                text.push(character);
                (code, bits) = (0, 0);
            } else if bits >= SHORTEST_CODE_BITS + SHORT_CODES.len() {
                return None;
            }
        }
    }
    // What is left over is padding, and all ones.
    (code + 1 == 1 << bits).then_some(text)
}

/// The character with this code: codes of one length are successive numbers, and the first of
/// them follows from the last of the length before.
fn short_code(code: usize, bits: usize) -> Option<u8> {
    let mut first = 0;
    for (shorter, characters) in SHORT_CODES.iter().enumerate() {
        if bits == SHORTEST_CODE_BITS + shorter {
            return characters.get(code.checked_sub(first)?).copied();
        }
        first = (first + characters.len()) << 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// `127.0.0.1:2379` and `http://127.0.0.1:2379` as Go's HPACK encoder writes them.
    fn huffman(text: &str) -> Vec<u8> {
        let (mut bytes, mut pending, mut bits) = (Vec::new(), 0u64, 0);
        for character in text.bytes() {
            let (length, code) = (5..=8)
                .flat_map(|length| (0..1 << length).map(move |code| (length, code)))
                .find(|&(length, code)| short_code(code, length) == Some(character))
                .unwrap();
            pending = pending << length | code as u64;
            bits += length;
            while bits >= 8 {
                bits -= 8;
                bytes.push((pending >> bits) as u8);
            }
        }
        if bits > 0 {
            bytes.push((pending << (8 - bits)) as u8 | 0xff >> bits);
        }
        bytes
    }

    fn headers(authority: &[u8], huffman: bool, flags: u8) -> Vec<u8> {
        // `:method POST`, `:scheme http`, a literal `:path`, then the authority.
        let mut block = vec![0x83, 0x86, 0x44, 0x02, b'/', b'x', 0x41];
        block.push(authority.len() as u8 | if huffman { 0x80 } else { 0 });
        block.extend_from_slice(authority);
        let mut payload = Vec::new();
        if flags & FLAG_PADDED != 0 {
            payload.push(0);
        }
        if flags & FLAG_PRIORITY != 0 {
            payload.extend_from_slice(&[0; 5]);
        }
        payload.extend_from_slice(&block);
        let mut frame = vec![0, 0, payload.len() as u8, TYPE_HEADERS, flags, 0, 0, 0, 1];
        frame.extend_from_slice(&payload);
        frame
    }

    /// What the far side reads of `sent`, written in pieces of `piece` bytes.
    async fn through(sent: &[u8], piece: usize) -> Vec<u8> {
        let (mut client, server) = tokio::io::duplex(piece);
        let mut server = LenientAuthority::new(server);
        let sent = sent.to_vec();
        let writer = tokio::spawn(async move { client.write_all(&sent).await });
        let mut read = Vec::new();
        server.read_to_end(&mut read).await.unwrap();
        writer.await.unwrap().unwrap();
        read
    }

    fn connection(frames: &[Vec<u8>]) -> Vec<u8> {
        let data = vec![0, 0, 3, 0, 0, 0, 0, 0, 1, TYPE_HEADERS, TYPE_HEADERS, 9];
        let settings = vec![0, 0, 0, 4, 0, 0, 0, 0, 0];
        let mut sent = [PREFACE, &settings].concat();
        for frame in frames {
            sent.extend_from_slice(frame);
            sent.extend_from_slice(&data);
        }
        sent
    }

    #[test]
    fn short_codes_are_those_of_the_standard() {
        // The example of RFC 7541, C.4.1.
        let coded = [
            0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff,
        ];
        assert_eq!(decode_short(&coded).unwrap(), b"www.example.com");
        assert_eq!(decode_short(&[FILLER_HUFFMAN; 3]).unwrap(), b"XXX");
        assert_eq!(
            decode_short(&huffman("127.0.0.1:2379")).unwrap(),
            b"127.0.0.1:2379"
        );
        // `#` has a code of twelve bits, and padding has to be ones.
        assert_eq!(decode_short(&[0xff, 0xa1]), None);
        assert_eq!(decode_short(&[0b0000_0000]), None);
    }

    #[tokio::test]
    async fn unusable_authorities_are_overwritten_wherever_they_are_cut() {
        let bad = "http://127.0.0.1:2379";
        let coded = huffman(bad);
        for flags in [0x4, 0x4 | FLAG_PADDED, 0x4 | FLAG_PRIORITY | FLAG_PADDED] {
            let frames = |coded: &[u8], raw: &[u8]| {
                let first = headers(coded, true, flags);
                connection(&[first.clone(), headers(raw, false, flags), first])
            };
            let sent = frames(&coded, b"#initially=[http://a:2379]");
            let expected = frames(&vec![FILLER_HUFFMAN; coded.len()], &[FILLER; 26]);
            for piece in [1, 2, 7, 30, 4096] {
                assert_eq!(through(&sent, piece).await, expected, "{piece}");
            }
        }
    }

    #[tokio::test]
    async fn good_authorities_and_other_protocols_pass_unchanged() {
        let good = headers(&huffman("127.0.0.1:2379"), true, 0x4);
        let late = headers(b"http://a", false, 0x4);
        let cases = [
            connection(&[good, late]),
            connection(&[headers(b"[::1]:2379", false, 0x4)]),
            b"GET /health HTTP/1.1\r\n\r\n".to_vec(),
            b"PRI".to_vec(),
            PREFACE.to_vec(),
            Vec::new(),
        ];
        for sent in cases {
            for piece in [1, 5, 4096] {
                assert_eq!(through(&sent, piece).await, sent);
            }
        }
    }

    #[test]
    fn broken_header_blocks_are_left_to_the_library() {
        for broken in [
            &[0x41][..],
            &[0x41, 0x85, 1],
            &[0x7f, 0xff, 0xff, 0xff, 0xff],
            &[0x41, 0],
        ] {
            let mut block = broken.to_vec();
            overwrite_unusable(&mut block);
            assert_eq!(block, broken);
        }
    }
}
