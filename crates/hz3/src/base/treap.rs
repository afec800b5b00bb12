//! An ordered set of small indices whose links live in a table of the caller.
//!
//! It orders part-used slabs by fullness. The nodes are entries of out-of-band tables, so the set
//! owns no memory and no operation fails. It is a treap, because a treap's shape does not depend on
//! the order of insertions and its code is much shorter than a red-black tree's. Priorities are a
//! hash of the index; the expected depth is below 3 log2 n.

/// The table that holds the links of the nodes. Index 0 is the null link and never a node.
pub(crate) trait Nodes {
    fn left(&self, node: u32) -> u32;
    fn right(&self, node: u32) -> u32;
    fn set_left(&self, node: u32, child: u32);
    fn set_right(&self, node: u32, child: u32);
    /// Returns the sort key, which must be unique and must not change while the node is in the set.
    fn key(&self, node: u32) -> u64;
}

/// The set, which holds only the index of its root.
#[derive(Debug)]
pub(crate) struct Treap {
    root: u32,
}

/// A link of the tree: where the index of a subtree's root is stored.
#[derive(Clone, Copy)]
enum Link {
    Root,
    Left(u32),
    Right(u32),
}

const NIL: u32 = 0;

/// Returns a node's priority. The hash is bijective, so no two nodes have the same one.
fn priority(node: u32) -> u32 {
    let mixed = node.wrapping_mul(0x9E37_79B1);
    (mixed ^ (mixed >> 15)).wrapping_mul(0x85EB_CA77)
}

impl Treap {
    #[cfg(test)]
    pub(crate) const fn new() -> Treap {
        Treap { root: NIL }
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.root == NIL
    }

    fn get(&self, nodes: &impl Nodes, link: Link) -> u32 {
        match link {
            Link::Root => self.root,
            Link::Left(node) => nodes.left(node),
            Link::Right(node) => nodes.right(node),
        }
    }

    fn set(&mut self, nodes: &impl Nodes, link: Link, child: u32) {
        match link {
            Link::Root => self.root = child,
            Link::Left(node) => nodes.set_left(node, child),
            Link::Right(node) => nodes.set_right(node, child),
        }
    }

    /// Returns the link of the node `at` that leads towards `key`.
    fn towards(nodes: &impl Nodes, at: u32, key: u64) -> Link {
        if key < nodes.key(at) { Link::Left(at) } else { Link::Right(at) }
    }

    /// Adds `node`, which must not be in the set.
    pub(crate) fn insert(&mut self, nodes: &impl Nodes, node: u32) {
        let key = nodes.key(node);
        let mut link = Link::Root;
        let mut subtree = self.root;
        while subtree != NIL && priority(subtree) > priority(node) {
            link = Self::towards(nodes, subtree, key);
            subtree = self.get(nodes, link);
        }
        self.set(nodes, link, node);
        // Split the displaced subtree into the nodes below and above `key`.
        let mut below = Link::Left(node);
        let mut above = Link::Right(node);
        while subtree != NIL {
            let next = if key < nodes.key(subtree) {
                self.set(nodes, above, subtree);
                above = Link::Left(subtree);
                above
            } else {
                self.set(nodes, below, subtree);
                below = Link::Right(subtree);
                below
            };
            subtree = self.get(nodes, next);
        }
        self.set(nodes, below, NIL);
        self.set(nodes, above, NIL);
    }

    /// Removes `node`, which must be in the set.
    pub(crate) fn remove(&mut self, nodes: &impl Nodes, node: u32) {
        let key = nodes.key(node);
        let mut link = Link::Root;
        let mut at = self.root;
        while at != node {
            debug_assert!(at != NIL, "removal of a node that is not in the set");
            link = Self::towards(nodes, at, key);
            at = self.get(nodes, link);
        }
        // Merge its two subtrees. All keys of the left one are below those of the right one.
        let (mut left, mut right) = (nodes.left(node), nodes.right(node));
        while left != NIL && right != NIL {
            if priority(left) > priority(right) {
                self.set(nodes, link, left);
                link = Link::Right(left);
                left = nodes.right(left);
            } else {
                self.set(nodes, link, right);
                link = Link::Left(right);
                right = nodes.left(right);
            }
        }
        self.set(nodes, link, if left == NIL { right } else { left });
    }

    /// Returns the node with the smallest key.
    pub(crate) fn first(&self, nodes: &impl Nodes) -> Option<u32> {
        self.at_least(nodes, 0)
    }

    /// Returns the node with the smallest key that is at least `key`.
    pub(crate) fn at_least(&self, nodes: &impl Nodes, key: u64) -> Option<u32> {
        let mut best = None;
        let mut at = self.root;
        while at != NIL {
            if nodes.key(at) >= key {
                best = Some(at);
                at = nodes.left(at);
            } else {
                at = nodes.right(at);
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::{Nodes, Treap};
    use core::cell::Cell;
    use std::collections::BTreeSet;
    use std::vec::Vec;

    struct Table(Vec<(Cell<u32>, Cell<u32>, u64)>);

    impl Nodes for Table {
        fn left(&self, node: u32) -> u32 {
            self.0[node as usize].0.get()
        }
        fn right(&self, node: u32) -> u32 {
            self.0[node as usize].1.get()
        }
        fn set_left(&self, node: u32, child: u32) {
            self.0[node as usize].0.set(child);
        }
        fn set_right(&self, node: u32, child: u32) {
            self.0[node as usize].1.set(child);
        }
        fn key(&self, node: u32) -> u64 {
            self.0[node as usize].2
        }
    }

    fn depth(table: &Table, node: u32) -> usize {
        if node == 0 {
            return 0;
        }
        1 + depth(table, table.left(node)).max(depth(table, table.right(node)))
    }

    #[test]
    #[expect(clippy::cast_possible_truncation, reason = "the high bits of a random number")]
    fn agrees_with_a_btree_and_stays_shallow() {
        let count = if cfg!(miri) { 32 } else { 4096u32 };
        let table = Table(
            (0..count)
                .map(|i| (Cell::new(0), Cell::new(0), u64::from(i.reverse_bits()) << 16))
                .collect(),
        );
        let mut set = Treap::new();
        let mut model = BTreeSet::new();
        let mut random = 1u64;
        for _ in 0..count * 8 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let node = ((random >> 33) as u32 % (count - 1)) + 1;
            let entry = (table.key(node), node);
            if model.remove(&entry) {
                set.remove(&table, node);
            } else {
                model.insert(entry);
                set.insert(&table, node);
            }
            let probe = table.key(((random >> 20) as u32 % (count - 1)) + 1);
            let expected = model.range((probe, 0)..).next().map(|e| e.1);
            assert_eq!(set.at_least(&table, probe), expected);
            assert_eq!(set.first(&table), model.first().map(|e| e.1));
            assert_eq!(set.is_empty(), model.is_empty());
        }
        assert!(depth(&table, set.root) < 48, "depth {}", depth(&table, set.root));
    }
}
