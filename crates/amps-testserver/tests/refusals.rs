//! Nothing is passed over in silence: every command is answered, and every
//! option does something or is refused.

mod common;

use std::time::Duration;

use amps_core::message::MessageKind;
use amps_core::{AckType, Command, CommandKind, Field, Status};
use amps_testserver::{Config, MemoryJournal, QueueConfig};
use common::*;

const KINDS: [CommandKind; 5] = [
    CommandKind::Subscribe,
    CommandKind::DeltaSubscribe,
    CommandKind::Sow,
    CommandKind::SowAndSubscribe,
    CommandKind::SowAndDeltaSubscribe,
];

/// Options of the AMPS Command Reference with values that they take, and which of
/// the commands above take them (`y`): on a SOW topic; there with a bookmark, which
/// commands for deltas do not take; and on a queue, which is queried or subscribed
/// to.
const TAKEN: &[(&str, [&str; 3])] = &[
    ("none", ["yyyyy", "y.yy.", "yyy.."]),
    ("replace", ["yyyyy", "y.yy.", "yyy.."]),
    ("oof", ["yyyyy", "..y..", "..y.."]),
    ("timestamp", ["yyyyy", "y.yy.", "yyy.."]),
    ("bookmark", ["yy.yy", "y..y.", "yy..."]),
    ("no_sowkey", ["yyyyy", "y.yy.", "yyy.."]),
    ("send_keys", [".yyyy", "..yy.", ".yy.."]),
    ("no_empties", [".y..y", ".....", ".y..."]),
    ("non_regex_topic", ["yy.yy", "y..y.", "yy..."]),
    ("select=[-/,+/id]", ["yyyyy", "y.yy.", "yyy.."]),
    ("conflation=1s", ["yy.yy", "y..y.", "....."]),
    ("conflation=auto", ["yy.yy", "y..y.", "....."]),
    ("conflation=none", ["yy.yy", "y..y.", "yy..."]),
    ("conflation=1s,conflation_key=[/v]", ["yy.yy", "y..y.", "....."]),
    ("conflation=1s,conflation_key=[/id],oof", ["yy.yy", ".....", "....."]),
    ("conflation=1s,conflation_key=[/v],oof", [".....", ".....", "....."]),
    ("conflation_key=[/v]", [".....", ".....", "....."]),
    ("top_n=2", ["..yyy", "y.yy.", "..y.."]),
    ("top_n=2,skip_n=1", ["...yy", ".....", "....."]),
    ("skip_n=1", [".....", ".....", "....."]),
    ("projection=[SUM(/v) AS /sum],grouping=[/id]", ["..yyy", "..y..", "..y.."]),
    ("projection=[SUM(/v) AS /sum]", [".....", ".....", "....."]),
    ("grouping=[/id]", [".....", ".....", "....."]),
    ("live", [".....", "y..y.", "....."]),
    ("fully_durable", [".....", "y....", "....."]),
    ("bookmark_not_found=epoch", [".....", "y....", "....."]),
    ("bookmark_not_found=now", [".....", "y....", "....."]),
    ("bookmark_not_found=fail", [".....", "y....", "....."]),
    ("rate=100", [".....", "y..y.", "....."]),
    ("rate=100KB", [".....", "y..y.", "....."]),
    ("rate=2X,rate_max_gap=1s", [".....", "y..y.", "....."]),
    ("rate_max_gap=1s", [".....", ".....", "....."]),
    ("rate=100,live", [".....", ".....", "....."]),
    ("pause", [".....", "y..y.", "....."]),
    ("pause,live", [".....", ".....", "....."]),
    ("max_backlog=5", [".....", ".....", "yy..."]),
    // It names a subscription there is.
    ("resume", [".....", ".....", "....."]),
    ("pause,resume", [".....", ".....", "....."]),
    // Of other commands.
    ("cancel", [".....", ".....", "....."]),
    ("expire", [".....", ".....", "....."]),
    ("start,5", [".....", ".....", "....."]),
    ("beat", [".....", ".....", "....."]),
    ("ack_conflation=1s", [".....", ".....", "....."]),
    ("pretty", [".....", ".....", "....."]),
];

/// What no command takes.
const NONSENSE: &[&str] = &[
    "something_new",
    "something_new=5",
    "oof=1",
    "none=none",
    "timestamp=true",
    "top_n",
    "top_n=",
    "top_n=x",
    "top_n=-1",
    "max_backlog=many",
    "skip_n=1.5",
    "select",
    "select=[]",
    "select=[/id]",
    "select=[+/id",
    "conflation",
    "conflation=soon",
    "conflation=0s",
    "conflation=1s,conflation_key=[id]",
    "rate=0",
    "rate=fast",
    "rate=1,rate_max_gap=x",
    "bookmark_not_found=maybe",
    "projection=[SUM(/v)],grouping=[/id]",
    "projection=[NO_SUCH(/v) AS /v],grouping=[/id]",
    "oof oof",
    "=5",
    "[",
    "oof,something_new",
    "OOF",
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
        _ => {
            let reason = acks[0].text(Field::Reason).unwrap_or_default().into_owned();
            assert!(!reason.is_empty(), "{acks:?}");
            Err(reason)
        }
    }
}

