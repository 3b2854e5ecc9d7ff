//! What was broken when: bars on a lane for each process, and counts.

use plotters::coord::ranged1d::{Ranged, ValueFormatter};
use plotters::prelude::*;

use super::{BROKEN, Drawn, GREY, KINDS, Shown, Size, TEXT, kind, seconds, time};

const LANE: u32 = 24;
/// What goes wrong has a lane of its own.
const MARKS: u32 = 30;
const HEIGHT: u32 = 180;
/// Bars of the counts.
const BINS: usize = 60;
/// How the lane of the network of a process begins.
const NETWORK_OF: &str = "network of ";

/// The bars between two times.
pub(super) fn draw(svg: &mut String, size: Size, (begin, end): (f64, f64), shown: &Shown<'_>) -> Drawn {
    let mut lanes: Vec<&str> = shown.story.bars().iter().map(|bar| bar.lane.as_str()).collect();
    lanes.sort_by_key(|lane| place(lane));
    lanes.dedup();
    let count = lanes.len().max(1) as u32;
    let (marks, height) = (shown.marks(), LANE * count + 44);
    let above = if marks.is_empty() { 0 } else { MARKS };
    let root = SVGBackend::with_string(svg, (size.width, height + above)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .margin(4)
        .margin_right(14)
        .x_label_area_size(36)
        .y_label_area_size(size.names)
        .build_cartesian_2d(begin..end, f64::from(count)..-f64::from(above) / f64::from(LANE))?;
    let (unit, label) = time(end);
    axis(&mut chart, size, unit, label)?;
    // Each bar can be seen, however short it is beside the whole.
    let least = (end - begin) * 2.0 / f64::from(size.width - size.names);
    for (row, lane) in (0..count).map(f64::from).zip(&lanes) {
        let (_, y) = chart.backend_coord(&(begin, row + 0.5));
        let style = size.font();
        let (name, style) = match lane.strip_prefix(NETWORK_OF) {
            Some(_) => ("its network", style.color(&GREY)),
            None => (*lane, style),
        };
        root.draw(&Text::new(name.to_owned(), (4, y - size.font as i32 / 2), style))?;
        if !lane.starts_with(NETWORK_OF) {
            chart.draw_series([PathElement::new(vec![(begin, row), (end, row)], GREY.mix(0.35))])?;
        }
        for bar in shown.story.bars().iter().filter(|bar| bar.lane == *lane) {
            let from = bar.from.as_secs_f64();
            let to = bar.to.map_or(end, |to| to.as_secs_f64()).max(from + least);
            if to < begin || from > end {
                continue;
            }
            // What a process can have beside other faults is below them.
            let (top, bottom) =
                if matches!(bar.what.as_str(), "slow disk" | "cut off") { (0.66, 0.9) } else { (0.12, 0.62) };
            let corners = [(from.max(begin), row + top), (to.min(end), row + bottom)];
            chart.draw_series([Rectangle::new(corners, KINDS[kind(&bar.what)].1.filled())])?;
        }
    }
    if let Some(over) = shown.story.over().map(|over| over.as_secs_f64()).filter(|over| *over < end) {
        let dashes = DashedLineSeries::new([(over, 0.0), (over, f64::from(count))], 5, 4, TEXT.mix(0.6).into());
        chart.draw_series(dashes)?;
    }
    // Names from the left; one that would stand on another stays out.
    let mut free = i32::MIN;
    for mark in &marks {
        let at = mark.at.as_secs_f64();
        if at < begin || at > end {
            continue;
        }
        chart.draw_series([PathElement::new(vec![(at, -0.15), (at, f64::from(count))], TEXT.stroke_width(2))])?;
        let (x, y) = chart.backend_coord(&(at, -0.15));
        root.draw(&TriangleMarker::new((x, y - 2), -7, BROKEN.filled()))?;
        let style = size.font().color(&BROKEN);
        let (width, _) = root.estimate_text_size(&mark.what, &style)?;
        let left = (x - width as i32 / 2).clamp(2, (size.width - width) as i32 - 2);
        if left > free {
            root.draw(&Text::new(mark.what.clone(), (left, y - 10 - size.font as i32), style))?;
            free = left + width as i32 + 6;
        }
    }
    root.present()?;
    Ok(())
}

/// How many faults of each kind began, over the whole run.
pub(super) fn draw_kinds(svg: &mut String, size: Size, shown: &Shown<'_>) -> Drawn {
    let end = seconds(shown);
    let width = end / BINS as f64;
    let mut bins = [[0_u32; KINDS.len()]; BINS];
    for bar in shown.story.bars() {
        let bin = (bar.from.as_secs_f64() / width) as usize;
        bins[bin.min(BINS - 1)][kind(&bar.what)] += 1;
    }
    let most = bins.iter().map(|kinds| kinds.iter().sum::<u32>()).max().unwrap_or(0).max(1);
    let root = SVGBackend::with_string(svg, (size.width, HEIGHT)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .margin(4)
        .margin_right(14)
        .x_label_area_size(36)
        .y_label_area_size(size.names)
        .build_cartesian_2d(0.0..end, 0.0..f64::from(most) * 1.05)?;
    let (unit, label) = time(end);
    axis(&mut chart, size, unit, label)?;
    for (bin, kinds) in bins.iter().enumerate() {
        let (from, mut below) = (bin as f64 * width, 0.0);
        for (count, (_, colour)) in kinds.iter().zip(&KINDS) {
            let above = below + f64::from(*count);
            chart.draw_series([Rectangle::new([(from, below), (from + width * 0.85, above)], colour.filled())])?;
            below = above;
        }
    }
    for mark in shown.marks() {
        let at = mark.at.as_secs_f64();
        chart.draw_series([PathElement::new(vec![(at, 0.0), (at, f64::from(most) * 1.05)], TEXT.stroke_width(2))])?;
    }
    root.present()?;
    Ok(())
}

/// The axis of time, and nothing else.
fn axis<X, Y>(
    chart: &mut ChartContext<'_, SVGBackend<'_>, Cartesian2d<X, Y>>,
    size: Size,
    unit: &str,
    label: fn(&f64) -> String,
) -> Drawn
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    chart
        .configure_mesh()
        .disable_mesh()
        .y_labels(0)
        .x_labels(size.labels())
        .x_label_formatter(&label)
        .x_desc(unit)
        .label_style(size.font())
        .draw()?;
    Ok(())
}

/// Servers and the links between them, publishers, subscribers, views, workers,
/// each with its network.
fn place(lane: &str) -> (usize, &str, bool) {
    let (name, is_network) = lane.strip_prefix(NETWORK_OF).map_or((lane, false), |name| (name, true));
    let kinds = ["server", "publisher", "subscriber", "view", "worker"];
    let kind = kinds.iter().position(|kind| name.starts_with(kind)).map_or(1, |kind| kind + usize::from(kind > 0));
    (kind, name, is_network)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_stands_below_its_process_and_links_of_servers_below_the_servers() {
        let mut lanes =
            ["worker-1", "network of publisher-1", "B and A", "publisher-1", "server B", "server A", "view-1"];
        lanes.sort_by_key(|lane| place(lane));
        let sorted = ["server A", "server B", "B and A", "publisher-1", "network of publisher-1", "view-1", "worker-1"];
        assert_eq!(lanes, sorted);
    }
}
