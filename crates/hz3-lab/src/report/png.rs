//! Pictures as PNG, rendered by the browser engine that also shows the page.

use super::Picture;
use crate::failure::{Failure, Result};
use crate::files;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The names under which Chromium is installed.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
/// Pixels of the file per unit of the drawing.
const SCALE: u32 = 2;

/// Writes every picture into `directory`.
pub(crate) fn write(pictures: &[Picture], directory: &Path) -> Result<()> {
    let browser = browser()?;
    std::fs::create_dir_all(directory)
        .map_err(|e| Failure::io(format!("make {}", directory.display()), e))?;
    let directory = directory
        .canonicalize()
        .map_err(|e| Failure::io(format!("find {}", directory.display()), e))?;
    let work = tempfile::Builder::new()
        .prefix("hz3-png-")
        .tempdir()
        .map_err(|e| Failure::io("make a directory for the browser", e))?;
    for picture in pictures {
        let drawing = work.path().join(format!("{}.svg", picture.name));
        files::write(&drawing, picture.svg.standalone().as_bytes())?;
        let file = directory.join(format!("{}.png", picture.name));
        draw(&browser, work.path(), picture.svg.size(), &drawing, &file)?;
    }
    Ok(())
}

fn draw(
    browser: &Path,
    work: &Path,
    (w, h): (f64, f64),
    drawing: &Path,
    file: &Path,
) -> Result<()> {
    // Remove the file of an earlier run, so that it cannot pass for the new one.
    match std::fs::remove_file(file) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(Failure::io(format!("replace {}", file.display()), e));
        }
        _ => {}
    }
    let status = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"])
        .arg(format!("--user-data-dir={}", work.join("profile").display()))
        .arg(format!("--force-device-scale-factor={SCALE}"))
        .arg(format!("--window-size={w:.0},{h:.0}"))
        .arg(format!("--screenshot={}", file.display()))
        .arg(format!("file://{}", drawing.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map_err(|e| Failure::io(format!("start {}", browser.display()), e))?;
    if status.success() && file.is_file() {
        Ok(())
    } else {
        Err(Failure::new(format!("{} drew no {} ({status})", browser.display(), file.display())))
    }
}

fn browser() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let candidates =
        BROWSERS.iter().flat_map(|name| places.iter().map(move |place| place.join(name)));
    candidates.into_iter().find(|candidate| candidate.is_file()).ok_or_else(|| {
        Failure::new("PNG files are drawn by Chromium, which is not here")
            .with_remedy("apt-get install chromium")
    })
}
