//! The few forms that stored and sent values of this crate are made of.
//!
//! Owns lengths and optional byte strings. Must not know what they mean.

use bytes::{Buf, BufMut, Bytes, BytesMut, TryGetError};

use crate::Error;

pub(crate) fn put_len(len: usize, out: &mut BytesMut) {
    out.put_u32_le(u32::try_from(len).expect("lists and texts in memory are shorter than 4 Gi"));
}

pub(crate) fn take_len(bytes: &mut &[u8]) -> Result<u32, Error> {
    bytes.try_get_u32_le().map_err(cut_off)
}

pub(crate) fn put_optional(value: Option<&Bytes>, out: &mut BytesMut) {
    out.put_u8(u8::from(value.is_some()));
    if let Some(value) = value {
        put_len(value.len(), out);
        out.put_slice(value);
    }
}

pub(crate) fn take_optional(bytes: &mut &[u8]) -> Result<Option<Bytes>, Error> {
    if bytes.try_get_u8().map_err(cut_off)? == 0 {
        return Ok(None);
    }
    let len = take_len(bytes)? as usize;
    let (value, rest) = bytes
        .split_at_checked(len)
        .ok_or_else(|| Error::Malformed("a text is cut off".into()))?;
    *bytes = rest;
    Ok(Some(Bytes::copy_from_slice(value)))
}

pub(crate) fn cut_off(error: TryGetError) -> Error {
    Error::Malformed(format!("a stored value is cut off: {error}"))
}
