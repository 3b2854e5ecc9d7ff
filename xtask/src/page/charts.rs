//! The charts of a page.

use std::error::Error;
use std::time::Duration;

use plotters::prelude::*;

use super::Shown;
use crate::story::Sample;

/// What can be drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chart {
    /// What was broken when.
    Faults,
    /// Messages a second.
    Rate,
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
    /// For the names of lanes.
    names: u32,
}

impl Size {
    /// For a desktop.
    pub(super) const WIDE: Self = Self { width: 1_100, font: 14, names: 200 };
    /// For a phone.
    pub(super) const NARROW: Self = Self { width: 400, font: 12, names: 150 };
}

/// Points of a line at most; more are averaged.
const POINTS: usize = 400;
const HEIGHT: u32 = 260;
const LANE: u32 = 26;
const BROKEN: RGBColor = RGBColor(180, 35, 24);
const GREY: RGBColor = RGBColor(87, 96, 106);
/// Told apart by most people who see few colours (Okabe and Ito).
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];

type Drawn = Result<(), Box<dyn Error + Send + Sync>>;
/// A line: its name and its points, in seconds and units.
type Line = (String, Vec<(f64, f64)>);

impl Chart {
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Faults => "Faults",
            Self::Rate => "Messages a second",
            Self::Depth => "Promised, and not yet on every server",
            Self::Recovery => "Standstill around each fault",
        }
    }

    pub(super) fn caption(self) -> &'static str {
        match self {
            Self::Faults => {
                "Each bar is a time in which a process or a link was broken: red for killed, orange for stopped, \
                 violet for a full disk, blue for the network. A dark line across is a broken promise."
            }
            Self::Rate => "Promised to the publishers together, and new to each subscriber.",
            Self::Depth => "Messages that the publishers were promised and some server has not logged yet.",
            Self::Recovery => "How long the slowest subscriber waited for its next message, in seconds.",
        }
    }
}

/// The picture, as SVG.
pub(super) fn draw(chart: Chart, size: Size, shown: &Shown<'_>) -> Result<String, Box<dyn Error + Send + Sync>> {
    let seconds = shown.story.now().as_secs_f64().max(1.0);
    let mut svg = String::new();
    match chart {
        Chart::Faults => draw_lanes(&mut svg, size, seconds, shown)?,
        Chart::Rate => draw_lines(&mut svg, size, seconds, &rates(shown))?,
        Chart::Depth => draw_lines(&mut svg, size, seconds, &[depth(shown)])?,
        Chart::Recovery => draw_lines(&mut svg, size, seconds, &[standstills(shown)])?,
    }
    Ok(svg)
}