/// The one ack to a header: success, or why not.
fn answer_to_text(header: &str) -> Result<(), String> {
    let mut bench = filled();
    let mut wire = bench.logon("c");
    bench.send_raw(&wire, header);
    let messages = bench.drain(&mut wire);
    let acks: Vec<_> = messages.iter().filter(|message| message.kind() == MessageKind::Ack).collect();
    assert_eq!(acks.len(), 1, "{header}: {acks:?}");
    match acks[0].status() {
        Status::Success => Ok(()),
        _ => Err(acks[0].text(Field::Reason).unwrap_or_default().into_owned()),
    }
}

#[test]
fn every_option_is_taken_where_the_documents_have_it_and_refused_elsewhere() {
    let mut wrong = Vec::new();
    for (options, taken) in TAKEN {
        for (place, taken) in ["on a topic", "from a bookmark", "on a queue"].into_iter().zip(taken) {
            let mut found = String::new();
            for kind in KINDS {
                let mut bench = filled();
                let mut wire = bench.logon("c");
                let topic = if place == "on a queue" { "q" } else { "w" };
                // Without a history a query starts its replay now.
                let start = if kind == CommandKind::SowAndSubscribe { "0|1|" } else { "0" };
                let start = Some(start).filter(|_| place == "from a bookmark");
                let command = Command::new(kind).id("1").topic(topic).text(Field::Options, *options);
                let answer = answer(&mut bench, &mut wire, command.maybe(Field::Bookmark, start));
                found.push(if answer.is_ok() { 'y' } else { '.' });
            }
            if found != *taken {
                wrong.push(format!("{options} {place}: {found}, not {taken}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A command that takes no options does not take them in silence either.
#[test]
fn nonsense_is_refused_by_every_command() {
    let header = |command: &str, more: &str| format!(r#"{{"c":"{command}","cid":"1","a":"processed"{more}}}"#);
    for nonsense in NONSENSE {
        let options = format!(r#","o":"{nonsense}""#);
        for (command, more) in [
            ("publish", r#","t":"w""#),
            ("p", r#","t":"plain","s":9"#),
            ("delta_publish", r#","t":"w""#),
            ("subscribe", r#","t":"w""#),
            ("subscribe", r#","t":"w","bm":"0""#),
            ("subscribe", r#","t":"^w""#),
            ("subscribe", r#","t":"q""#),
            ("delta_subscribe", r#","t":"w""#),
            ("sow", r#","t":"w""#),
            ("sow_and_subscribe", r#","t":"w""#),
            ("sow_and_delta_subscribe", r#","t":"w""#),
            ("sow_delete", r#","t":"w","f":"1=1""#),
            ("sow_delete", r#","t":"q","bm":"1|1|""#),
            ("unsubscribe", r#","sub_id":"all""#),
            ("flush", ""),
            ("heartbeat", ""),
            ("start_timer", ""),
            ("stop_timer", ""),
        ] {
            let refused = answer_to_text(&header(command, &format!("{more}{options}")));
            assert_eq!(refused, Err("invalid options".to_owned()), "{command} {more} {nonsense}");
        }
    }
    // Where something else is right.
    for (command, more) in [
        ("heartbeat", r#","o":"start,5,beat""#),
        ("heartbeat", r#","o":"start""#),
        ("heartbeat", r#","o":"beat,5""#),
        ("sow_delete", r#","t":"q","bm":"1|1|","o":"cancel,expire""#),
        ("sow_delete", r#","t":"w","f":"1=1","o":"cancel""#),
        ("publish", r#","t":"w","o":"oof""#),
        ("flush", r#","o":"start,5""#),
    ] {
        assert_eq!(answer_to_text(&header(command, more)), Err("invalid options".to_owned()), "{command} {more}");
    }
    for command in ["flush", "start_timer", "stop_timer"] {
        assert_eq!(answer_to_text(&header(command, r#","o":"none""#)), Ok(()), "{command}");
    }
}

#[test]
fn a_logon_takes_its_own_options_and_no_others() {
    for (options, taken) in [
        ("", true),
        ("none", true),
        ("pretty", true),
        ("pretty=true", true),
        ("ack_conflation=100ms", true),
        ("ack_conflation=100ms, pretty=false", true),
        ("pretty=nicely", false),
        ("none=none", false),
        ("ack_conflation", false),
        ("ack_conflation=often", false),
        ("oof", false),
        ("something_new=5", false),
    ] {
        let mut bench = filled();
        let mut wire = bench.connect();
        bench.send(&wire, logon("c").text(Field::Options, options));
        let lines = bench.lines(&mut wire);
        assert_eq!(lines.len(), 1, "{options}: {lines:?}");
        assert_eq!(lines[0].contains("failure=invalid options"), !taken, "{options}: {lines:?}");
        assert_eq!(bench.engine.should_close(wire.id), !taken, "{options}");
    }
}

/// A number that is none is not taken for a number that is not there.
#[test]
fn a_field_that_should_be_a_number_is_one() {
    for (command, field, refused) in [
        ("subscribe", r#""top_n":"x""#, true),
        ("sow", r#""top_n":-1"#, true),
        ("sow", r#""top_n":"2""#, false),
        ("sow", r#""bs":"x""#, true),
        ("sow", r#""bs":0"#, true),
        ("sow", r#""bs":10000"#, false),
        ("sow", r#""bs":10001"#, true),
        ("sow_and_subscribe", r#""bs":true"#, true),
        ("publish", r#""e":"soon""#, true),
        ("delta_publish", r#""e":-5"#, true),
        ("publish", r#""e":5"#, false),
    ] {
        let header = format!(r#"{{"c":"{command}","cid":"1","t":"plain","a":"processed",{field}}}"#);
        let header = if command == "sow" { header.replace("plain", "w") } else { header };
        let expected = if refused { Err("invalid options".to_owned()) } else { Ok(()) };
        assert_eq!(answer_to_text(&header), expected, "{header}");
    }
}

/// The fields that are older than the options (AMPS Command Reference, "AMPS
/// Protocol").
#[test]
fn fields_of_older_clients_are_the_options_of_that_name() {
    for (command, field, taken) in [
        ("subscribe", r#""send_oof":true"#, true),
        ("subscribe", r#""send_oof":"true""#, true),
        ("subscribe", r#""send_oof":maybe"#, false),
        ("subscribe", r#""send_oof":true,"bm":"0""#, false),
        ("subscribe", r#""send_keys":true"#, false),
        ("subscribe", r#""send_keys":false"#, true),
        ("delta_subscribe", r#""send_keys":true,"send_empty":false"#, true),
        ("sow_and_subscribe", r#""send_empty":false"#, false),
        ("sow_and_subscribe", r#""send_matching_ids":true,"send_empty":true"#, true),
        ("subscribe", r#""data_only":true"#, false),
        ("subscribe", r#""data_only":false"#, true),
    ] {
        let header = format!(r#"{{"c":"{command}","cid":"1","t":"w","a":"processed",{field}}}"#);
        assert_eq!(answer_to_text(&header).is_ok(), taken, "{header}");
    }
    let mut bench = filled();
    let (publisher, mut wire) = (bench.logon("p2"), bench.logon("c"));
    bench.send_raw(&wire, r#"{"c":"subscribe","cid":"1","t":"w","f":"/v < 9","send_oof":true}"#);
    bench.send(&publisher, record("w", 1, r#"{"id":1,"v":9}"#));
    assert_eq!(told(&bench.drain(&mut wire)), [r#"-match {"id":1,"v":9}"#]);
}

#[test]
fn an_option_for_a_subscription_that_is_there_is_answered_too() {
    let mut bench = filled();
    let mut wire = bench.logon("c");
    let command = |kind| Command::new(kind).id("1").topic("w").text(Field::SubscriptionId, "s");
    let subscribe = || command(CommandKind::Subscribe);
    assert_eq!(answer(&mut bench, &mut wire, subscribe().text(Field::Bookmark, "0")), Ok(()));
    for kind in [CommandKind::Subscribe, CommandKind::SowAndSubscribe] {
        for options in ["pause", "resume"] {
            let answer = answer(&mut bench, &mut wire, command(kind).text(Field::Options, options));
            assert_eq!(answer, Ok(()), "{kind:?} {options}");
        }
    }
    assert_eq!(answer(&mut bench, &mut wire, subscribe().text(Field::Options, "replace")), Ok(()));
    let both = answer(&mut bench, &mut wire, subscribe().text(Field::Options, "pause,resume"));
    assert_eq!(both, Err("invalid options".to_owned()));
}

#[test]
fn every_kind_of_command_is_answered_with_every_ack_it_has() {
    for (kind, more, acks) in [
        ("publish", r#","t":"w","s":1"#, "received,processed,completed,persisted"),
        ("p", r#","t":"w","s":1"#, "received,processed,completed,persisted"),
        ("delta_publish", r#","t":"w","s":1"#, "received,processed,completed,persisted"),
        ("subscribe", r#","t":"w""#, "received,processed"),
        ("subscribe", r#","t":"w","bm":"0""#, "received,processed,completed,persisted"),
        ("delta_subscribe", r#","t":"w""#, "received,processed,stats"),
        ("sow", r#","t":"w""#, "received,processed,completed,stats"),
        ("sow_and_subscribe", r#","t":"w""#, "received,processed,completed,stats"),
        ("sow_and_delta_subscribe", r#","t":"w""#, "received,processed,completed,stats"),
        ("sow_delete", r#","t":"w","f":"1=1","s":1"#, "received,processed,completed,persisted,stats"),
        ("sow_delete", r#","t":"q","bm":"1|1|","s":1"#, "received,processed,completed,persisted,stats"),
        ("unsubscribe", r#","sub_id":"all""#, "received,processed"),
        ("flush", "", "received,processed,completed,persisted"),
        ("heartbeat", r#","o":"start,50""#, "received,processed"),
        ("start_timer", "", "received,processed"),
        ("stop_timer", "", "received,processed"),
    ] {
        let mut bench = filled();
        let mut wire = bench.logon("c");
        let body = if kind.contains("publish") || kind == "p" { r#"{"id":7}"# } else { "" };
        let header = format!(r#"{{"c":"{kind}","cid":"1","a":"{acks}"{more}}}"#);
        bench.send_raw(&wire, &(header + body));
        let mut messages = bench.drain(&mut wire);
        bench.pass(Duration::from_secs(2));
        messages.extend(bench.drain(&mut wire));
        let got = messages.iter().filter(|message| message.kind() == MessageKind::Ack);
        let mut got: Vec<_> = got.map(|ack| (ack.raw(Field::AckType).unwrap(), ack.status())).collect();
        got.sort_by_key(|(kind, _)| acks.find(kind));
        let expected: Vec<_> = acks.split(',').map(|ack| (ack, Status::Success)).collect();
        assert_eq!(got, expected, "{kind} {more}");
    }
}

#[test]
fn a_topic_of_the_servers_own_that_there_is_not_is_refused() {
    for (topic, taken) in [
        ("/AMPS/ClientStatus", true),
        ("/AMPS/SOWStats", false),
        ("/AMPS/Tx/Checkpoint", false),
        ("/AMPS/Queue/q", false),
        ("/ampsy", true),
    ] {
        for kind in ["subscribe", "delta_subscribe", "sow_and_subscribe"] {
            let header = format!(r#"{{"c":"{kind}","cid":"1","t":"{topic}","a":"processed"}}"#);
            let expected = if taken { Ok(()) } else { Err("invalid topic".to_owned()) };
            assert_eq!(answer_to_text(&header), expected, "{kind} {topic}");
        }
    }
}

/// The connection ends (AMPS User Guide, "Troubleshooting Disconnected Clients"),
/// behind an answer to who asked for one.
#[test]
fn what_is_no_command_is_answered_and_ends_the_connection() {
    for (command, reason) in [
        (r#""c":"ack""#, "unknown command"),
        (r#""c":"group_begin""#, "unknown command"),
        (r#""c":"oof""#, "unknown command"),
        (r#""c":"something_new","t":"w""#, "unknown command"),
        (r#""c":"replica","t":"w""#, "unknown command"),
        (r#""c":"""#, "unknown command"),
        (r#""c":"subscribe""#, "malformed command"),
        (r#""c":"subscribe","t":"""#, "malformed command"),
        (r#""c":"sow""#, "malformed command"),
        (r#""c":"sow_delete","f":"1=1""#, "malformed command"),
        (r#""c":"p","s":1"#, "malformed command"),
        (r#""c":"p","t":"w","s":0"#, "malformed command"),
        (r#""c":"p","t":"w","s":"x""#, "malformed command"),
        (r#""c":"p","t":"w","s":-1"#, "malformed command"),
    ] {
        for asked in [true, false] {
            let mut bench = filled();
            let mut wire = bench.logon("c");
            let acks = if asked { r#","cid":"1","a":"processed""# } else { "" };
            bench.send_raw(&wire, &format!("{{{command}{acks}}}"));
            let lines = bench.lines(&mut wire);
            let failures: Vec<_> = lines.iter().filter_map(|line| line.split_once("failure=")).collect();
            assert_eq!(failures.len(), usize::from(asked), "{command}: {lines:?}");
            assert!(failures.iter().all(|(_, said)| *said == reason), "{command}: {lines:?}");
            assert!(bench.engine.should_close(wire.id), "{command}");
            assert_eq!(bench.engine.stats().violations.len(), 1, "{command}");
        }
    }
}
