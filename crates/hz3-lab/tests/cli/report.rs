//! `hz3 report`: the page stands alone, shows everything, and a browser has nothing to complain
//! about.

use crate::common::{hz3, library, stderr};
use std::path::{Path, PathBuf};
use std::process::Command;

const IDLE: &str = "burst-idle --total 2000 --idle 0.3 --cycles 2 --threads 2";

/// A small comparison with its page and pictures.
fn measured(directory: &Path) -> PathBuf {
    let results = directory.join("r.json");
    let own = format!("own<&>=={}", library("broken_malloc").display()).replace("==", "=");
    let output = hz3()
        .args(["compare", "-a", "glibc", "-a", "own<&>", "--peer", &own, "--rounds", "2"])
        .args(["-w", "mixed --ops 20000", "-w", IDLE, "--out"])
        .arg(&results)
        .output()
        .expect("hz3 starts");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let output = hz3()
        .arg("report")
        .arg(&results)
        .arg("--svg")
        .arg(directory.join("svg"))
        .arg("--png")
        .arg(directory.join("png"))
        .output()
        .expect("hz3 starts");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    results.with_extension("html")
}

#[test]
fn the_page_has_all_pictures_and_needs_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let page = std::fs::read_to_string(measured(directory.path())).unwrap();
    // Memory over time, speed, speed against memory, latency of malloc and of free.
    assert_eq!(page.matches("<svg ").count(), 5);
    for part in [
        "geometric mean",
        "Circumstances",
        "own&lt;&amp;&gt;",
        "prefers-color-scheme:dark",
        "@media print",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("own<&>"), "names are escaped");
    assert!(!page.contains("<script") && !page.contains("src="), "nothing runs, nothing is loaded");
    let outside = page.matches("http").count() - page.matches("http://www.w3.org/2000/svg").count();
    assert_eq!(outside, 0, "the page refers to other places");

    let mut names: Vec<_> = std::fs::read_dir(directory.path().join("svg"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names.len(), 5, "{names:?}");
    assert!(names.contains(&"speed.svg".to_owned()) && names.contains(&"tradeoff.svg".to_owned()));
}

#[test]
fn pictures_as_png_are_drawn() {
    let directory = tempfile::tempdir().unwrap();
    measured(directory.path());
    let mut files = 0;
    for entry in std::fs::read_dir(directory.path().join("png")).unwrap() {
        let path = entry.unwrap().path();
        let pixels = image(&path);
        let paper = pixels.chunks_exact(3).filter(|pixel| *pixel == [255, 255, 255]).count();
        let percent = paper * 300 / pixels.len();
        assert!((20..99).contains(&percent), "{}: {percent} % is paper", path.display());
        files += 1;
    }
    assert_eq!(files, 5);
}

#[test]
fn the_csv_of_a_watch_becomes_a_page() {
    let directory = tempfile::tempdir().unwrap();
    let csv = directory.path().join("w.csv");
    let watch = ["watch", "--interval", "10", "--out"];
    let output = hz3().args(watch).arg(&csv).args(["--", "sleep", "0.2"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let output = hz3().arg("report").arg(&csv).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let page = std::fs::read_to_string(directory.path().join("w.html")).unwrap();
    assert!(page.contains("Memory over time") && page.contains("<path d='M"), "{page}");
    let output = hz3().arg("report").arg(&csv).arg("--out").arg(&csv).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "the page must not overwrite what it shows");

    let output = hz3().arg("report").arg(&csv).args(["--out", "-"]).output().unwrap();
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), page);
    let json = directory.path().join("w.json");
    std::fs::write(&json, "{}").unwrap();
    let output = hz3().arg("report").arg(&json).arg("--out").arg(&csv).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "nor the other file of the results");
}

/// The browser, by one of its names.
fn chromium() -> PathBuf {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let candidates = names.iter().flat_map(|name| places.iter().map(move |place| place.join(name)));
    candidates
        .into_iter()
        .find(|candidate| candidate.is_file())
        .expect("this test opens the page in a browser: apt-get install chromium")
}

