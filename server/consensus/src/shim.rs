//! Stands in for what the store is about to offer.
use bytes::Bytes;
use handfast_mvcc::{Error, SnapshotHeader, Store};
use handfast_storage::{disk::Disk, state::Row};
use std::{path::Path, sync::Arc};
pub(crate) struct Point {
    pub(crate) index: u64,
    pub(crate) hash: u64,
}
pub(crate) trait StoreExt {
    fn join_secret(&self) -> Option<Bytes> {
        Some(Bytes::from_static(b"x"))
    }
    fn hash_points(&self) -> Vec<Point> {
        Vec::new()
    }
}
impl StoreExt for Store {}
pub(crate) trait HeaderExt: Sized {
    fn encode(&self) -> Bytes {
        Bytes::new()
    }
    fn decode(_: &[u8]) -> Result<Self, Error> {
        Err(Error::EmptyKey)
    }
}
impl HeaderExt for SnapshotHeader {}
pub(crate) struct Spool;
impl Spool {
    pub(crate) fn open(_: Arc<dyn Disk>, _: &Path) -> Result<Self, handfast_storage::Error> {
        Ok(Self)
    }
    pub(crate) fn next(&self) -> (i64, u32) {
        (0, 0)
    }
    pub(crate) fn clear(&mut self) -> Result<(), handfast_storage::Error> {
        Ok(())
    }
    pub(crate) fn append(
        &mut self,
        _: (i64, u32),
        _: (i64, u32),
        _: &[u8],
    ) -> Result<(), handfast_storage::Error> {
        Ok(())
    }
    pub(crate) fn rows(
        &mut self,
    ) -> Result<
        std::iter::Empty<Result<Row, handfast_storage::Error>>,
        handfast_storage::Error,
    > {
        Ok(std::iter::empty())
    }
}
pub(crate) fn encode_rows(_: &[Row]) -> Bytes {
    Bytes::new()
}
