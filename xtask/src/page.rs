//! The page that shows a run: one file that needs nothing else.

mod charts;

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use crate::Failure;
use crate::recovery::Recovery;
use crate::report::Facts;
use crate::story::{Bar, Story};
use crate::verdict::{Kind, Seen, Verdict, Violation};
use charts::{Chart, KINDS, Size};

/// Violations listed.
const SHOWN: usize = 10;
/// Faults named that were at work when something went wrong.
const FAULTS: usize = 4;
/// What goes wrong in the same way within so short a time is one mark.
const ONE_MARK: Duration = Duration::from_millis(500);

/// All that is shown.
#[derive(Debug)]
pub(crate) struct Shown<'a> {
    /// `chaos`.
    pub(crate) name: &'a str,
    pub(crate) verdict: &'a Verdict,
    pub(crate) facts: &'a Facts,
    pub(crate) story: &'a Story,
    pub(crate) recoveries: &'a [Recovery],
}

/// A moment at which something went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mark {
    at: Duration,
    what: String,
}

/// Writes the page, and the directory it is in.
///
/// # Errors
/// When it cannot be drawn or written.
pub(crate) fn write(path: &Path, shown: &Shown<'_>) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::new(format!("cannot write {}: {error}", path.display()));
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(failed)?;
    }
    std::fs::write(path, shown.render()?).map_err(failed)
}

impl Shown<'_> {
    fn render(&self) -> Result<String, Failure> {
        let good = self.verdict.violations.is_empty() && self.facts.problems.is_empty();
        let (class, word) = if good { ("good", "Every promise was kept") } else { ("bad", "A promise was broken") };
        let title = format!("{} with seed {}: {}", self.name, self.facts.seed, word.to_lowercase());
        let mut page = String::new();
        let mut add = |text: &str| page.push_str(text);
        add(HEAD);
        add(&format!("<title>{}</title>\n", escape(&title)));
        add(&format!("<header class=\"{class}\"><h1>{word}</h1><p>{}</p></header>\n", escape(&self.sentence())));
        add(&self.figures());
        add(&self.broken());
        for chart in Chart::all(self) {
            add(&format!("<h2>{}</h2>\n<p>{}</p>\n", chart.title(), chart.caption()));
            if matches!(chart, Chart::Kinds | Chart::Lanes) {
                add(&key());
            }
            for (class, size) in [("wide", Size::WIDE), ("narrow", Size::NARROW)] {
                let svg = charts::draw(chart, size, self)
                    .map_err(|error| Failure::new(format!("cannot draw {}: {error}", chart.title())))?;
                add(&format!("<figure class=\"{class}\">{svg}</figure>\n"));
            }
        }
        add(&format!("<footer>Again: <code>{}</code></footer>\n", escape(&self.facts.again)));
        add("</main></html>\n");
        Ok(page)
    }

    fn sentence(&self) -> String {
        let (Facts { kills, seconds, .. }, faults) = (self.facts, self.facts.fault_count());
        let first = self.marks().first().map(|mark| format!("{} at {:.1} s. ", mark.what, mark.at.as_secs_f64()));
        let first = first.map(|first| capital(&first)).unwrap_or_default();
        format!(
            "{first}{} with seed {}: {faults} faults, {kills} of them kills, in {seconds:.0} seconds.",
            capital(self.name),
            self.facts.seed
        )
    }

    fn figures(&self) -> String {
        let count = |kind| self.verdict.count(kind);
        let figures = [
            ("published", self.verdict.published),
            ("delivered", self.verdict.delivered.iter().sum()),
            ("lost", count(Kind::Lost)),
            ("duplicated", count(Kind::Duplicated)),
            ("out of order", count(Kind::OutOfOrder)),
        ];
        let mut text = "<main>\n<dl>\n".to_owned();
        for (index, (name, value)) in figures.into_iter().enumerate() {
            let class = if index > 1 && value > 0 { " class=\"bad\"" } else { "" };
            line(&mut text, format_args!("<div{class}><dt>{name}</dt><dd>{}</dd></div>", grouped(value)));
        }
        let seconds = |ms: u64| Duration::from_millis(ms).as_secs_f64();
        let longest = seconds(self.facts.longest_recovery_ms);
        line(&mut text, format_args!("<div><dt>longest recovery</dt><dd>{longest:.1} s</dd></div>"));
        match self.facts.settled_ms {
            Some(ms) => line(&mut text, format_args!("<div><dt>settled after</dt><dd>{:.1} s</dd></div>", seconds(ms))),
            None => line(&mut text, format_args!("<div class=\"bad\"><dt>settled after</dt><dd>never</dd></div>")),
        }
        text.push_str("</dl>\n");
        text
    }

    /// What went wrong, and when, and what was broken then.
    fn broken(&self) -> String {
        let mut all: Vec<(Option<Duration>, String)> = Vec::new();
        all.extend(self.facts.problems.iter().map(|problem| (Some(problem.at), problem.what.clone())));
        all.extend(self.verdict.violations.iter().map(|violation| (self.when(violation), violation.to_string())));
        if all.is_empty() {
            return String::new();
        }
        all.sort_by_key(|(at, _)| at.unwrap_or(Duration::MAX));
        let mut text = "<h2>What went wrong</h2>\n<ol class=\"broken\">\n".to_owned();
        for (at, what) in all.iter().take(SHOWN) {
            let then = at.map(|at| self.broken_at(at)).unwrap_or_default();
            let at = at.map(|at| format!("<b>{:.1} s</b> ", at.as_secs_f64())).unwrap_or_default();
            line(&mut text, format_args!("<li>{at}{}{then}</li>", escape(what)));
        }
        if all.len() > SHOWN {
            line(&mut text, format_args!("<li>... and {} more</li>", all.len() - SHOWN));
        }
        text.push_str("</ol>\n");
        text
    }

    /// The faults that were at work at this time.
    fn broken_at(&self, at: Duration) -> String {
        let works = |bar: &&Bar| bar.from <= at && bar.to.is_none_or(|to| to >= at);
        let bars: Vec<String> =
            self.story.bars().iter().filter(works).map(|bar| format!("{} {}", bar.lane, bar.what)).collect();
        if bars.is_empty() {
            return String::new();
        }
        let more = bars.len().saturating_sub(FAULTS);
        let more = if more > 0 { format!(", and {more} more") } else { String::new() };
        format!("<br><small>broken then: {}{more}</small>", escape(&bars[..bars.len().min(FAULTS)].join(", ")))
    }

    /// When something went wrong, in time order.
    fn marks(&self) -> Vec<Mark> {
        let problems = self.facts.problems.iter().map(|problem| Mark { at: problem.at, what: "failed".to_owned() });
        let violation = |violation: &Violation| {
            let at = self.when(violation)?;
            Some(Mark { at, what: violation.kind.name().to_owned() })
        };
        let mut marks: Vec<Mark> = problems.chain(self.verdict.violations.iter().filter_map(violation)).collect();
        marks.sort_by(|one, other| (&one.what, one.at).cmp(&(&other.what, other.at)));
        marks.dedup_by(|next, kept| next.what == kept.what && next.at < kept.at + ONE_MARK);
        marks.sort_by_key(|mark| mark.at);
        marks
    }

    /// When a violation happened: at its delivery, or when the line was promised.
    fn when(&self, violation: &Violation) -> Option<Duration> {
        match (violation.at_ms, &violation.what) {
            (Some(at_ms), _) => Some(self.story.since_begin(at_ms)),
            (None, Seen::Line(line)) => self.story.promised_at(line.publisher, line.number),
            (None, Seen::Unknown(_)) => None,
        }
    }
}

