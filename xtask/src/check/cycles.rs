//! Files import each other in no cycle: each can be read after the files that it uses.
//!
//! A file imports another one if a `use`, or a path that begins with `crate` or `super`, leads to
//! an item of the other. Re-exports are followed to the item. Three things count for nothing: that
//! a module declares its child, that it re-exports what its child has, and what exists for tests
//! and models only (`cfg(test)`, `cfg(loom)`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, Item, ItemUse, Lit, Meta, Token, UseTree, Visibility};

use super::Finding;
use super::source::Tree;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for root in tree.files().map(|(name, _)| name) {
        if !root.ends_with("/src/lib.rs") && !root.ends_with("/src/main.rs") {
            continue;
        }
        let mut sources = Sources { tree, modules: BTreeMap::new(), findings: Vec::new() };
        sources.add_file(Vec::new(), root, true);
        findings.append(&mut sources.findings);
        let graph = sources.graph();
        for cycle in cycles(&graph) {
            let shortest = shortest_cycle(&graph, cycle[0]);
            let more = match cycle.len() - (shortest.len() - 1) {
                0 => String::new(),
                more => format!("; {more} more files are in cycles with them"),
            };
            let what = format!("imports in a cycle: {}{more}", shortest.join(" -> "));
            findings.push(Finding { place: cycle[0].to_owned(), what });
        }
    }
    findings
}

/// The segments of a path.
type Path = Vec<String>;

/// The imports of one file in one module.
struct Module {
    file: String,
    /// The names that `use` gives, and the paths behind them as written.
    names: BTreeMap<String, Path>,
    /// The paths as written that count as imports.
    imports: Vec<Path>,
    /// The paths as written that the module re-exports.
    exports: Vec<Path>,
}

/// The modules of a crate by their paths. A module has several files if `cfg` chooses one.
struct Sources<'a> {
    tree: &'a Tree,
    modules: BTreeMap<Path, Vec<Module>>,
    findings: Vec<Finding>,
}

impl Sources<'_> {
    /// Adds a file and all modules below it. The files of its child modules are beside it if it
    /// `is_root` of its directory, and otherwise in a directory of its name.
    fn add_file(&mut self, module: Path, file: &str, is_root: bool) {
        let Some(text) = self.tree.text(file) else { return };
        let items = match syn::parse_file(text) {
            Ok(parsed) => parsed.items,
            Err(error) => {
                let what = format!("does not parse: {error}");
                self.findings.push(Finding { place: file.to_owned(), what });
                return;
            }
        };
        let beside = file.rsplit_once('/').map_or("", |(directory, _)| directory);
        let below = if is_root { beside } else { file.trim_end_matches(".rs") };
        self.add_items(module, file, below, &items);
    }

    fn add_items(&mut self, module: Path, file: &str, directory: &str, items: &[Item]) {
        let mut found = Finder::default();
        for item in items {
            let Item::Mod(child) = item else {
                found.visit_item(item);
                continue;
            };
            if is_for_tests(&child.attrs) {
                continue;
            }
            let name = child.ident.to_string();
            let path = [module.as_slice(), std::slice::from_ref(&name)].concat();
            let below = format!("{directory}/{name}");
            if let Some((_, items)) = &child.content {
                self.add_items(path, file, &below, items);
            } else if let Some(elsewhere) = path_attribute(&child.attrs) {
                let beside = file.rsplit_once('/').map_or("", |(directory, _)| directory);
                self.add_file(path, &normal(&format!("{beside}/{elsewhere}")), true);
            } else if self.tree.text(&format!("{below}.rs")).is_some() {
                self.add_file(path, &format!("{below}.rs"), false);
            } else {
                self.add_file(path, &format!("{below}/mod.rs"), true);
            }
        }
        let Finder { names, imports, exports } = found;
        let module = self.modules.entry(module).or_default();
        module.push(Module { file: file.to_owned(), names, imports, exports });
    }

    /// Returns for each file the files that it imports.
    fn graph(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut graph: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let modules = self.modules.iter();
        let modules = modules.flat_map(|(path, parts)| parts.iter().map(move |part| (path, part)));
        for (path, module) in modules {
            let imports = graph.entry(&module.file).or_default();
            let is_of_child = |import: &&Path| {
                self.absolute(path, import)
                    .is_some_and(|import| import.len() > path.len() && import.starts_with(path))
            };
            let exports = module.exports.iter().filter(|export| !is_of_child(export));
            for import in module.imports.iter().chain(exports) {
                imports.extend(self.files(path, import, 8));
            }
            imports.remove(module.file.as_str());
        }
        graph
    }

    /// Returns the files that define what `written` names in the module at `path`. It follows at
    /// most so many re-exports.
    fn files(&self, path: &[String], written: &[String], re_exports: u32) -> BTreeSet<&str> {
        let Some(import) = self.absolute(path, written) else { return BTreeSet::new() };
        // The root is a module, so there is a longest one.
        let mut length = import.len();
        while !self.modules.contains_key(&import[..length]) {
            length -= 1;
        }
        let (module, item) = import.split_at(length);
        let mut files = BTreeSet::new();
        for part in &self.modules[module] {
            let behind = item.first().and_then(|name| part.names.get(name));
            match behind.filter(|_| re_exports > 0) {
                None => {
                    files.insert(part.file.as_str());
                }
                Some(behind) => {
                    let written = [behind.as_slice(), &item[1..]].concat();
                    files.extend(self.files(module, &written, re_exports - 1));
                }
            }
        }
        files
    }

    /// Returns the path from the root of the crate; `None` if it leads to another crate.
    fn absolute(&self, path: &[String], written: &[String]) -> Option<Path> {
        let mut base = path.to_vec();
        let mut rest = written;
        match rest.first()?.as_str() {
            "crate" => (base, rest) = (Vec::new(), &rest[1..]),
            "self" => rest = &rest[1..],
            "super" => {
                while rest.first().is_some_and(|segment| segment == "super") {
                    base.pop();
                    rest = &rest[1..];
                }
            }
            first => {
                let child = [path, &[first.to_owned()]].concat();
                let is_name = |part: &Module| {
                    part.names.get(first).is_some_and(|behind| behind.first() != written.first())
                };
                if !self.modules.contains_key(&child) && !self.modules[path].iter().any(is_name) {
                    return None;
                }
            }
        }
        base.extend_from_slice(rest);
        Some(base)
    }
}

