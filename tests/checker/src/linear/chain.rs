//! A list of things in a fixed order from which single ones are taken and put back.
//!
//! Owns the links. Putting back must happen in the opposite order of taking.

/// The positions 0 to n, linked.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    /// The one after each, and, at n, the first.
    next: Vec<usize>,
    /// The one before each, and, at n, the last.
    prev: Vec<usize>,
}

impl Chain {
    /// All of `length` positions.
    pub(crate) fn new(length: usize) -> Self {
        let after = |at: usize| if at == length { 0 } else { at + 1 };
        let before = |at: usize| if at == 0 { length } else { at - 1 };
        Self {
            next: (0..=length).map(after).collect(),
            prev: (0..=length).map(before).collect(),
        }
    }

    /// The first that is not taken.
    pub(crate) fn first(&self) -> Option<usize> {
        let end = self.next.len() - 1;
        Some(self.next[end]).filter(|first| *first != end)
    }

    /// Takes one away.
    pub(crate) fn take(&mut self, at: usize) {
        let (before, after) = (self.prev[at], self.next[at]);
        self.next[before] = after;
        self.prev[after] = before;
    }

    /// Puts the one back that was taken last.
    pub(crate) fn put_back(&mut self, at: usize) {
        let (before, after) = (self.prev[at], self.next[at]);
        self.next[before] = at;
        self.prev[after] = at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(chain: &Chain) -> Vec<usize> {
        let mut chain = chain.clone();
        let next = || chain.first().inspect(|at| chain.take(*at));
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn what_is_taken_comes_back_to_its_place() {
        let mut chain = Chain::new(4);
        for at in [0, 2, 3, 1] {
            chain.take(at);
        }
        assert_eq!(chain.first(), None);
        chain.put_back(1);
        chain.put_back(3);
        assert_eq!(all(&chain), [1, 3]);
        chain.put_back(2);
        chain.put_back(0);
        assert_eq!(all(&chain), [0, 1, 2, 3]);
        assert_eq!(Chain::new(0).first(), None);
    }
}