/// As a sentence begins.
fn capital(text: &str) -> String {
    let mut text = text.to_owned();
    if let Some(letter) = text.get_mut(..1) {
        letter.make_ascii_uppercase();
    }
    text
}

/// What the colours mean.
fn key() -> String {
    let mut text = "<ul class=\"key\">\n".to_owned();
    for (name, colour) in KINDS {
        let (red, green, blue) = (colour.0, colour.1, colour.2);
        line(&mut text, format_args!("<li><i style=\"background:rgb({red},{green},{blue})\"></i>{name}</li>"));
    }
    text.push_str("</ul>\n");
    text
}

/// With a thin space between thousands.
fn grouped(value: usize) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{2009}');
        }
        text.push(digit);
    }
    text
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn line(text: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing into a String cannot fail.
    let _ = writeln!(text, "{what}");
}

const HEAD: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body { margin: 0; font: 16px/1.4 system-ui, sans-serif; color: #1b1f24; background: #fff; }
header { padding: 1rem 1.5rem; color: #fff; }
header.good { background: #1a7f37; }
header.bad { background: #b42318; }
h1 { margin: 0; font-size: 1.8rem; }
h2 { margin: 2rem 0 0; font-size: 1.15rem; }
p { margin: .25rem 0 .5rem; color: #57606a; }
header p { color: inherit; }
main { max-width: 70rem; margin: 0 auto; padding: 0 1rem 3rem; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .75rem; margin: 1rem 0; }
dl div { padding: .6rem .8rem; border: 1px solid #d0d7de; border-radius: .5rem; }
dl .bad { color: #fff; background: #b42318; border-color: #b42318; }
dt { font-size: .85rem; }
dd { margin: 0; font-size: 1.4rem; font-weight: 600; white-space: nowrap; }
ol.broken { padding-left: 1.4rem; color: #b42318; overflow-wrap: anywhere; }
.broken li { margin-bottom: .4rem; }
.broken small { color: #57606a; }
.key { display: flex; flex-wrap: wrap; gap: .2rem 1rem; margin: .4rem 0; padding: 0; list-style: none; font-size: .9rem; }
.key i { display: inline-block; width: .9rem; height: .7rem; margin-right: .35rem; }
footer { margin-top: 2rem; color: #57606a; overflow-wrap: anywhere; }
figure { margin: 0; }
figure svg { width: 100%; height: auto; }
.narrow { display: none; }
@media (max-width: 700px) { .wide { display: none; } .narrow { display: block; } }
</style>
"#;

#[cfg(test)]
mod tests;