/// Finds the imports in the items of a module.
#[derive(Default)]
struct Finder {
    names: BTreeMap<String, Path>,
    imports: Vec<Path>,
    exports: Vec<Path>,
}

impl<'ast> Visit<'ast> for Finder {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes: &[Attribute] = match item {
            Item::Const(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Mod(item) => &item.attrs,
            Item::Static(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            _ => &[],
        };
        if !is_for_tests(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !is_for_tests(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        // A path that begins with `::` leads to another crate.
        if item.leading_colon.is_none() {
            let is_export = !matches!(item.vis, Visibility::Inherited);
            self.add_use(&item.tree, &mut Vec::new(), is_export);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Path = path.segments.iter().map(|part| part.ident.to_string()).collect();
        if segments.len() > 1 && ["crate", "super"].contains(&segments[0].as_str()) {
            self.imports.push(segments);
        }
        visit::visit_path(self, path);
    }

    /// `pub(super)` imports nothing.
    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}
}

impl Finder {
    fn add_use(&mut self, tree: &UseTree, prefix: &mut Path, is_export: bool) {
        let (mut path, mut name) = (prefix.clone(), None);
        match tree {
            UseTree::Path(part) => {
                prefix.push(part.ident.to_string());
                self.add_use(&part.tree, prefix, is_export);
                prefix.pop();
                return;
            }
            UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.add_use(tree, prefix, is_export));
                return;
            }
            UseTree::Glob(_) => {}
            UseTree::Name(part) => {
                path.push(part.ident.to_string());
                name = Some(part.ident.to_string());
            }
            UseTree::Rename(part) => {
                path.push(part.ident.to_string());
                name = Some(part.rename.to_string());
            }
        }
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
            name = name.filter(|name| name != "self").or_else(|| path.last().cloned());
        }
        if let Some(name) = name {
            self.names.insert(name, path.clone());
        }
        if is_export { self.exports.push(path) } else { self.imports.push(path) }
    }
}

/// Returns whether an item is left out unless tests or models are built.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    let condition = |attribute: &Attribute| {
        attribute.path().is_ident("cfg").then(|| attribute.parse_args::<Meta>().ok()).flatten()
    };
    attributes.iter().filter_map(condition).any(|condition| needs_tests(&condition))
}

fn needs_tests(condition: &Meta) -> bool {
    let parts = || {
        let Meta::List(list) = condition else { return Vec::new() };
        let parsed = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
        parsed.map_or_else(|_| Vec::new(), |parts| parts.into_iter().collect())
    };
    let name = condition.path();
    name.is_ident("test")
        || name.is_ident("loom")
        || name.is_ident("all") && parts().iter().any(needs_tests)
        || name.is_ident("any") && parts().iter().all(needs_tests)
}

/// Returns the file that `#[path = "..."]` names.
fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| {
        let Meta::NameValue(pair) = &attribute.meta else { return None };
        let Expr::Lit(literal) = &pair.value else { return None };
        let Lit::Str(text) = &literal.lit else { return None };
        pair.path.is_ident("path").then(|| text.value())
    })
}

/// Returns a path without `..`.
fn normal(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts.join("/")
}