/// Opens the page in a browser with a profile of its own: what is left of an earlier one may still
/// hold the lock on its profile.
fn open(page: &Path, words: &[&str]) -> std::process::Output {
    let profile = tempfile::tempdir().expect("a directory");
    Command::new(chromium())
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"])
        .args(["--enable-logging=stderr", "--v=0", "--window-size=1000,4200"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(words)
        .arg(format!("file://{}", page.display()))
        .output()
        .expect("the browser starts")
}

#[test]
fn a_browser_shows_the_pictures_without_a_complaint() {
    let directory = tempfile::tempdir().unwrap();
    let page = measured(directory.path());

    let dom = open(&page, &["--dump-dom"]);
    let text = String::from_utf8_lossy(&dom.stdout).into_owned();
    assert_eq!(text.matches("<svg ").count(), 5, "{}", stderr(&dom));
    assert!(!stderr(&dom).contains("CONSOLE"), "{}", stderr(&dom));

    let shot = directory.path().join("shot.png");
    open(&page, &[&format!("--screenshot={}", shot.display())]);
    let picture = image(&shot);
    let colours = [[0x00, 0x72, 0xb2], [0xd5, 0x5e, 0x00]];
    for colour in colours {
        let drawn = picture.chunks_exact(3).filter(|pixel| *pixel == colour).count();
        assert!(drawn > 200, "colour {colour:x?} of a series covers {drawn} pixels");
    }
}

/// A page that shows another one at the width of a phone, and lists what does not fit.
const PHONE: &str = "<!doctype html><iframe id='phone' style='width:390px;height:6000px;border:0' \
    srcdoc='PAGE'></iframe><ul id='found'></ul><script>
    document.getElementById('phone').onload = event => {
      const inner = event.target.contentDocument;
      const note = text => {
        const item = document.createElement('li');
        item.textContent = text;
        document.getElementById('found').append(item);
      };
      for (const element of inner.body.querySelectorAll('*')) {
        const { left, right } = element.getBoundingClientRect();
        const is_cut = element.clientWidth > 0 && element.scrollWidth > element.clientWidth + 1;
        if (left < -0.5 || right > 390.5 || is_cut)
          note('cut off: ' + element.tagName + ' ' + element.textContent.slice(0, 60));
      }
      note('width ' + inner.documentElement.scrollWidth);
    };</script>";

#[test]
fn a_browser_shows_the_page_on_a_phone_and_nothing_is_cut_off() {
    let directory = tempfile::tempdir().unwrap();
    let page = std::fs::read_to_string(measured(directory.path())).unwrap();
    let quoted = page.replace('&', "&amp;").replace('\'', "&#39;");
    let phone = directory.path().join("phone.html");
    std::fs::write(&phone, PHONE.replace("PAGE", &quoted)).unwrap();
    let dom = open(&phone, &["--dump-dom"]);
    let text = String::from_utf8_lossy(&dom.stdout).into_owned();
    let found: Vec<&str> =
        text.split("<li>").skip(1).filter_map(|r| r.split("</li>").next()).collect();
    assert_eq!(found, ["width 390"], "{}", stderr(&dom));
}

/// The pixels of a PNG file as RGB.
fn image(path: &Path) -> Vec<u8> {
    let file = std::io::BufReader::new(std::fs::File::open(path).expect("the screenshot exists"));
    let mut decoder = png::Decoder::new(file);
    decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
    let mut reader = decoder.read_info().expect("a PNG");
    let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
    let info = reader.next_frame(&mut pixels).expect("pixels");
    pixels.truncate(info.buffer_size());
    match info.color_type.samples() {
        4 => pixels.chunks_exact(4).flat_map(|pixel| pixel[..3].to_vec()).collect(),
        _ => pixels,
    }
}
