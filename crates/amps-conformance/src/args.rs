//! The command line.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use amps_core::Uri;

use crate::{Finding, Options, Topics, Totals, checks, run};

/// Options of the suite, for the command lines that have it.
#[derive(clap::Args)]
pub struct Args {
    /// The server's connection string, such as tcp://localhost:9007/amps/json. The
    /// suite publishes JSON.
    #[arg(long, value_name = "URI", required_unless_present = "list", value_parser = json_uri)]
    uri: Option<Uri>,
    /// The topics to use: plain=NAME (what names begin with that need no
    /// configuration), sow=NAME:/key, log=NAME (in the transaction log), queue=NAME.
    /// conformance-plain, conformance-sow:/id and so on unless given.
    #[arg(long, value_name = "WHAT=NAME,...", default_value = "")]
    topics: Topics,
    /// How long the server may take for each answer, in seconds.
    #[arg(long, value_name = "SECS", default_value_t = 5.0, value_parser = seconds)]
    timeout: f64,
    /// Only these checks or chapters, such as sow or logon/second.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', value_parser = named)]
    only: Vec<String>,
    /// One JSON object a check, and a last line with the totals.
    #[arg(long)]
    json: bool,
    /// Lists the checks with the documents they come from, and does nothing else.
    #[arg(long)]
    list: bool,
}

impl fmt::Debug for Args {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Args").field("uri", &self.uri).field("topics", &self.topics).finish_non_exhaustive()
    }
}

impl Args {
    /// Runs the suite and prints what it finds.
    ///
    /// Exit code 0: nothing failed. 1: something did. 3: nobody can log on there.
    pub async fn run(self) -> ExitCode {
        let Some(uri) = self.uri.filter(|_| !self.list) else {
            for check in checks() {
                print(format_args!("{:<46} {}", check.name, check.source));
            }
            return ExitCode::SUCCESS;
        };
        let mut options = Options::new(uri);
        options.topics = self.topics;
        options.timeout = Duration::from_secs_f64(self.timeout);
        options.only = self.only;
        let mut chapter = Chapter::default();
        let ended = run(&options, |finding| {
            if self.json {
                print(format_args!("{}", finding.json()));
            } else {
                chapter.print(finding);
            }
        })
        .await;
        let totals = match ended {
            Ok(totals) => totals,
            Err(error) => {
                eprintln!("error: {error}");
                return ExitCode::from(3);
            }
        };
        if self.json {
            print(format_args!("{}", totals.json()));
        } else {
            chapter.close();
            print(format_args!("\n{}", totals.text()));
        }
        if totals.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Prints a line. Nobody may read it any more, as behind `| head`; what is found
/// is then told by the exit code alone.
fn print(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// The chapter that is being printed.
#[derive(Default)]
struct Chapter {
    name: &'static str,
    totals: Totals,
}

impl Chapter {
    fn print(&mut self, finding: &Finding) {
        if self.name != finding.check.chapter() {
            self.close();
            *self = Self { name: finding.check.chapter(), totals: Totals::default() };
            print(format_args!("\n{}", self.name));
        }
        self.totals.count(&finding.verdict);
        print(format_args!("{}", finding.text()));
    }

    fn close(&self) {
        if self.totals.checks() > 0 {
            print(format_args!("  {}", self.totals.text()));
        }
    }
}

fn json_uri(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|error: amps_core::UriError| error.to_string())?;
    match uri.message_type() {
        None | Some("json") => Ok(uri),
        Some(other) => Err(format!("the suite publishes JSON, not {other}: name a transport for it, as in /amps/json")),
    }
}

fn named(name: &str) -> Result<String, String> {
    let known = checks().any(|check| check.is(name));
    known.then(|| name.to_owned()).ok_or_else(|| "no check or chapter has this name; --list lists them".to_owned())
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.05..=3_600.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected seconds, from 0.05 to 3600".to_owned()),
    }
}