fn draw_lanes(svg: &mut String, size: Size, seconds: f64, shown: &Shown<'_>) -> Drawn {
    let mut lanes: Vec<&str> = shown.story.bars().iter().map(|bar| bar.lane.as_str()).collect();
    lanes.sort_by_key(|lane| (order(lane), *lane));
    lanes.dedup();
    let height = LANE * lanes.len().max(1) as u32 + 44;
    let root = SVGBackend::with_string(svg, (size.width, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .margin(4)
        .margin_right(12)
        .x_label_area_size(36)
        .y_label_area_size(size.names)
        .build_cartesian_2d(0.0..seconds, lanes.len().max(1) as f64..0.0)?;
    let font = ("sans-serif", size.font).into_font();
    chart
        .configure_mesh()
        .disable_mesh()
        .y_labels(0)
        .x_labels(size.width as usize / 90)
        .x_label_formatter(&whole)
        .x_desc("seconds")
        .label_style(font.clone())
        .draw()?;
    for (row, lane) in (0..).zip(&lanes) {
        let (_, y) = chart.backend_coord(&(0.0, f64::from(row) + 0.5));
        root.draw(&Text::new((*lane).to_owned(), (4, y - size.font as i32 / 2), font.clone()))?;
        let rule = [(0.0, f64::from(row) + 1.0), (seconds, f64::from(row) + 1.0)];
        chart.draw_series([PathElement::new(rule.to_vec(), GREY.mix(0.25))])?;
        // Each bar can be seen, however short it is beside the whole.
        let least = seconds * 2.0 / f64::from(size.width - size.names);
        for bar in shown.story.bars().iter().filter(|bar| bar.lane == *lane) {
            let from = bar.from.as_secs_f64();
            let to = bar.to.map_or(seconds, |to| to.as_secs_f64()).max(from + least);
            let corners = [(from, f64::from(row) + 0.2), (to, f64::from(row) + 0.8)];
            chart.draw_series([Rectangle::new(corners, colour(&bar.what).filled())])?;
        }
    }
    for at in shown.verdict.violations.iter().filter_map(|violation| shown.when(violation)) {
        let across = vec![(at.as_secs_f64(), 0.0), (at.as_secs_f64(), lanes.len().max(1) as f64)];
        chart.draw_series([PathElement::new(across, BLACK.stroke_width(2))])?;
    }
    root.present()?;
    Ok(())
}

fn draw_lines(svg: &mut String, size: Size, seconds: f64, lines: &[Line]) -> Drawn {
    let root = SVGBackend::with_string(svg, (size.width, HEIGHT)).into_drawing_area();
    root.fill(&WHITE)?;
    let highest = lines.iter().flat_map(|(_, points)| points).map(|(_, value)| *value).fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(&root)
        .margin(4)
        .margin_right(12)
        .x_label_area_size(36)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..seconds, 0.0..highest * 1.1)?;
    let font = ("sans-serif", size.font).into_font();
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(WHITE.mix(0.0))
        .bold_line_style(GREY.mix(0.2))
        .x_labels(size.width as usize / 90)
        .y_labels(5)
        .x_label_formatter(&whole)
        .y_label_formatter(&|value| if highest < 10.0 { format!("{value:.1}") } else { whole(value) })
        .x_desc("seconds")
        .label_style(font.clone())
        .draw()?;
    for ((name, points), colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let series = chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?;
        if lines.len() > 1 {
            let key = move |(x, y)| PathElement::new(vec![(x, y), (x + 16, y)], colour.stroke_width(3));
            series.label(name).legend(key);
        }
    }
    if lines.len() > 1 {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .label_font(font)
            .background_style(WHITE.mix(0.85))
            .draw()?;
    }
    root.present()?;
    Ok(())
}

fn whole(value: &f64) -> String {
    format!("{value:.0}")
}

/// Servers, publishers, subscribers, and then their links.
fn order(lane: &str) -> usize {
    let kinds = ["server", "publisher", "subscriber", "network"];
    kinds.iter().position(|kind| lane.starts_with(kind)).unwrap_or(kinds.len())
}

fn colour(what: &str) -> RGBColor {
    match what {
        "killed" => BROKEN,
        "paused" => COLOURS[4],
        "disk full" => COLOURS[3],
        "name taken" => GREY,
        _ => COLOURS[0],
    }
}

/// Every so many samples, so that a picture has [`POINTS`] at most.
fn thinned(samples: &[Sample]) -> Vec<&Sample> {
    samples.iter().step_by(samples.len().div_ceil(POINTS).max(1)).collect()
}

fn rates(shown: &Shown<'_>) -> Vec<Line> {
    let samples = thinned(shown.story.samples());
    let rate = |count: &dyn Fn(&Sample) -> usize| -> Vec<(f64, f64)> {
        let per_second = |pair: &[&Sample]| {
            let time = (pair[1].at - pair[0].at).max(Duration::from_millis(1)).as_secs_f64();
            (pair[1].at.as_secs_f64(), (count(pair[1]) as f64 - count(pair[0]) as f64).max(0.0) / time)
        };
        samples.windows(2).map(per_second).collect()
    };
    let mut lines = vec![("published".to_owned(), rate(&|sample| sample.published.iter().sum()))];
    for (index, name) in shown.facts.subscribers.iter().enumerate() {
        lines.push((name.clone(), rate(&|sample| sample.delivered.get(index).copied().unwrap_or(0))));
    }
    lines
}

fn depth(shown: &Shown<'_>) -> Line {
    let points = thinned(shown.story.samples());
    let point = |sample: &&Sample| (sample.at.as_secs_f64(), sample.unacknowledged as f64);
    ("unacknowledged".to_owned(), points.iter().map(point).collect())
}

/// Each stands as a needle at its fault.
fn standstills(shown: &Shown<'_>) -> Line {
    let mut points = Vec::new();
    for recovery in shown.recoveries {
        let at = shown.story.since_begin(recovery.at_ms).as_secs_f64();
        let lasted = Duration::from_millis(recovery.lasted_ms).as_secs_f64();
        points.extend([(at, 0.0), (at, lasted), (at, 0.0)]);
    }
    ("standstill".to_owned(), points)
}
