//! A watch's messages as the validators need them: pieces between interruptions, and in them whole
//! responses.
//!
//! Owns the division. A response cut off between its fragments counts as far as it came.

use crate::history::{Delivery, Event, WatchRecord};

/// A response or a promise.
#[derive(Clone, Debug)]
pub(super) enum Item<'a> {
    Response {
        /// The header's revision, 0 if not noted.
        revision: i64,
        events: Vec<&'a Event>,
        /// False if the last fragment did not come.
        is_whole: bool,
    },
    Progress {
        revision: i64,
    },
}

/// What came between two interruptions.
#[derive(Clone, Debug, Default)]
pub(super) struct Piece<'a> {
    /// The first revision that was asked for, if it is known.
    pub(super) start: Option<i64>,
    pub(super) items: Vec<Item<'a>>,
    /// Whether the server said that what comes next is compacted away.
    pub(super) is_compacted: bool,
}

/// All pieces of a watch.
#[derive(Clone, Debug)]
pub(super) struct Stream<'a> {
    pub(super) record: &'a WatchRecord,
    pub(super) pieces: Vec<Piece<'a>>,
}

impl<'a> Piece<'a> {
    pub(super) fn responses(&self) -> impl Iterator<Item = &[&'a Event]> {
        self.items.iter().filter_map(|item| match item {
            Item::Response { events, .. } => Some(events.as_slice()),
            Item::Progress { .. } => None,
        })
    }

    pub(super) fn events(&self) -> impl Iterator<Item = &'a Event> {
        self.responses().flatten().copied()
    }

    /// The last revision of which everything must have come by the end of this piece.
    pub(super) fn reached(&self) -> Option<i64> {
        let before = self.start.map(|start| start - 1);
        let items = self.items.iter().filter_map(|item| match item {
            Item::Progress { revision } => Some(*revision),
            Item::Response {
                revision,
                events,
                is_whole,
            } => {
                let last = events.iter().map(|event| event.revision()).max()?;
                // A header may promise more than the events show.
                Some(if *is_whole {
                    last.max(*revision)
                } else {
                    last - 1
                })
            }
        });
        items.chain(before).max()
    }
}

impl<'a> Stream<'a> {
    pub(super) fn read(record: &'a WatchRecord) -> Self {
        let asked = record.request.start_revision;
        let mut pieces = vec![Piece {
            start: (asked > 0).then_some(asked),
            ..Piece::default()
        }];
        let mut parts: Option<(i64, Vec<&'a Event>)> = None;
        for note in &record.notes {
            let Some(piece) = pieces.last_mut() else {
                break;
            };
            if !matches!(note.delivery, Delivery::Events { .. }) {
                cut(piece, &mut parts);
            }
            match &note.delivery {
                Delivery::Created { revision } => {
                    piece.start = piece.start.or(Some(*revision + 1));
                }
                Delivery::Events {
                    revision,
                    events,
                    fragment,
                } => {
                    let (mut header, mut all) = parts.take().unwrap_or_default();
                    header = header.max(*revision);
                    all.extend(events);
                    if *fragment {
                        parts = Some((header, all));
                    } else {
                        piece.items.push(Item::Response {
                            revision: header,
                            events: all,
                            is_whole: true,
                        });
                    }
                }
                Delivery::Progress { revision } => {
                    let revision = *revision;
                    piece.items.push(Item::Progress { revision });
                }
                Delivery::Resumed { from } => pieces.push(Piece {
                    start: (*from > 0).then_some(*from),
                    ..Piece::default()
                }),
                Delivery::Compacted { .. } => piece.is_compacted = true,
                Delivery::Cancelled { .. } => {}
            }
        }
        if let Some(piece) = pieces.last_mut() {
            cut(piece, &mut parts);
        }
        Self { record, pieces }
    }

    pub(super) fn events(&self) -> impl Iterator<Item = &'a Event> {
        self.pieces.iter().flat_map(Piece::events)
    }
}

fn cut<'a>(piece: &mut Piece<'a>, parts: &mut Option<(i64, Vec<&'a Event>)>) {
    if let Some((revision, events)) = parts.take() {
        piece.items.push(Item::Response {
            revision,
            events,
            is_whole: false,
        });
    }
}
