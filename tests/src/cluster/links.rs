//! What happens to the bytes on the way from one member to another: passed, late, lost or cut.
//!
//! Owns the table of all directed pairs. Knows nothing of sockets: whoever moves bytes asks here.

use std::time::Duration;

use tokio::sync::watch;

/// The state of the way from one member to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Bytes arrive at once.
    #[default]
    Open,
    /// Bytes arrive after this time, in order.
    Late(Duration),
    /// Bytes do not arrive, and nobody is told: what was sent arrives when this is over, as TCP
    /// sends again what got lost.
    Lost,
    /// Connections are reset, and new ones, too.
    Cut,
}

/// The conditions between all members of one cluster, by their place in it.
#[derive(Debug)]
pub(super) struct Links {
    size: usize,
    table: watch::Sender<Vec<Condition>>,
}

impl Links {
    /// All open, between `size` members.
    #[must_use]
    pub(super) fn new(size: usize) -> Self {
        Self {
            size,
            table: watch::Sender::new(vec![Condition::Open; size * size]),
        }
    }

    /// The way from member `from` to member `to`.
    #[must_use]
    pub(super) fn get(&self, from: usize, to: usize) -> Condition {
        self.table.borrow()[from * self.size + to]
    }

    /// Changes the way from member `from` to member `to`.
    pub(super) fn set(&self, from: usize, to: usize, condition: Condition) {
        self.table
            .send_modify(|table| table[from * self.size + to] = condition);
    }

    /// Opens every way.
    pub(super) fn heal(&self) {
        self.table.send_modify(|table| table.fill(Condition::Open));
    }

    /// Every directed pair.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let size = self.size;
        (0..size).flat_map(move |from| (0..size).map(move |to| (from, to)))
    }

    /// Waits until bytes pass from `from` to `to`, at once or late, and tells how late. A pair of
    /// which one end is unknown is always open. Cancel safe.
    pub(super) async fn passable(&self, from: Option<usize>, to: Option<usize>) -> Duration {
        let mut changes = self.table.subscribe();
        loop {
            let condition = match (from, to) {
                (Some(from), Some(to)) => changes.borrow_and_update()[from * self.size + to],
                _ => Condition::Open,
            };
            match condition {
                Condition::Open => return Duration::ZERO,
                Condition::Late(time) => return time,
                // The sender lives as long as `self`.
                Condition::Lost | Condition::Cut => drop(changes.changed().await),
            }
        }
    }

    /// Waits until the way between the two is cut, whichever direction. Cancel safe.
    pub(super) async fn cut(&self, one: Option<usize>, other: Option<usize>) {
        let (Some(one), Some(other)) = (one, other) else {
            return std::future::pending().await;
        };
        let mut changes = self.table.subscribe();
        let (there, back) = (one * self.size + other, other * self.size + one);
        loop {
            {
                let table = changes.borrow_and_update();
                if table[there] == Condition::Cut || table[back] == Condition::Cut {
                    return;
                }
            }
            drop(changes.changed().await);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_way_is_one_direction_only_and_healing_opens_all() {
        let links = Links::new(3);
        links.set(0, 1, Condition::Lost);
        assert_eq!(links.get(1, 0), Condition::Open);
        assert_eq!(links.passable(Some(1), Some(0)).await, Duration::ZERO);
        let waiting = links.passable(Some(0), Some(1));
        tokio::pin!(waiting);
        let early = tokio::time::timeout(Duration::from_millis(20), &mut waiting).await;
        assert!(early.is_err(), "lost bytes must not pass");
        links.heal();
        assert_eq!(waiting.await, Duration::ZERO);
    }

    #[tokio::test]
    async fn a_cut_ends_connections_in_both_directions() {
        let links = Links::new(2);
        links.set(1, 0, Condition::Cut);
        links.cut(Some(0), Some(1)).await;
        links.cut(Some(1), Some(0)).await;
    }
}
