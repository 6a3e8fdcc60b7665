//! One simulated file: what is durable, what is not yet, and what a stop leaves of it. Must not
//! know names.

use std::collections::BTreeMap;

use super::Loss;

const SECTOR_BYTES: u64 = 512;

/// A small seeded generator: the same seed gives the same disk image.
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `end`, which is not 0.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end.max(1)
    }
}

#[derive(Clone, Debug)]
enum Change {
    Write { offset: u64, bytes: Vec<u8> },
    Len(u64),
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => {
                let start = *offset as usize;
                let end = start + bytes.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[start..end].copy_from_slice(bytes);
            }
            Self::Len(len) => content.resize(*len as usize, 0),
        }
    }

    /// Length of the file after the change.
    fn len_after(&self, len: u64) -> u64 {
        match self {
            Self::Write { offset, bytes } => len.max(offset + bytes.len() as u64),
            Self::Len(len) => *len,
        }
    }
}

/// A file's content.
#[derive(Debug, Default)]
pub(super) struct Node {
    durable: Vec<u8>,
    unsynced: Vec<Change>,
    current: Vec<u8>,
    pub(super) locked: bool,
}

impl Node {
    pub(super) fn durable(content: Vec<u8>) -> Self {
        Self {
            durable: content.clone(),
            current: content,
            ..Self::default()
        }
    }

    pub(super) fn current(&self) -> &[u8] {
        &self.current
    }

    pub(super) fn is_dirty(&self) -> bool {
        !self.unsynced.is_empty()
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        self.change(Change::Write {
            offset,
            bytes: bytes.to_vec(),
        });
    }

    pub(super) fn set_len(&mut self, len: u64) {
        self.change(Change::Len(len));
    }

    pub(super) fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    pub(super) fn flip(&mut self, offset: u64, bit: u8) -> bool {
        let at = offset as usize;
        let mut found = false;
        for content in [&mut self.durable, &mut self.current] {
            if let Some(byte) = content.get_mut(at) {
                *byte ^= 1 << (bit % 8);
                found = true;
            }
        }
        found
    }

    /// Settles what the disk holds after a stop.
    pub(super) fn stop(&mut self, loss: Loss, dice: &mut Dice) {
        let changes = std::mem::take(&mut self.unsynced);
        match loss {
            Loss::Everything => {}
            Loss::Sectors => self.keep_sectors(&changes, dice),
            Loss::LastTorn => {
                if let Some((last, earlier)) = changes.split_last() {
                    for change in earlier {
                        change.apply(&mut self.durable);
                    }
                    tear(last, dice).apply(&mut self.durable);
                }
            }
        }
        self.current = self.durable.clone();
        self.locked = false;
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.current);
        self.unsynced.push(change);
    }

    /// Every sector holds what it held after some number of the writes to it: a disk reorders
    /// writes, but it writes a sector as the memory has it.
    fn keep_sectors(&mut self, changes: &[Change], dice: &mut Dice) {
        let mut touched: BTreeMap<u64, Vec<&Change>> = BTreeMap::new();
        let mut lengths = vec![self.durable.len() as u64];
        for change in changes {
            let before = lengths.last().copied().unwrap_or(0);
            let range = match change {
                Change::Write { offset, bytes } => *offset..offset + bytes.len() as u64,
                Change::Len(len) => *len..before.max(*len),
            };
            for sector in range.start / SECTOR_BYTES..range.end.div_ceil(SECTOR_BYTES) {
                touched.entry(sector).or_default().push(change);
            }
            lengths.push(change.len_after(before));
        }
        for (sector, changes) in touched {
            let kept = dice.below(changes.len() as u64 + 1) as usize;
            for change in &changes[..kept] {
                apply_to_sector(change, sector, &mut self.durable);
            }
        }
        let len = lengths[dice.below(lengths.len() as u64) as usize];
        self.durable.resize(len as usize, 0);
    }
}

fn apply_to_sector(change: &Change, sector: u64, content: &mut Vec<u8>) {
    let (start, end) = (sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES);
    match change {
        Change::Write { offset, bytes } => {
            let from = start.max(*offset);
            let to = end.min(offset + bytes.len() as u64);
            let part = bytes[(from - offset) as usize..(to - offset) as usize].to_vec();
            Change::Write {
                offset: from,
                bytes: part,
            }
            .apply(content);
        }
        Change::Len(len) => {
            let from = (*len).max(start) as usize;
            let to = (end as usize).min(content.len());
            if from < to {
                content[from..to].fill(0);
            }
        }
    }
}

/// Cuts a write at a sector within it.
fn tear(change: &Change, dice: &mut Dice) -> Change {
    let Change::Write { offset, bytes } = change else {
        return change.clone();
    };
    let first = offset / SECTOR_BYTES;
    let last = (offset + bytes.len() as u64).div_ceil(SECTOR_BYTES);
    let cut = (first + dice.below(last - first)) * SECTOR_BYTES;
    let kept = cut.saturating_sub(*offset) as usize;
    Change::Write {
        offset: *offset,
        bytes: bytes[..kept].to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dirty() -> Node {
        let mut node = Node::durable(vec![1; 2048]);
        node.write(0, &[2; 2048]);
        node.write(1024, &[3; 2048]);
        node
    }

    #[test]
    fn synced_bytes_survive_every_model() {
        for loss in Loss::ALL {
            let mut node = dirty();
            node.sync();
            node.stop(loss, &mut Dice::new(1));
            assert_eq!(&node.current()[..1024], &[2; 1024]);
            assert_eq!(&node.current()[1024..], &[3; 2048]);
        }
    }

    #[test]
    fn sectors_hold_one_of_their_versions_and_vary() {
        let mut images = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let mut node = dirty();
            node.stop(Loss::Sectors, &mut Dice::new(seed));
            for (index, sector) in node.current().chunks(512).enumerate() {
                let allowed: &[u8] = if index < 2 { &[1, 2] } else { &[0, 1, 2, 3] };
                assert!(sector.iter().all(|byte| *byte == sector[0]));
                assert!(allowed.contains(&sector[0]));
            }
            images.insert(node.current().to_vec());
        }
        assert!(images.len() > 50, "only {} different images", images.len());
    }

    #[test]
    fn a_torn_write_ends_at_a_sector() {
        for seed in 0..50 {
            let mut node = dirty();
            node.stop(Loss::LastTorn, &mut Dice::new(seed));
            let threes = node.current().iter().filter(|byte| **byte == 3).count();
            assert!(threes < 2048 && threes.is_multiple_of(512), "{threes}");
            assert_eq!(&node.current()[..1024], &[2; 1024]);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_image() {
        let image = |seed| {
            let mut node = dirty();
            node.stop(Loss::Sectors, &mut Dice::new(seed));
            node.current().to_vec()
        };
        assert_eq!(image(7), image(7));
    }
}
