//! Which key ranges contain a key.
//!
//! Owns an interval tree: a treap ordered by range in which every node knows the largest range end
//! below it, so a lookup costs O(log n + hits). Knows nothing of what the members of a range are.

use std::cmp::Ordering;
use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;

/// "No node".
const NIL: u32 = u32::MAX;

/// The end of a range, exclusive. Open ends sort last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    Before(Bytes),
    Open,
}

impl End {
    fn is_above(&self, key: &[u8]) -> bool {
        match self {
            End::Before(end) => key < &end[..],
            End::Open => true,
        }
    }
}

impl PartialOrd for End {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for End {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (End::Before(a), End::Before(b)) => a.cmp(b),
            (End::Before(_), End::Open) => Ordering::Less,
            (End::Open, End::Before(_)) => Ordering::Greater,
            (End::Open, End::Open) => Ordering::Equal,
        }
    }
}

#[derive(Debug)]
struct Node {
    start: Bytes,
    end: End,
    /// The largest end in this subtree.
    reach: End,
    priority: u64,
    left: u32,
    right: u32,
    members: Vec<u32>,
}

impl Node {
    fn cmp_range(&self, start: &[u8], end: &End) -> Ordering {
        self.start[..].cmp(start).then_with(|| self.end.cmp(end))
    }
}

/// Ranges `[start, end)` and who is interested in each.
#[derive(Debug)]
pub(super) struct Intervals {
    nodes: Vec<Node>,
    free: Vec<u32>,
    root: u32,
    made: u64,
    /// Keyed, so that nobody can choose ranges that unbalance the tree.
    priorities: RandomState,
}

impl Intervals {
    pub(super) fn new() -> Intervals {
        Intervals {
            nodes: Vec::new(),
            free: Vec::new(),
            root: NIL,
            made: 0,
            priorities: RandomState::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.root == NIL
    }

    /// Adds a member; true if it is the first of its range.
    pub(super) fn insert(&mut self, start: &Bytes, end: &End, member: u32) -> bool {
        if let Some(node) = self.find(start, end) {
            self.node_mut(node).members.push(member);
            return false;
        }
        let node = self.allocate(start, end, member);
        self.root = self.insert_at(self.root, node);
        true
    }

    /// Removes a member; true if it was the last of its range.
    pub(super) fn remove(&mut self, start: &Bytes, end: &End, member: u32) -> bool {
        let Some(node) = self.find(start, end) else {
            return false;
        };
        let members = &mut self.node_mut(node).members;
        if let Some(place) = members.iter().rposition(|present| *present == member) {
            members.swap_remove(place);
        }
        if !members.is_empty() {
            return false;
        }
        self.root = self.remove_at(self.root, start, end);
        self.free.push(node);
        true
    }

    /// Visits the members of every range that contains `key`, ranges ascending.
    pub(super) fn visit(&self, key: &[u8], visit: &mut impl FnMut(&[u32])) {
        self.visit_at(self.root, key, visit);
    }

    fn visit_at(&self, at: u32, key: &[u8], visit: &mut impl FnMut(&[u32])) {
        let Some(node) = self.get(at) else { return };
        if !node.reach.is_above(key) {
            return;
        }
        self.visit_at(node.left, key, visit);
        if &node.start[..] <= key {
            if node.end.is_above(key) {
                visit(&node.members);
            }
            self.visit_at(node.right, key, visit);
        }
    }

    fn get(&self, at: u32) -> Option<&Node> {
        self.nodes.get(at as usize)
    }

    fn node(&self, at: u32) -> &Node {
        &self.nodes[at as usize]
    }

    fn node_mut(&mut self, at: u32) -> &mut Node {
        &mut self.nodes[at as usize]
    }

    fn find(&self, start: &[u8], end: &End) -> Option<u32> {
        let mut at = self.root;
        while let Some(node) = self.get(at) {
            match node.cmp_range(start, end) {
                Ordering::Equal => return Some(at),
                Ordering::Greater => at = node.left,
                Ordering::Less => at = node.right,
            }
        }
        None
    }

    fn allocate(&mut self, start: &Bytes, end: &End, member: u32) -> u32 {
        self.made += 1;
        let node = Node {
            start: start.clone(),
            end: end.clone(),
            reach: end.clone(),
            priority: self.priorities.hash_one(self.made),
            left: NIL,
            right: NIL,
            members: vec![member],
        };
        match self.free.pop() {
            Some(at) => {
                *self.node_mut(at) = node;
                at
            }
            None => {
                self.nodes.push(node);
                (self.nodes.len() - 1) as u32
            }
        }
    }

    /// Recomputes what a node knows of its subtree, after its children changed.
    fn refresh(&mut self, at: u32) {
        let node = self.node(at);
        let below = [node.left, node.right];
        let ends = below
            .iter()
            .filter_map(|child| Some(&self.get(*child)?.reach));
        let reach = ends.chain([&node.end]).max().cloned();
        if let Some(reach) = reach {
            self.node_mut(at).reach = reach;
        }
    }

    fn insert_at(&mut self, at: u32, new: u32) -> u32 {
        let Some(node) = self.get(at) else { return new };
        let (left, right) = (node.left, node.right);
        let new_node = self.node(new);
        if new_node.priority > node.priority {
            let (start, end) = (new_node.start.clone(), new_node.end.clone());
            let (low, high) = self.split(at, &start, &end);
            let new_node = self.node_mut(new);
            (new_node.left, new_node.right) = (low, high);
            self.refresh(new);
            return new;
        }
        if node.cmp_range(&new_node.start, &new_node.end) == Ordering::Greater {
            self.node_mut(at).left = self.insert_at(left, new);
        } else {
            self.node_mut(at).right = self.insert_at(right, new);
        }
        self.refresh(at);
        at
    }

    /// Splits a subtree into the ranges below and those above `[start, end)`.
    fn split(&mut self, at: u32, start: &[u8], end: &End) -> (u32, u32) {
        let Some(node) = self.get(at) else {
            return (NIL, NIL);
        };
        let (left, right) = (node.left, node.right);
        if node.cmp_range(start, end) == Ordering::Less {
            let (low, high) = self.split(right, start, end);
            self.node_mut(at).right = low;
            self.refresh(at);
            (at, high)
        } else {
            let (low, high) = self.split(left, start, end);
            self.node_mut(at).left = high;
            self.refresh(at);
            (low, at)
        }
    }

    fn remove_at(&mut self, at: u32, start: &[u8], end: &End) -> u32 {
        let Some(node) = self.get(at) else { return NIL };
        let (left, right) = (node.left, node.right);
        match node.cmp_range(start, end) {
            Ordering::Equal => return self.merge(left, right),
            Ordering::Greater => self.node_mut(at).left = self.remove_at(left, start, end),
            Ordering::Less => self.node_mut(at).right = self.remove_at(right, start, end),
        }
        self.refresh(at);
        at
    }

    /// Joins two subtrees, all of `left` being below all of `right`.
    fn merge(&mut self, left: u32, right: u32) -> u32 {
        let (Some(low), Some(high)) = (self.get(left), self.get(right)) else {
            return if left == NIL { right } else { left };
        };
        if low.priority > high.priority {
            let inner = low.right;
            self.node_mut(left).right = self.merge(inner, right);
            self.refresh(left);
            left
        } else {
            let inner = high.left;
            self.node_mut(right).left = self.merge(left, inner);
            self.refresh(right);
            right
        }
    }
}