type Graph<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// Returns the sets of files of which each imports each, over other files of the set or directly.
fn cycles<'a>(graph: &Graph<'a>) -> Vec<Vec<&'a str>> {
    let reached: Graph<'a> = graph.keys().map(|&file| (file, reachable(graph, file))).collect();
    let mut cycles = Vec::new();
    let mut seen = BTreeSet::new();
    for (&file, others) in &reached {
        if others.contains(file) && !seen.contains(file) {
            let is_in = |other: &&str| reached.get(other).is_some_and(|back| back.contains(file));
            let cycle: Vec<&str> = others.iter().copied().filter(is_in).collect();
            seen.extend(cycle.iter().copied());
            cycles.push(cycle);
        }
    }
    cycles
}

/// Returns the files that a file imports over one or more steps.
fn reachable<'a>(graph: &Graph<'a>, from: &'a str) -> BTreeSet<&'a str> {
    let (mut reached, mut left) = (BTreeSet::new(), vec![from]);
    while let Some(file) = left.pop() {
        for &next in graph.get(file).into_iter().flatten() {
            if reached.insert(next) {
                left.push(next);
            }
        }
    }
    reached
}

/// Returns the shortest way from a file back to itself, with both ends.
fn shortest_cycle<'a>(graph: &Graph<'a>, file: &'a str) -> Vec<&'a str> {
    let mut ways = VecDeque::from([vec![file]]);
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        for &next in way.last().and_then(|last| graph.get(last)).into_iter().flatten() {
            let longer = [way.as_slice(), &[next]].concat();
            if next == file {
                return longer;
            }
            if seen.insert(next) {
                ways.push_back(longer);
            }
        }
    }
    vec![file]
}

#[cfg(test)]
mod tests {
    use super::super::lines;
    use super::*;

    #[test]
    fn imports_that_lead_one_way_are_fine() {
        let tree = Tree::of([
            ("a/src/lib.rs", "mod one; mod two; pub(crate) use one::One; pub use std::fmt::Write;"),
            ("a/src/one.rs", "pub(super) mod below; use crate::two::{self, Two}; pub struct One;"),
            ("a/src/one/below.rs", "use super::One as Same; use crate::{One, two::*, Write};"),
            ("a/src/two.rs", "use core::mem; use mem::swap; pub(in crate::one) struct Two;"),
        ]);
        assert_eq!(check(&tree), []);
    }

    #[test]
    fn a_cycle_is_found_over_re_exports_groups_and_paths_in_code() {
        let tree = Tree::of([
            ("a/src/main.rs", "mod one; mod two; mod three; pub(crate) use one::One;"),
            ("a/src/one.rs", "use crate::{two::{Two, X}}; pub struct One;"),
            ("a/src/two.rs", "fn f() { super::three::g() } pub struct Two;"),
            ("a/src/three/mod.rs", "use crate::One; fn g() {}"),
        ]);
        let expected = "a/src/one.rs: imports in a cycle: a/src/one.rs -> a/src/two.rs -> \
                        a/src/three/mod.rs -> a/src/one.rs";
        assert_eq!(lines(&check(&tree)), [expected]);
    }

    #[test]
    fn a_module_may_declare_and_re_export_its_child_but_not_use_it_while_that_uses_the_module() {
        let child = ("a/src/one/child.rs", "use super::One; pub struct Child;");
        for (parent, is_cycle) in [
            ("mod child; pub struct One; fn f() { child::g() }", false),
            ("mod child; pub(super) use child::Child; pub struct One;", false),
            ("mod child; use child::Child; pub struct One;", true),
            ("#[cfg(not(test))] mod child; use self::child::Child; pub struct One;", true),
        ] {
            let tree = Tree::of([("a/src/lib.rs", "mod one;"), ("a/src/one.rs", parent), child]);
            assert_eq!(check(&tree).len(), usize::from(is_cycle), "{parent}");
        }
    }

    #[test]
    fn tests_and_models_do_not_count_and_path_attributes_do() {
        let tree = Tree::of([
            ("a/src/lib.rs", "mod one; #[cfg(x)] mod two; #[cfg(y)] #[path = \"2.rs\"] mod two;"),
            (
                "a/src/one.rs",
                "#[cfg(test)] use crate::two::Two; #[cfg(all(loom, x))] mod m { use super::two::X; } \
                 struct S; impl S { #[cfg(test)] fn f() { crate::two::f() } }",
            ),
            ("a/src/two.rs", "use crate::one::S;"),
            ("a/src/2.rs", "use super::one::S;"),
        ]);
        assert_eq!(check(&tree), []);
        let tree = Tree::of([
            ("a/src/lib.rs", "mod one; #[cfg(x)] mod two; #[cfg(y)] #[path = \"2.rs\"] mod two;"),
            ("a/src/one.rs", "#[cfg(any(test, x))] use crate::two::Two; pub struct S;"),
            ("a/src/two.rs", ""),
            ("a/src/2.rs", "use super::one::S;"),
        ]);
        let expected = "a/src/2.rs: imports in a cycle: a/src/2.rs -> a/src/one.rs -> a/src/2.rs";
        assert_eq!(lines(&check(&tree)), [expected]);
    }
}
