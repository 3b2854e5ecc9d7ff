//! `cargo xtask pictures`: the pictures in the documents, each from a run that
//! really happened.

mod svg;

use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use amps_client::Client;
use amps_tests::terminal::Terminal;
use amps_testserver::{Link, TestServer, TestServerBuilder};
use serde_json::json;

use crate::{Failure, binary};

/// Options of the pictures.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where they go.
    #[arg(long, value_name = "DIR", default_value = "docs/pictures")]
    into: PathBuf,
    /// The seed of the chaos run that is shown.
    #[arg(long, default_value_t = 7)]
    seed: u64,
}

/// Rows and columns of the terminal.
const SCREEN: (NonZero<u16>, NonZero<u16>) = (NonZero::new(9).unwrap(), NonZero::new(112).unwrap());
/// How long faults happen in the chaos run.
const FAULTS: &str = "30s";
/// The charts of its page that become pictures, by their titles.
const CHARTS: [(&str, &str); 2] =
    [("What was broken when", "chaos-faults.svg"), ("Delivered a second", "chaos-delivered.svg")];

/// Takes the pictures. Says whether what they show went well.
///
/// # Errors
/// When one cannot be taken.
pub(crate) fn pictures(args: &Args) -> Result<bool, Failure> {
    let amps = binary::amps()?;
    fs::create_dir_all(&args.into).map_err(|error| Failure::new(format!("{}: {error}", args.into.display())))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(error.to_string()))?;
    runtime.block_on(watch(&amps, &args.into))?;
    let page = args.into.join("chaos.html");
    let good = chaos(args.seed, &page)?;
    let text = fs::read_to_string(&page).map_err(|error| Failure::new(format!("{}: {error}", page.display())))?;
    for (title, file) in CHARTS {
        let chart = chart(&text, title).ok_or_else(|| Failure::new(format!("the page has no chart {title:?}")))?;
        save(&args.into, file, chart)?;
    }
    fs::remove_file(&page).map_err(|error| Failure::new(format!("{}: {error}", page.display())))?;
    Ok(good)
}

/// A run with this seed that writes its page there: whether it went well.
fn chaos(seed: u64, page: &Path) -> Result<bool, Failure> {
    let failed = |error: std::io::Error| Failure::new(format!("cannot run this program again: {error}"));
    let own = std::env::current_exe().map_err(failed)?;
    let mut command = Command::new(own);
    command.args(["chaos", "--duration", FAULTS, "--seed", &seed.to_string(), "--report"]).arg(page);
    Ok(command.status().map_err(failed)?.success())
}

/// `amps watch` before, while and after its server dies.
async fn watch(amps: &Path, into: &Path) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::new(format!("amps watch: {error}"));
    let second = server("B").start().await.map_err(|error| failed(&error))?;
    let first = server("A").peer(second.uri(), Link::Sync).start().await.map_err(|error| failed(&error))?;
    let feed = Client::builder("feed").servers([first.uri(), second.uri()]).connect().await;
    let feed = feed.map_err(|error| failed(&error))?;
    let publish = async |symbol: &str, bid: f64| {
        let quote = json!({"symbol": symbol, "bid": bid, "ask": bid + 0.25});
        feed.publish_json("prices", &quote).await.map_err(|error| failed(&error))
    };
    for (symbol, bid) in [("ACME", 10.5), ("BETA", 7.25), ("CRUX", 129.0), ("DELL", 88.5), ("INIT", 20.0)] {
        publish(symbol, bid).await?;
    }
    feed.flush().await.map_err(|error| failed(&error))?;
    let servers = format!("{},{}", first.uri(), second.uri());
    let terminal = Terminal::run(Command::new(amps).args(["watch", "prices", "--server", &servers]), SCREEN);
    let terminal = terminal.map_err(|error| failed(&error))?;
    terminal.shows("INIT");
    publish("BETA", 7.5).await?;
    terminal.shows("1 changed");
    save(into, "watch-before.svg", &svg::draw(&terminal.screen()))?;
    // The other one takes nobody until it is told to.
    second.faults(|faults| faults.accept_then_close(true));
    first.stop().await;
    terminal.shows("recovering");
    save(into, "watch-recovering.svg", &svg::draw(&terminal.screen()))?;
    second.faults(|faults| faults.accept_then_close(false));
    terminal.shows("recovered once");
    publish("DELL", 91.0).await?;
    terminal.shows("91");
    save(into, "watch-after.svg", &svg::draw(&terminal.screen()))?;
    Ok(())
}

fn server(name: &str) -> TestServerBuilder {
    TestServer::builder().name(name).sow("prices", "/symbol").ack_conflation(Duration::from_millis(5))
}

/// The picture for a desktop below this heading of a page.
fn chart<'a>(page: &'a str, title: &str) -> Option<&'a str> {
    let (_, below) = page.split_once(&format!("<h2>{title}</h2>"))?;
    let (_, figure) = below.split_once("<figure class=\"wide\">")?;
    Some(figure.split_once("</figure>")?.0)
}

fn save(dir: &Path, file: &str, svg: &str) -> Result<(), Failure> {
    let path = dir.join(file);
    fs::write(&path, svg).map_err(|error| Failure::new(format!("cannot write {}: {error}", path.display())))?;
    println!("{}", path.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_is_found_below_its_heading() {
        let page = "<h2>One</h2><figure class=\"wide\">1</figure><h2>Two</h2><p>x</p><figure class=\"wide\">2</figure>";
        assert_eq!((chart(page, "Two"), chart(page, "Three")), (Some("2"), None));
    }
}
