//! What the demo prints at its end: both tables, and one JSON object.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use super::queue::Drained;
use super::views::Views;

/// Orders that are named.
const NAMED: usize = 5;

/// The last line of standard output.
#[derive(Debug, Serialize)]
struct Summary {
    published: usize,
    views_equal: usize,
    views: usize,
    server_kills: usize,
    orders: usize,
    lost: usize,
    processed_twice: usize,
    delivered_again: usize,
    worker_kills: usize,
    seconds: f64,
}

pub(super) fn render(views: &Views, queue: &Drained, time: Duration) -> String {
    let mut text = String::new();
    let mut line = |arguments: std::fmt::Arguments<'_>| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{arguments}");
    };
    line(format_args!("STATE OF THE WORLD  {} readings, {} servers killed in turn", views.published, views.kills));
    line(format_args!("  {:<18} {:>7} {:>9} {:>7} {:>6}   verdict", "view", "records", "snapshots", "updates", "gone"));
    for view in &views.views {
        let verdict = match view.is_good() {
            true => "equal to both servers and to what was published",
            false => "DIFFERS",
        };
        let ledger = &view.ledger;
        line(format_args!(
            "  {:<18} {:>7} {:>9} {:>7} {:>6}   {verdict}",
            view.name,
            ledger.records.len(),
            ledger.snapshots,
            ledger.updates,
            ledger.gone
        ));
        if !view.is_good() {
            line(format_args!("    view      {:?}", ledger.records));
            line(format_args!("    published {:?}", view.published));
            view.servers.iter().for_each(|server| line(format_args!("    server    {server:?}")));
        }
    }
    line(format_args!("QUEUE  {} orders, {} workers, one killed", queue.orders, queue.workers.len()));
    for (index, worker) in queue.workers.iter().enumerate() {
        let end = if worker.killed { "killed" } else { "" };
        line(format_args!(
            "  worker-{} {:>9} got {:>6} confirmed   {end}",
            index + 1,
            worker.got.len(),
            worker.acked.len()
        ));
    }
    let verdict = &queue.verdict;
    for (what, orders) in [
        ("lost", &verdict.lost),
        ("processed twice", &verdict.twice),
        ("delivered again (the killed worker had them, unacknowledged)", &verdict.again),
    ] {
        line(format_args!("  {:>6} {what}", orders.len()));
        orders.iter().take(NAMED).for_each(|order| line(format_args!("           {order}")));
        if orders.len() > NAMED {
            line(format_args!("           and {} more", orders.len() - NAMED));
        }
    }
    line(format_args!("  {:>6} left in the queue", queue.left));
    let good = views.is_good() && queue.is_good();
    line(format_args!("{}", if good { "EVERY PROMISE KEPT" } else { "A PROMISE WAS BROKEN" }));
    let summary = Summary {
        published: views.published,
        views_equal: views.views.iter().filter(|view| view.is_good()).count(),
        views: views.views.len(),
        server_kills: views.kills,
        orders: queue.orders,
        lost: verdict.lost.len() + queue.left,
        processed_twice: verdict.twice.len(),
        delivered_again: verdict.again.len(),
        worker_kills: queue.workers.iter().filter(|worker| worker.killed).count(),
        seconds: (time.as_secs_f64() * 10.0).round() / 10.0,
    };
    text + &serde_json::to_string(&summary).unwrap_or_default() + "\n"
}
