//! A screen of a terminal as a picture.

use std::fmt::Write;

use vt100::{Cell, Color, Screen};

/// Of one character, in pixels.
const WIDTH: u32 = 9;
const HEIGHT: u32 = 20;
/// Around the whole.
const MARGIN: u32 = 12;

const BACKGROUND: &str = "#1b1f24";
const TEXT: &str = "#e6edf3";
/// The eight colours of terminals, then bright ones.
const COLOURS: [&str; 16] = [
    "#484f58", "#ff7b72", "#3fb950", "#d29922", "#58a6ff", "#bc8cff", "#39c5cf", "#b1bac4", "#6e7681", "#ffa198",
    "#56d364", "#e3b341", "#79c0ff", "#d2a8ff", "#56d4dd", "#ffffff",
];

/// How characters beside each other look, that can be written together.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Look {
    text: String,
    behind: Option<String>,
    bold: bool,
}

impl Look {
    fn of(cell: &Cell) -> Self {
        let (text, behind) = (colour(cell.fgcolor()), colour(cell.bgcolor()));
        let bold = cell.bold();
        let dim = cell.dim().then(|| COLOURS[8].to_owned());
        match cell.inverse() {
            true => Self {
                text: behind.unwrap_or_else(|| BACKGROUND.to_owned()),
                behind: Some(text.unwrap_or_else(|| TEXT.to_owned())),
                bold,
            },
            false => Self { text: text.or(dim).unwrap_or_else(|| TEXT.to_owned()), behind, bold },
        }
    }
}

fn colour(colour: Color) -> Option<String> {
    match colour {
        Color::Default => None,
        Color::Idx(index) => COLOURS.get(usize::from(index)).map(|&name| name.to_owned()),
        Color::Rgb(red, green, blue) => Some(format!("#{red:02x}{green:02x}{blue:02x}")),
    }
}

/// The picture, as SVG.
pub(super) fn draw(screen: &Screen) -> String {
    let (rows, columns) = screen.size();
    let (rows, columns) = (rows.get(), columns.get());
    let (width, height) = (u32::from(columns) * WIDTH + 2 * MARGIN, u32::from(rows) * HEIGHT + 2 * MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" font-family=\"ui-monospace, monospace\" font-size=\"15\">\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"{BACKGROUND}\"/>\n"
    );
    for row in 0..rows {
        for (column, look, text) in runs(screen, row, columns) {
            let (x, y) = (MARGIN + u32::from(column) * WIDTH, MARGIN + u32::from(row) * HEIGHT);
            let length = u32::try_from(text.chars().count()).unwrap_or(0) * WIDTH;
            // Writing into a String cannot fail.
            if let Some(behind) = &look.behind {
                let _ = writeln!(
                    svg,
                    "<rect x=\"{x}\" y=\"{y}\" width=\"{length}\" height=\"{HEIGHT}\" fill=\"{behind}\"/>"
                );
            }
            if !text.trim().is_empty() {
                let weight = if look.bold { " font-weight=\"bold\"" } else { "" };
                let _ = writeln!(
                    svg,
                    "<text x=\"{x}\" y=\"{}\" fill=\"{}\"{weight} textLength=\"{length}\" xml:space=\"preserve\">{}</text>",
                    y + HEIGHT - 5,
                    look.text,
                    escape(&text)
                );
            }
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// The parts of a row that look alike, each with its first column.
fn runs(screen: &Screen, row: u16, columns: u16) -> Vec<(u16, Look, String)> {
    let mut runs: Vec<(u16, Look, String)> = Vec::new();
    for column in 0..columns {
        let Some(cell) = screen.cell(row, column) else { continue };
        let (look, text) = (Look::of(cell), if cell.has_contents() { cell.contents() } else { " " });
        match runs.last_mut() {
            Some((_, last, run)) if *last == look => run.push_str(text),
            _ => runs.push((column, look, text.to_owned())),
        }
    }
    for (_, look, run) in &mut runs {
        if look.behind.is_none() {
            run.truncate(run.trim_end().len());
        }
    }
    runs
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use super::*;

    #[test]
    fn what_looks_alike_is_written_together() {
        let size = |count| NonZero::new(count).unwrap();
        let mut parser = vt100::Parser::new(size(1), size(12), 0);
        parser.process(b"a\x1b[1m<b>\x1b[0m \x1b[7mc\x1b[0m");
        let svg = draw(parser.screen());
        assert!(svg.contains(">a</text>") && svg.contains("font-weight=\"bold\""), "{svg}");
        assert!(svg.contains(">&lt;b&gt;</text>"), "{svg}");
        assert!(svg.contains(&format!("fill=\"{TEXT}\"/>")), "inverse: {svg}");
    }
}
