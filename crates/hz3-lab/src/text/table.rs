//! A plain table: names left, numbers right, one rule under the header.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// Starts a table with these column headers. The first `names` columns are left-aligned.
pub(crate) fn plain(heads: &[&str], names: usize) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(heads);
    for (i, column) in table.column_iter_mut().enumerate() {
        let side = if i < names { CellAlignment::Left } else { CellAlignment::Right };
        column.set_cell_alignment(side);
    }
    table
}
