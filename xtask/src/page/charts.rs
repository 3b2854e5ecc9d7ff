//! The charts of a page.

mod lanes;
mod lines;

use std::error::Error;
use std::time::Duration;

use plotters::prelude::*;

use super::Shown;

/// What can be drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chart {
    /// How many faults of each kind began when.
    Kinds,
    /// What was broken when.
    Lanes,
    /// What each publisher was promised a second.
    Published,
    /// What each consumer got a second.
    Delivered,
    /// Promised, and not everywhere yet.
    Depth,
    /// Standstills.
    Recovery,
}

/// Of a picture, in pixels of its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    width: u32,
    font: u32,
    /// For the names of lanes, and for the figures of axes, so that one moment is
    /// at one place in all pictures.
    names: u32,
}

impl Size {
    /// For a desktop.
    pub(super) const WIDE: Self = Self { width: 1_100, font: 14, names: 110 };
    /// For a phone.
    pub(super) const NARROW: Self = Self { width: 400, font: 13, names: 92 };

    /// A font, in points of the picture.
    fn font<'a>(self) -> TextStyle<'a> {
        ("sans-serif", self.font).into_font().color(&TEXT)
    }

    fn labels(self) -> usize {
        self.width as usize / 90
    }
}

/// A longer run is shown in lanes only in part.
const WINDOW: Duration = Duration::from_secs(180);
/// A longer run has its times in minutes.
const MINUTES: f64 = 600.0;

const TEXT: RGBColor = RGBColor(27, 31, 36);
const BROKEN: RGBColor = RGBColor(180, 35, 24);
const GREY: RGBColor = RGBColor(140, 149, 159);
/// Told apart by most people who see few colours (Okabe and Ito).
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];

/// The kinds of faults, as the key names them, and their colours.
pub(super) const KINDS: [(&str, RGBColor); 7] = [
    ("killed", BROKEN),
    ("paused", COLOURS[4]),
    ("disk full", COLOURS[3]),
    ("slow disk", COLOURS[5]),
    ("cut off", COLOURS[2]),
    ("name taken", GREY),
    (NETWORK, COLOURS[0]),
];
/// All trouble of links.
const NETWORK: &str = "network";

/// Where the kind of a fault stands among [`KINDS`].
fn kind(what: &str) -> usize {
    KINDS.iter().position(|(name, _)| *name == what).unwrap_or(KINDS.len() - 1)
}

type Drawn = Result<(), Box<dyn Error + Send + Sync>>;

impl Chart {
    /// The charts of a run, from the top.
    pub(super) fn all(shown: &Shown<'_>) -> Vec<Self> {
        let mut charts = vec![Self::Lanes, Self::Published, Self::Delivered, Self::Depth, Self::Recovery];
        if shown.story.now() > WINDOW {
            charts.insert(0, Self::Kinds);
        }
        charts
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Kinds => "Faults in the course of the run",
            Self::Lanes => "What was broken when",
            Self::Published => "Published a second",
            Self::Delivered => "Delivered a second",
            Self::Depth => "Unacknowledged",
            Self::Recovery => "Recovery",
        }
    }

    pub(super) fn caption(self) -> &'static str {
        match self {
            Self::Kinds => "How many faults of each kind began at a time.",
            Self::Lanes => {
                "Each bar is a time in which a process, its network or its disk was broken. The dashed line is the \
                 end of the last fault."
            }
            Self::Published => "Lines promised to each publisher.",
            Self::Delivered => "What each subscriber, view and worker got; peaks are what had waited for it.",
            Self::Depth => "Messages that were promised and that some server had not logged yet.",
            Self::Recovery => {
                "For each fault of a server, how many seconds the slowest subscriber waited for its next message."
            }
        }
    }
}

/// The picture, as SVG.
pub(super) fn draw(chart: Chart, size: Size, shown: &Shown<'_>) -> Result<String, Box<dyn Error + Send + Sync>> {
    let mut svg = String::new();
    match chart {
        Chart::Kinds => lanes::draw_kinds(&mut svg, size, shown)?,
        Chart::Lanes => lanes::draw(&mut svg, size, window(shown), shown)?,
        Chart::Published => lines::draw(&mut svg, size, shown, &lines::published(shown))?,
        Chart::Delivered => lines::draw(&mut svg, size, shown, &lines::delivered(shown))?,
        Chart::Depth => lines::draw(&mut svg, size, shown, &[lines::depth(shown)])?,
        Chart::Recovery => lines::draw_recoveries(&mut svg, size, shown)?,
    }
    Ok(svg)
}

/// The part of a run that is shown in lanes, in seconds: around what went wrong
/// first, else its end.
fn window(shown: &Shown<'_>) -> (f64, f64) {
    let (end, width) = (seconds(shown), WINDOW.as_secs_f64());
    let middle = shown.marks().first().map_or(end, |mark| mark.at.as_secs_f64());
    let from = (middle - width / 2.0).min(end - width).max(0.0);
    (from, (from + width).min(end))
}

fn seconds(shown: &Shown<'_>) -> f64 {
    shown.story.now().as_secs_f64().max(1.0)
}

/// A time on an axis, with what it is in.
fn time(end: f64) -> (&'static str, fn(&f64) -> String) {
    match end > MINUTES {
        true => {
            ("minutes", |seconds| format!("{:.0}:{:02.0}", (seconds.round() / 60.0).floor(), seconds.round() % 60.0))
        }
        false => ("seconds", |seconds| format!("{seconds:.0}")),
    }
}
