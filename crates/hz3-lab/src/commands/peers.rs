//! `hz3 peers`, and the hidden `probe` that it starts.

use crate::cli::PeersArgs;
use crate::failure::Result;
use crate::peers::{self, Candidates, Selection};
use crate::text;

/// Lists the allocators.
pub(crate) fn run(args: &PeersArgs) -> Result<u8> {
    let Selection { peers, missing } = Candidates::find(&args.peers.extra)?.select(&args.names)?;
    if args.json {
        text::out::json(&serde_json::json!({ "present": peers, "missing": missing }))?;
        return Ok(0);
    }
    let mut table = text::table::plain(&["allocator", "version", "library"], 3);
    for peer in &peers {
        let library =
            peer.library.as_ref().map_or("the C library".into(), |l| l.display().to_string());
        table.add_row([peer.name.clone(), peer.version.clone().unwrap_or("?".to_owned()), library]);
    }
    text::out::line(&table.trim_fmt())?;
    if !missing.is_empty() {
        let mut table = text::table::plain(&["missing", "what to do"], 2);
        for missing in missing {
            table.add_row([missing.name, missing.remedy]);
        }
        text::out::line(&format!("\n{}", table.trim_fmt()))?;
    }
    Ok(0)
}

/// Prints which allocator serves this process.
pub(crate) fn probe() -> Result<u8> {
    text::out::json(&peers::report_own())?;
    Ok(0)
}
