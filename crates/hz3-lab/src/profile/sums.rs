//! The values of one sample type, by function: of its own, and with all that it called.

use super::stacks::Named;
use std::collections::{HashMap, HashSet};

/// The memory that one function allocates.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Sum {
    /// The function's name.
    #[serde(rename = "function")]
    pub(crate) name: String,
    /// By its own calls of the allocator.
    pub(crate) flat: i64,
    /// By its own calls and those of the functions that it called.
    pub(crate) cumulative: i64,
}

/// The sums of a profile, or of the difference of two.
#[derive(Debug)]
pub(crate) struct Sums {
    /// The sum over all samples.
    pub(crate) total: i64,
    /// That of the base; `None` without one.
    pub(crate) base: Option<i64>,
    /// By function, the largest first.
    pub(crate) functions: Vec<Sum>,
}

impl Sums {
    /// Sums up the values of `kind`, less those of the base.
    pub(crate) fn of(profile: &Named, kind: usize, base: Option<(&Named, usize)>) -> Self {
        let mut functions = HashMap::new();
        let total = add(&mut functions, profile, kind, 1);
        let base = base.map(|(base, kind)| add(&mut functions, base, kind, -1).saturating_neg());
        let mut functions: Vec<Sum> = functions.into_values().collect();
        if base.is_some() {
            functions.retain(|sum| sum.flat != 0 || sum.cumulative != 0);
        }
        functions.sort_by(|a, b| {
            let size = |sum: &Sum| (sum.flat.unsigned_abs(), sum.cumulative.unsigned_abs());
            size(b).cmp(&size(a)).then_with(|| a.name.cmp(&b.name))
        });
        Self { total, base, functions }
    }
}

/// Adds the values, multiplied by `sign`; returns their sum.
fn add<'a>(
    functions: &mut HashMap<&'a str, Sum>,
    profile: &'a Named,
    kind: usize,
    sign: i64,
) -> i64 {
    let mut total = 0_i64;
    for (stack, values) in &profile.stacks {
        let value = values.get(kind).copied().unwrap_or(0).saturating_mul(sign);
        total = total.saturating_add(value);
        let mut seen = HashSet::new();
        for (i, &number) in stack.iter().enumerate() {
            let name = profile.names[number].as_str();
            let sum = functions.entry(name).or_insert_with(|| Sum {
                name: name.to_owned(),
                flat: 0,
                cumulative: 0,
            });
            if i + 1 == stack.len() {
                sum.flat = sum.flat.saturating_add(value);
            }
            // A function that called itself counts once.
            if seen.insert(number) {
                sum.cumulative = sum.cumulative.saturating_add(value);
            }
        }
    }
    total
}
