//! Nothing is passed over in silence: every command is answered, and every
//! option does something or is refused.

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use amps_core::message::MessageKind;
use amps_core::{AckType, Command, CommandKind, Field, Status};
use amps_testserver::{Config, MemoryJournal, QueueConfig};
use common::*;

/// Every option of the AMPS Command Reference with a value that it takes.
const OPTIONS: &[&str] = &[
    "none",
    "replace",
    "oof",
    "timestamp",
    "bookmark",
    "no_sowkey",
    "send_keys",
    "no_empties",
    "non_regex_topic",
    "select=[-/,+/id]",
    "conflation=1s",
    "conflation=auto",
    "conflation=none",
    "conflation=1s,conflation_key=[/id]",
    "top_n=2",
    "top_n=2,skip_n=1",
    "projection=[SUM(/v) AS /sum],grouping=[/id]",
    "live",
    "fully_durable",
    "bookmark_not_found=epoch",
    "bookmark_not_found=now",
    "bookmark_not_found=fail",
    "rate=100",
    "rate=100KB",
    "rate=2X,rate_max_gap=1s",
    "pause",
    "max_backlog=5",
];

/// Those of other commands, of none, and what names a subscription there is.
const REFUSED: &[&str] = &[
    "resume",
    "cancel",
    "expire",
    "start,5",
    "beat",
    "ack_conflation=1s",
    "pretty",
    "something_new",
    "something_new=5",
    "oof=1",
    "top_n",
];

const KINDS: [CommandKind; 5] = [
    CommandKind::Subscribe,
    CommandKind::DeltaSubscribe,
    CommandKind::Sow,
    CommandKind::SowAndSubscribe,
    CommandKind::SowAndDeltaSubscribe,
];

