//! `cargo xtask sim --planted`: whether every planted bug is seen.

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
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::sync::{Mutex, PoisonError};
    use std::thread;
    use std::time::{Duration, Instant};

    use amps_core::planted::{self, BUGS, Bug};
    use amps_tests::sim::{Plan, Profile, Violation, run};
    use serde::Serialize;

    use super::super::Args;
    use crate::{Failure, reliability};

    /// How many seeds each bug is given, at most.
    const SEEDS: u64 = 20_000;
    /// How many seeds must be clean without a bug.
    const CLEAN: u64 = 200;

    /// The last line of the output.
    #[derive(Serialize)]
    struct Summary {
        bugs: usize,
        caught: usize,
        survived: Vec<&'static str>,
        seeds: u64,
        seconds: f64,
    }

    /// How a hunt ended.
    struct Hunt {
        found: Option<(u64, Violation)>,
        seeds: u64,
        time: Duration,
    }

    /// Hunts each bug. Says whether all were caught, and nothing without them.
    ///
    /// # Errors
    /// When it cannot be carried out.
    pub(in crate::sim) fn hunt(args: &Args) -> Result<bool, Failure> {
        let chosen: Vec<&Bug> =
            BUGS.iter().filter(|bug| args.bug.as_deref().is_none_or(|name| name == bug.name)).collect();
        if chosen.is_empty() {
            let names: Vec<_> = BUGS.iter().map(|bug| bug.name).collect();
            return Err(Failure::new(format!("there is no such bug; there are {}", names.join(", "))));
        }
        std::panic::set_hook(Box::new(|_| {}));
        let from = args.from.unwrap_or(0);
        let all = || Profile::ALL.into_iter().filter(|profile| *profile != Profile::Calm).collect();
        let profiles: Vec<Profile> = args.profile.map_or_else(all, |profile| vec![profile]);
        if let Some((seed, _)) = search(&profiles, from, CLEAN, args.threads()).found {
            unbroken(profile_of(&profiles, seed), seed)?;
        }
        let mut summary = Summary { bugs: chosen.len(), caught: 0, survived: Vec::new(), seeds: 0, seconds: 0.0 };
        let mut rows = Vec::new();
        println!("{:<34} {:<26} {:>6} {:>8}  seed", "bug", "caught by", "seeds", "seconds");
        for bug in chosen {
            planted::choose(Some(bug.name));
            let hunt = search(&profiles, from, args.seeds.unwrap_or(SEEDS), args.threads());
            planted::choose(None);
            if let Some((seed, _)) = hunt.found {
                unbroken(profile_of(&profiles, seed), seed)?;
            }
            let (rule, seed) = match &hunt.found {
                Some((seed, violation)) => (violation.rule, format!("{seed} of {}", profile_of(&profiles, *seed))),
                None => ("NOBODY", String::new()),
            };
            println!("{:<34} {rule:<26} {:>6} {:>8.1}  {seed}", bug.name, hunt.seeds, hunt.time.as_secs_f64());
            match hunt.found {
                Some(_) => summary.caught += 1,
                None => summary.survived.push(bug.name),
            }
            summary.seeds += hunt.seeds;
            summary.seconds += hunt.time.as_secs_f64();
            let expected = if rule == bug.seen_by { "" } else { " (meant for another)" };
            rows.push((bug.name.to_owned(), format!("{rule}{expected}; {} seeds; {}", hunt.seeds, bug.what)));
        }
        for bug in &summary.survived {
            println!("{bug} was seen by nobody: a check is missing");
        }
        if let Some(file) = args.record.as_ref().filter(|_| args.bug.is_none()) {
            reliability::replace(file, "planted", &rows)?;
        }
        println!("{}", serde_json::to_string(&summary).map_err(|error| Failure::new(error.to_string()))?);
        Ok(summary.survived.is_empty())
    }

    /// What breaks a rule without a bug tells nothing of one.
    fn unbroken(profile: Profile, seed: u64) -> Result<(), Failure> {
        match run(&Plan::of(profile, seed)).violations.first() {
            Some(violation) => Err(Failure::new(format!("without a bug, seed {seed} of {profile}: {violation}"))),
            None => Ok(()),
        }
    }

    fn profile_of(profiles: &[Profile], seed: u64) -> Profile {
        profiles[(seed % profiles.len() as u64) as usize]
    }

    /// Runs seeds until one breaks a rule.
    fn search(profiles: &[Profile], from: u64, seeds: u64, threads: usize) -> Hunt {
        let began = Instant::now();
        let (next, found, stop) = (AtomicU64::new(from), Mutex::new(None), AtomicBool::new(false));
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= from + seeds {
                            break;
                        }
                        let profile = profile_of(profiles, seed);
                        let violation = run(&Plan::of(profile, seed)).violations.into_iter().next();
                        if let Some(violation) = violation {
                            stop.store(true, Ordering::Relaxed);
                            found.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert((seed, violation));
                        }
                    }
                });
            }
        });
        let tried = next.into_inner().min(from + seeds) - from;
        let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        Hunt { found, seeds: tried, time: began.elapsed() }
    }
}
