//! A report page in a real browser: what people with a phone, a keyboard or weak eyes get of it. Where no browser is
//! there, the caller is told and nothing is checked.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
/// Width of a small phone, in CSS pixels.
const PHONE: u32 = 360;

/// Loads the page into a frame as wide as a phone and looks at what the browser made of it.
const HARNESS: &str = r##"<!doctype html>
<meta charset="utf-8">
<iframe id="page" style="width: WIDTHpx; height: 900px; border: 0"></iframe>
<pre id="seen"></pre>
<script>
const frame = document.getElementById("page");
const channel = value => { value /= 255; return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4; };
const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const parse = text => { const n = text.match(/[\d.]+/g).map(Number); return [n[0], n[1], n[2], n.length > 3 ? n[3] : 1]; };
const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3]));
function ground(view, element) {
  const layers = [];
  for (let at = element; at; at = at.parentElement) layers.push(parse(view.getComputedStyle(at).backgroundColor));
  return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255]);
}
frame.onload = () => {
  const view = frame.contentWindow, page = frame.contentDocument, seen = { low: [], unreachable: [], unnamed: [], texts: 0 };
  page.querySelectorAll("details").forEach(details => { details.open = true; });
  for (const element of page.body.querySelectorAll("*")) {
    const style = view.getComputedStyle(element);
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    const svg = element instanceof view.SVGElement;
    if (own && element.tagName !== "title") {
      seen.texts += 1;
      const behind = ground(view, element);
      const ink = over(parse(svg ? style.fill : style.color), behind);
      const [light, dark] = [luminance(ink), luminance(behind)].sort((a, b) => b - a);
      const ratio = (light + 0.05) / (dark + 0.05);
      const large = parseFloat(style.fontSize) >= 24;
      if (ratio < (large ? 3 : 4.5)) seen.low.push(`${element.tagName} "${element.textContent.trim().slice(0, 30)}" ${ratio.toFixed(2)}`);
    }
    const scrolls = ["auto", "scroll"].includes(style.overflowX) && element.scrollWidth > element.clientWidth;
    if (scrolls || ["A", "SUMMARY"].includes(element.tagName)) {
      element.focus();
      if (page.activeElement !== element) seen.unreachable.push(element.outerHTML.slice(0, 80));
      if (scrolls && !element.getAttribute("aria-label")) seen.unnamed.push(element.outerHTML.slice(0, 80));
    }
    if (svg && element.getAttribute("role") === "img" && !element.querySelector("title")) seen.unnamed.push("svg");
  }
  seen.loaded = view.performance.getEntriesByType("resource").map(entry => entry.name);
  seen.width = page.documentElement.scrollWidth;
  seen.dark = view.matchMedia("(prefers-color-scheme: dark)").matches;
  seen.marks = page.querySelectorAll("path.marks").length;
  seen.figures = page.querySelectorAll("figure").length;
  seen.heading = page.querySelector("h1").textContent;
  document.getElementById("seen").textContent = JSON.stringify(seen);
};
frame.src = "PAGE";
</script>"##;

/// Colours that a page is looked at in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    Light,
    Dark,
}

/// What a browser without a window makes of the page, or none where there is no browser that runs.
pub fn looked_at(folder: &Path, page: &str, colours: Colours) -> Option<Value> {
    let harness = folder.join(format!("harness-{colours:?}.html"));
    std::fs::write(&harness, HARNESS.replace("PAGE", page).replace("WIDTH", &PHONE.to_string())).unwrap();
    let profile = format!("--user-data-dir={}", folder.join(format!("profile-{colours:?}")).display());
    let scheme = format!("--blink-settings=preferredColorScheme={}", if colours == Colours::Dark { 0 } else { 1 });
    let file = format!("file://{}", harness.display());
    let args = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--allow-file-access-from-files",
        "--virtual-time-budget=10000",
        "--dump-dom",
        &scheme,
        &profile,
        &file,
    ];
    let Some(output) = BROWSERS.iter().find_map(|browser| Command::new(browser).args(args).output().ok()) else {
        println!("skipped: no browser to look at the page with");
        return None;
    };
    if !output.status.success() {
        println!("skipped: the browser does not run here");
        return None;
    }
    let drawn = String::from_utf8_lossy(&output.stdout);
    let seen = drawn.split_once("<pre id=\"seen\">").and_then(|(_, rest)| rest.split_once("</pre>"));
    let (seen, _) = seen.unwrap_or_else(|| panic!("the harness is not in {drawn}"));
    let plain = seen.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    Some(serde_json::from_str(&plain).unwrap_or_else(|error| panic!("{error}: {seen}")))
}

/// Fails unless the page can be read on a phone and by a keyboard, in enough contrast, and loads nothing.
pub fn assert_readable(folder: &Path, page: &str) {
    for colours in [Colours::Light, Colours::Dark] {
        let Some(seen) = looked_at(folder, page, colours) else { return };
        assert_eq!(seen["dark"], colours == Colours::Dark, "{seen}");
        for what in ["low", "unreachable", "unnamed", "loaded"] {
            assert_eq!(seen[what], serde_json::json!([]), "{what} in {colours:?}: {seen}");
        }
        assert!(seen["texts"].as_u64().unwrap() > 20, "{seen}");
        assert!(seen["width"].as_u64().unwrap() <= u64::from(PHONE), "wider than a phone: {seen}");
    }
}
