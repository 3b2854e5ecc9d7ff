//! `cargo xtask chaos --planted`: whether planted bugs are seen in real processes.

#[cfg(not(planted))]
use super::Args;
#[cfg(not(planted))]
use crate::Failure;

#[cfg(planted)]
pub(super) use self::hunting::hunt;

/// Only the program built for it has the bugs.
#[cfg(not(planted))]
pub(super) fn hunt(_: &Args) -> Result<bool, Failure> {
    Err(Failure::new("this program was built without the planted bugs"))
}

#[cfg(planted)]
mod hunting {
    use std::path::{Path, PathBuf};
    use std::time::{Duration, Instant};

    use amps_core::planted::BUGS;
    use serde::Serialize;

    use super::super::Args;
    use crate::run::{self, Outcome};
    use crate::schedule::Kinds;
    use crate::{Failure, binary, reliability};

    /// The bugs that runs of processes are to see in so short a time; the others are
    /// the simulation's, which has more control over what meets what. So are some
    /// that do no harm here: numbers that are used again are those of the same lines,
    /// a server that acknowledges what only it has keeps its disk, and sockets take
    /// whole frames.
    const HUNTED: [&str; 11] = [
        "live-overtakes-replay",
        "promise-before-durable",
        "discarded-when-sent",
        "store-sync-skipped",
        "resume-from-received",
        "bookmark-sync-skipped",
        "duplicates-delivered",
        "oof-ignored",
        "queue-lease-never-ends",
        "server-acks-before-it-persists",
        "server-keeps-duplicates",
    ];
    /// Runs for each bug at most.
    const RUNS: u64 = 3;
    /// How long faults happen in each, all kinds of them.
    const FAULTS: Duration = Duration::from_secs(25);
    /// The rest is enough for everything to arrive; what does not by then is stuck.
    const SETTLE: Duration = Duration::from_secs(30);
    const RATE: u32 = 300;
    /// Where the pages of the runs go.
    const PAGES: &str = "target/chaos/planted";

    /// The last line of the output.
    #[derive(Serialize)]
    struct Summary {
        bugs: usize,
        caught: usize,
        survived: Vec<&'static str>,
        seconds: f64,
    }

    /// Hunts each bug. Says whether all were caught, and nothing without them.
    ///
    /// # Errors
    /// When it cannot be carried out.
    pub(in crate::chaos) fn hunt(args: &Args) -> Result<bool, Failure> {
        let chosen = BUGS.iter().filter(|bug| match &args.bug {
            Some(name) => bug.name == name,
            None => HUNTED.contains(&bug.name),
        });
        let chosen: Vec<_> = chosen.collect();
        if chosen.is_empty() {
            let names: Vec<_> = BUGS.iter().map(|bug| bug.name).collect();
            return Err(Failure::new(format!("there is no such bug; there are {}", names.join(", "))));
        }
        let amps = binary::amps_beside()?;
        let seed = args.seed.unwrap_or(0);
        let clean = run(args, seed, None, amps.clone())?;
        if !clean.is_good() {
            return Err(Failure::new(format!("without a bug a run with seed {seed} failed: {}", seen(&clean))));
        }
        let mut summary = Summary { bugs: chosen.len(), caught: 0, survived: Vec::new(), seconds: 0.0 };
        let mut rows = Vec::new();
        println!("{:<34} {:<22} {:>5} {:>8}", "bug", "caught by", "runs", "seconds");
        for bug in chosen {
            let (began, mut runs) = (Instant::now(), 0);
            let mut by = "NOBODY".to_owned();
            while runs < RUNS && by == "NOBODY" {
                runs += 1;
                // What cannot even begin fails, too.
                match run(args, seed + runs - 1, Some(bug.name), amps.clone()) {
                    Ok(outcome) if outcome.is_good() => {}
                    Ok(outcome) => by = seen(&outcome).to_owned(),
                    Err(failure) => by = short(&failure.to_string()).to_owned(),
                }
            }
            let seconds = began.elapsed().as_secs_f64();
            println!("{:<34} {by:<22} {runs:>5} {seconds:>8.1}", bug.name);
            match by.as_str() {
                "NOBODY" => summary.survived.push(bug.name),
                _ => summary.caught += 1,
            }
            summary.seconds += seconds;
            rows.push((bug.name.to_owned(), format!("{by}; {seconds:.0} seconds; {}", bug.what)));
        }
        for bug in &summary.survived {
            println!("{bug} was seen by nobody: a check is missing");
        }
        if let Some(file) = args.record.as_ref().filter(|_| args.bug.is_none()) {
            reliability::replace(file, reliability::PLANTED_CHAOS, &rows)?;
        }
        println!("{}", serde_json::to_string(&summary).map_err(|error| Failure::new(error.to_string()))?);
        Ok(summary.survived.is_empty())
    }

    fn run(args: &Args, seed: u64, bug: Option<&'static str>, amps: PathBuf) -> Result<Outcome, Failure> {
        let args = Args { duration: FAULTS, rate: RATE, ..args.clone() };
        let mut scenario = args.scenario(seed, Kinds::All)?;
        scenario.settle = SETTLE;
        scenario.page = Some(Path::new(PAGES).join(format!("{}.html", bug.unwrap_or("none"))));
        scenario.planted = Some(bug.unwrap_or_default());
        run::run(&scenario, amps)
    }

    /// The kind of what went wrong first: a violation, or else a problem.
    fn seen(outcome: &Outcome) -> &str {
        match (outcome.verdict.violations.first(), outcome.facts.problems.first()) {
            (Some(violation), _) => violation.kind.name(),
            (None, Some(problem)) => short(&problem.what),
            (None, None) => "",
        }
    }

    /// What fits into a table.
    fn short(text: &str) -> &str {
        let line = text.lines().next().unwrap_or_default();
        match line {
            late if late.contains("after the last fault") => "not settled",
            broken if broken.contains("protocol violation") => "protocol violation",
            ended if ended.contains(" ended with ") => "a process failed",
            other => other,
        }
    }
}