fn filled() -> Bench {
    let config = Config::new("A").sow("w", "/id").queue(QueueConfig::new("q"));
    let mut bench = bench_on(config, MemoryJournal::new());
    let publisher = bench.logon("p");
    for id in 1..=3 {
        let record = Command::new(CommandKind::Publish).topic("w").number(Field::Sequence, id);
        bench.send(&publisher, record.body(format!(r#"{{"id":{id},"v":{id}}}"#)));
    }
    bench
}

/// The one processed ack to a command: success, or why not.
fn answer(bench: &mut Bench, wire: &mut Wire, command: Command) -> Result<(), String> {
    bench.send(wire, command.acks(AckType::Processed));
    let messages = bench.drain(wire);
    let acks: Vec<_> = messages.iter().filter(|message| message.kind() == MessageKind::Ack).collect();
    assert_eq!(acks.len(), 1, "{acks:?}");
    assert!(!bench.engine.should_close(wire.id));
    match acks[0].status() {
        Status::Success => Ok(()),
        _ => Err(acks[0].text(Field::Reason).unwrap_or_default().into_owned()),
    }
}

#[test]
fn every_option_is_answered_for_every_command_with_and_without_a_bookmark() {
    let mut taken = BTreeSet::new();
    for kind in KINDS {
        for options in OPTIONS.iter().chain(REFUSED) {
            for (bookmark, topic) in [(None, "w"), (Some("0"), "w"), (None, "q"), (None, "^w")] {
                let mut bench = filled();
                let mut wire = bench.logon("c");
                let command = Command::new(kind).id("1").topic(topic).text(Field::Options, *options);
                match answer(&mut bench, &mut wire, command.maybe(Field::Bookmark, bookmark)) {
                    Ok(()) => drop(taken.insert(*options)),
                    Err(reason) => assert!(!reason.is_empty(), "{kind:?} {options} {bookmark:?} {topic}"),
                }
            }
        }
    }
    assert_eq!(taken, OPTIONS.iter().copied().collect());
}

#[test]
fn an_option_of_another_command_is_refused() {
    let mut bench = filled();
    let mut wire = bench.logon("c");
    for (kind, options) in [
        (CommandKind::Sow, "bookmark"),
        (CommandKind::Sow, "live"),
        (CommandKind::Sow, "rate=5"),
        (CommandKind::Sow, "conflation=1s"),
        (CommandKind::Sow, "max_backlog=5"),
        (CommandKind::Subscribe, "no_empties"),
        (CommandKind::Subscribe, "send_keys"),
        (CommandKind::Subscribe, "live"),
        (CommandKind::Subscribe, "fully_durable"),
        (CommandKind::Subscribe, "bookmark_not_found=epoch"),
        (CommandKind::SowAndSubscribe, "no_empties"),
        (CommandKind::SowAndSubscribe, "bookmark_not_found=fail"),
        (CommandKind::SowAndSubscribe, "fully_durable"),
        (CommandKind::SowAndSubscribe, "max_backlog=5"),
        (CommandKind::SowAndDeltaSubscribe, "max_backlog=5"),
        (CommandKind::SowDelete, "oof"),
        (CommandKind::SowDelete, "rate=5"),
    ] {
        let command = Command::new(kind).id("1").topic("w").text(Field::Options, options).text(Field::Filter, "1=1");
        let refused = answer(&mut bench, &mut wire, command);
        assert_eq!(refused, Err("invalid options".to_owned()), "{kind:?} {options}");
    }
}

#[test]
fn an_option_for_a_subscription_that_is_there_is_answered_too() {
    let mut bench = filled();
    let mut wire = bench.logon("c");
    let command = || Command::new(CommandKind::Subscribe).id("1").topic("w").text(Field::SubscriptionId, "s");
    assert_eq!(answer(&mut bench, &mut wire, command().text(Field::Bookmark, "0")), Ok(()));
    for options in ["pause", "resume", "replace"] {
        assert_eq!(answer(&mut bench, &mut wire, command().text(Field::Options, options)), Ok(()), "{options}");
    }
    let both = answer(&mut bench, &mut wire, command().text(Field::Options, "pause,resume"));
    assert_eq!(both, Err("invalid options".to_owned()));
}

#[test]
fn every_kind_of_command_is_answered() {
    for kind in [
        "publish",
        "p",
        "delta_publish",
        "subscribe",
        "delta_subscribe",
        "sow",
        "sow_and_subscribe",
        "sow_and_delta_subscribe",
        "sow_delete",
        "unsubscribe",
        "flush",
        "heartbeat",
        "start_timer",
        "stop_timer",
    ] {
        let mut bench = filled();
        let mut wire = bench.logon("c");
        let header = match kind {
            "heartbeat" => format!(r#"{{"c":"{kind}","cid":"1","o":"start,5","a":"processed"}}"#),
            "unsubscribe" => format!(r#"{{"c":"{kind}","cid":"1","sub_id":"all","a":"processed"}}"#),
            "sow_delete" => format!(r#"{{"c":"{kind}","cid":"1","t":"w","f":"1=1","s":1,"a":"processed"}}"#),
            _ => format!(r#"{{"c":"{kind}","cid":"1","t":"plain","a":"processed"}}"#),
        };
        bench.send_raw(&wire, &header);
        let answers = bench.lines(&mut wire);
        assert_eq!(answers.iter().filter(|line| line.starts_with("ack processed")).count(), 1, "{kind}: {answers:?}");
    }
}

#[test]
fn a_command_there_is_not_ends_the_connection_and_says_why() {
    for kind in ["ack", "group_begin", "oof", "something_new", ""] {
        let mut bench = filled();
        let wire = bench.logon("c");
        bench.send_raw(&wire, &format!(r#"{{"c":"{kind}","cid":"1","t":"w","a":"processed"}}"#));
        bench.pass(Duration::ZERO);
        assert!(bench.engine.should_close(wire.id), "{kind}");
        let said = format!("{:?}", bench.engine.stats());
        assert!(said.contains("unknown command") || said.contains("malformed"), "{kind}: {said}");
    }
}
