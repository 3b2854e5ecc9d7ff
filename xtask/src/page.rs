//! The page that shows a run: one file that needs nothing else.

mod charts;

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use crate::Failure;
use crate::recovery::Recovery;
use crate::report::Facts;
use crate::story::Story;
use crate::verdict::{Kind, Seen, Verdict, Violation};
use charts::{Chart, Size};

/// Violations listed.
const SHOWN: usize = 10;

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
        for chart in [Chart::Faults, Chart::Rate, Chart::Depth, Chart::Recovery] {
            add(&format!("<h2>{}</h2>\n<p>{}</p>\n", chart.title(), chart.caption()));
            for (class, size) in [("wide", Size::WIDE), ("narrow", Size::NARROW)] {
                let svg = charts::draw(chart, size, self)
                    .map_err(|error| Failure::new(format!("cannot draw {}: {error}", chart.title())))?;
                add(&format!("<figure class=\"{class}\">{svg}</figure>\n"));
            }
        }
        add("</main></html>\n");
        Ok(page)
    }

    fn sentence(&self) -> String {
        let Facts { faults, kills, seconds, .. } = self.facts;
        format!(
            "{} with seed {}: {} faults, {kills} of them kills, in {seconds:.0} seconds.",
            self.name, self.facts.seed, faults
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
        let longest = Duration::from_millis(self.facts.longest_recovery_ms).as_secs_f64();
        line(&mut text, format_args!("<div><dt>longest recovery</dt><dd>{longest:.1} s</dd></div>\n</dl>"));
        text
    }

    /// What went wrong, and when.
    fn broken(&self) -> String {
        let violations = &self.verdict.violations;
        if violations.is_empty() && self.facts.problems.is_empty() {
            return String::new();
        }
        let mut text = "<h2>What went wrong</h2>\n<ul class=\"broken\">\n".to_owned();
        for problem in &self.facts.problems {
            line(&mut text, format_args!("<li>{}</li>", escape(&problem.to_string())));
        }
        for violation in violations.iter().take(SHOWN) {
            let at = self.when(violation).map(|at| format!("at {:.1} s: ", at.as_secs_f64())).unwrap_or_default();
            line(&mut text, format_args!("<li>{at}{}</li>", escape(&violation.to_string())));
        }
        if violations.len() > SHOWN {
            line(&mut text, format_args!("<li>... and {} more</li>", violations.len() - SHOWN));
        }
        text.push_str("</ul>\n");
        text
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
dd { margin: 0; font-size: 1.5rem; font-weight: 600; }
ul.broken { padding-left: 1.2rem; color: #b42318; overflow-wrap: anywhere; }
figure { margin: 0; }
figure svg { width: 100%; height: auto; }
.narrow { display: none; }
@media (max-width: 700px) { .wide { display: none; } .narrow { display: block; } }
</style>
"#;

#[cfg(test)]
mod tests;
