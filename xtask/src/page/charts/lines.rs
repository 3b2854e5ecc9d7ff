//! Figures over time.

use std::time::Duration;

use plotters::prelude::*;

use super::{COLOURS, Drawn, GREY, Shown, Size, TEXT, seconds, time};
use crate::story::Sample;

/// Points of a line at most; of more, what is between them is averaged.
const POINTS: usize = 300;
const HEIGHT: u32 = 220;
/// A key in so many columns.
const KEY_LINE: u32 = 18;

/// A line: its name and its points, in seconds and units.
pub(super) type Line = (String, Vec<(f64, f64)>);

/// Lines, with a key below if there are several.
pub(super) fn draw(svg: &mut String, size: Size, shown: &Shown<'_>, lines: &[Line]) -> Drawn {
    let columns = (size.width / 150).max(1);
    let key = if lines.len() > 1 { KEY_LINE * (lines.len() as u32).div_ceil(columns) + 6 } else { 0 };
    let root = SVGBackend::with_string(svg, (size.width, HEIGHT + key)).into_drawing_area();
    root.fill(&WHITE)?;
    let (upper, lower) = root.split_vertically(HEIGHT);
    let highest = lines.iter().flat_map(|(_, points)| points).map(|(_, value)| *value).fold(1.0, f64::max);
    let mut chart = grid(&upper, size, shown, highest)?;
    for ((_, points), colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?;
    }
    if lines.len() > 1 {
        for ((index, (name, _)), colour) in (0..).zip(lines).zip(COLOURS.iter().cycle()) {
            let (x, y) = (8 + 150 * (index % columns) as i32, 4 + (KEY_LINE * (index / columns)) as i32);
            lower.draw(&Rectangle::new([(x, y + 4), (x + 14, y + 10)], colour.filled()))?;
            lower.draw(&Text::new(name.clone(), (x + 20, y), size.font()))?;
        }
    }
    root.present()?;
    Ok(())
}

/// Each recovery stands as a needle at its fault.
pub(super) fn draw_recoveries(svg: &mut String, size: Size, shown: &Shown<'_>) -> Drawn {
    let root = SVGBackend::with_string(svg, (size.width, HEIGHT)).into_drawing_area();
    root.fill(&WHITE)?;
    let lasted = |ms: u64| Duration::from_millis(ms).as_secs_f64();
    let highest = shown.recoveries.iter().map(|recovery| lasted(recovery.lasted_ms)).fold(1.0, f64::max);
    let mut chart = grid(&root, size, shown, highest)?;
    for recovery in shown.recoveries {
        let at = shown.story.since_begin(recovery.at_ms).as_secs_f64();
        let top = (at, lasted(recovery.lasted_ms));
        chart.draw_series([PathElement::new(vec![(at, 0.0), top], COLOURS[0].mix(0.6))])?;
        chart.draw_series([Circle::new(top, 3, COLOURS[0].filled())])?;
    }
    root.present()?;
    Ok(())
}

/// What each publisher was promised.
pub(super) fn published(shown: &Shown<'_>) -> Vec<Line> {
    let names = shown.facts.publishers.iter().enumerate();
    names.map(|(index, name)| (name.clone(), rate(shown, |sample| sample.published.get(index)))).collect()
}

/// What each subscriber, view and worker got.
pub(super) fn delivered(shown: &Shown<'_>) -> Vec<Line> {
    let line = |index, name: &String| (name.clone(), rate(shown, |sample| sample.delivered.get(index)));
    let names = shown.facts.subscribers.iter().chain(&shown.facts.consumers);
    names.enumerate().map(|(index, name)| line(index, name)).collect()
}

/// What was promised and is not everywhere.
pub(super) fn depth(shown: &Shown<'_>) -> Line {
    let points = thinned(shown.story.samples());
    let point = |sample: &&Sample| (sample.at.as_secs_f64(), sample.unacknowledged as f64);
    ("unacknowledged".to_owned(), points.iter().map(point).collect())
}

type Grid<'a, 'b> = ChartContext<
    'a,
    SVGBackend<'b>,
    Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>,
>;

/// Axes, the end of the faults, and where something went wrong.
fn grid<'a, 'b>(
    area: &'a DrawingArea<SVGBackend<'b>, plotters::coord::Shift>,
    size: Size,
    shown: &Shown<'_>,
    highest: f64,
) -> Result<Grid<'a, 'b>, Box<dyn std::error::Error + Send + Sync>> {
    let (end, top) = (seconds(shown), highest * 1.1);
    let mut chart = ChartBuilder::on(area)
        .margin(4)
        .margin_right(14)
        .x_label_area_size(36)
        .y_label_area_size(size.names)
        .build_cartesian_2d(0.0..end, 0.0..top)?;
    let (unit, label) = time(end);
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(WHITE.mix(0.0))
        .bold_line_style(GREY.mix(0.3))
        .x_labels(size.labels())
        .y_labels(5)
        .x_label_formatter(&label)
        .y_label_formatter(&|value| if highest < 10.0 { format!("{value:.1}") } else { format!("{value:.0}") })
        .x_desc(unit)
        .label_style(size.font())
        .draw()?;
    if let Some(over) = shown.story.over().map(|over| over.as_secs_f64()) {
        chart.draw_series(DashedLineSeries::new([(over, 0.0), (over, top)], 5, 4, TEXT.mix(0.6).into()))?;
    }
    for mark in shown.marks() {
        let at = mark.at.as_secs_f64();
        chart.draw_series([PathElement::new(vec![(at, 0.0), (at, top)], TEXT.stroke_width(2))])?;
    }
    Ok(chart)
}

/// Every so many samples, so that a picture has [`POINTS`] at most.
fn thinned(samples: &[Sample]) -> Vec<&Sample> {
    samples.iter().step_by(samples.len().div_ceil(POINTS).max(1)).collect()
}

/// How much a count grew a second.
fn rate(shown: &Shown<'_>, count: impl Fn(&Sample) -> Option<&usize>) -> Vec<(f64, f64)> {
    let count = |sample: &Sample| count(sample).copied().unwrap_or(0) as f64;
    let per_second = |pair: &[&Sample]| {
        let time = (pair[1].at - pair[0].at).max(Duration::from_millis(1)).as_secs_f64();
        (pair[1].at.as_secs_f64(), (count(pair[1]) - count(pair[0])).max(0.0) / time)
    };
    thinned(shown.story.samples()).windows(2).map(per_second).collect()
}
