//! The page that is made of the heads of files is what `cargo xtask docs` writes.

use super::Finding;
use super::source::Tree;
use crate::docs::{PAGE, page};

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let what = match page(tree) {
        Ok(fresh) if tree.text(PAGE) == Some(&fresh) => return Vec::new(),
        Ok(_) => "is stale; run `cargo xtask docs`".to_owned(),
        Err(error) => error.to_string(),
    };
    vec![Finding { place: PAGE.into(), what }]
}

#[cfg(test)]
mod tests {
    use super::super::lines;
    use super::*;

    #[test]
    fn a_stale_page_is_found() {
        let ranks = ("crates/hz3/src/os/rank.rs", "/// One.\npub(crate) const START: u8 = 0;\n");
        let fresh = page(&Tree::of([ranks])).unwrap();
        assert_eq!(check(&Tree::of([ranks, (PAGE, &fresh)])), []);
        let stale = check(&Tree::of([ranks, (PAGE, "old")]));
        assert_eq!(lines(&stale), ["docs/internals.md: is stale; run `cargo xtask docs`"]);
    }
}
