//! `cargo xtask`: real processes, real kills, and a verdict from files.

mod binary;
mod failure;
mod input;
mod interrupt;
mod ledger;
mod output;
mod ports;
mod process;
mod recovery;
mod report;
mod schedule;
mod verdict;

use failure::Failure;

fn main() {}
