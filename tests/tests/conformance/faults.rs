//! One broken rule each, and the checks that have to see it.

use super::tamper::{Change, Frame, Memory};

/// A rule that is broken.
pub(crate) struct Fault {
    pub(crate) what: &'static str,
    pub(crate) change: Change,
    /// Checks that fail because of it.
    pub(crate) seen_by: &'static [&'static str],
}

macro_rules! faults {
    ($($what:literal => $change:expr, [$($check:literal),+];)+) => {
        &[$(Fault { what: $what, change: $change, seen_by: &[$($check),+] }),+]
    };
}

pub(crate) const FAULTS: &[Fault] = faults! {
    "failures are told as successes" => |_, f| one(f.with(r#""status":"failure""#, r#""status":"success""#)),
        ["filter/bad", "topic/regex-bad", "sow/no-sow-topic", "sow/batch-too-large", "logon/second", "delta_subscribe/no-bookmark"];
    "success acks without a status" => |m, f| one(if logged_on(m, &f) { f.with(r#","status":"success""#, "") } else { f }),
        ["subscribe/ack-of-each-type", "flush/ack-of-each-type"];
    "acks that nobody asked for" => |_, f| one(if f.header.contains("\"unasked\"") { f.and(r#""a":"processed""#) } else { f }),
        ["publish/no-ack-unasked", "logon/no-ack-unasked"];
    "acks twice" => |m, f| if logged_on(m, &f) && f.is("ack") { vec![f.clone(), f] } else { one(f) },
        ["publish/ack-of-each-type"];
    "logon acks with another name" => |_, f| one(f.with(r#""client_name":"conf"#, r#""client_name":"x"#)),
        ["logon/client-name"];
    "logon acks of names that are not new" => |_, f| one(if f.header.contains("-never-used") { f.with(r#""s":0"#, r#""s":3"#) } else { f }),
        ["logon/sequence-of-a-new-name"];
    "logons with a correlation id are refused" => |_, f| one(if f.is("logon") && f.header.contains(r#""x":"#) { f.with(r#""json""#, r#""none""#) } else { f }),
        ["logon/correlation-id"];
    "logon acks without a version" => |_, f| one(if f.from_server { f.without("version") } else { f }),
        ["logon/version"];
    "logon acks that know of no sequence" => |_, f| one(if f.header.contains(r#""client_name""#) { f.with(r#""s":7"#, r#""s":0"#) } else { f }),
        ["logon/sequence-of-a-known-name"];
    "logon acks with another bookmark" => |_, f| one(if f.header.contains(r#""client_name""#) { f.with("|7|", "|6|") } else { f }),
        ["logon/bookmark-of-a-known-name"];
    "every third message is lost" => |m, f| if nth(m, &f, 3) { vec![] } else { one(f) },
        ["publish/order", "sequence/gaps", "replay/no-gap", "sow_and_subscribe/nothing-missed-nothing-twice"];
    "every third message comes twice" => |m, f| if nth(m, &f, 3) { vec![f.clone(), f] } else { one(f) },
        ["publish/order", "replay/no-gap", "queue/order"];
    "messages change places" => swapped,
        ["publish/order", "replay/no-gap", "bookmark/epoch"];
    "bodies change" => |_, f| one(longer(f)),
        ["publish/delivered", "publish/body-unchanged", "frame/large"];
    "messages have another topic" => |_, f| one(if message(&f) { f.with(r#""t":""#, r#""t":"x"#) } else { f }),
        ["publish/delivered", "topic/regex-of-a-new-topic"];
    "messages have no subscription" => |_, f| one(if message(&f) { f.without("sids") } else { f }),
        ["subscribe/own-id", "subscribe/command-id-as-id", "publish/one-message-a-connection"];
    "messages have no correlation id" => |_, f| one(if f.from_server { f.without("x") } else { f }),
        ["publish/correlation-id", "delta_publish/correlation-id"];
    "messages have no SOW key" => |_, f| one(if message(&f) { f.without("k") } else { f }),
        ["subscribe/sow-key", "oof/key-and-subscription"];
    "messages have no bookmark" => |_, f| one(if message(&f) { f.without("bm") } else { f }),
        ["subscribe/option-bookmark", "bookmark/messages-have-bookmarks", "sequence/bookmark", "queue/delivered"];
    "filters are not heeded" => |_, f| one(if f.is("subscribe") { f.without("f") } else { f }),
        ["filter/equal-number", "filter/like", "bookmark/filter", "queue/filter", "subscribe/replace-filter"];
    "filters of queries are not heeded" => |_, f| one(if f.is("sow") || f.is("sow_and_subscribe") { f.with("/n ", "0 <> /n + ") } else { f }),
        ["sow/filter", "sow_and_subscribe/filter"];
    "options are not heeded" => |_, f| one(if f.from_server { f } else { f.without("o") }),
        ["topic/non-regex-topic", "subscribe/option-timestamp", "subscribe/option-select", "subscribe/replace-topic",
         "subscribe/conflation", "sow/skip-n", "oof/match", "replay/rate", "replay/pause-and-resume", "queue/cancel"];
    "topics are never patterns" => |_, f| one(if f.is("subscribe") { f.and(r#""o":"non_regex_topic""#) } else { f }),
        ["topic/regex", "topic/regex-anywhere", "bookmark/regex-topic"];
    "sequences are not heeded" => |_, f| one(unnumbered(f)),
        ["sequence/duplicate", "sequence/lower", "sequence/bookmark", "sequence/persisted"];
    "conflated acks have a command id" => |_, f| one(if persisted(&f) { f.and(r#""cid":"1""#) } else { f }),
        ["sequence/acks-without-command-id"];
    "persisted acks do not come" => |_, f| if persisted(&f) { vec![] } else { one(f) },
        ["sequence/persisted", "sequence/any-topic", "replay/persisted-acks", "flush/persisted"];
    "group_begin does not come" => |_, f| if f.is("group_begin") { vec![] } else { one(f) },
        ["sow/markers", "sow/markers-around-nothing", "sow_and_subscribe/no-sow-topic"];
    "batches lie about their size" => |_, f| one(if f.from_server { f.with(r#""bs":1}"#, r#""bs":2}"#) } else { f }),
        ["sow/records", "sow/one-record-a-frame"];
    "batch sizes are not heeded" => |_, f| one(f.with(r#""bs":10,"#, r#""bs":1000,"#)),
        ["sow/batches"];
    "queries have no order and no bound" => |_, f| one(f.without("orderby").with(r#""top_n":2"#, r#""top_n":99"#)),
        ["sow/orderby", "sow/orderby-descending", "sow/top-n", "sow_and_subscribe/top-n"];
    "queries count wrongly" => |_, f| one(f.with(r#""matches":3"#, r#""matches":4"#)),
        ["sow/stats", "sow/only-counts"];
    "deltas are taken for whole messages" => |_, f| one(f.with(r#""c":"delta_publish""#, r#""c":"publish""#)),
        ["delta_publish/merges", "delta_publish/nested", "bookmark/delta-is-whole", "oof/merged-body"];
    "delta subscriptions get everything" => |_, f| one(f.with(r#""c":"delta_subscribe""#, r#""c":"subscribe""#).with("no_empties,send_keys", "none")),
        ["delta_subscribe/changed-fields", "delta_subscribe/empty", "delta_subscribe/no-empties", "delta_subscribe/no-bookmark"];
    "records go out of focus for the wrong reason" => |_, f| one(f.with(r#""reason":"match""#, r#""reason":"deleted""#)),
        ["oof/match"];
    "records go out of focus without a word" => |_, f| if f.is("oof") { vec![] } else { one(f) },
        ["oof/match", "oof/deleted", "sow_and_subscribe/page"];
    "deletions delete nothing" => |_, f| one(if f.is("sow_delete") { f.with("/n >", "/no >").with("/n <", "/no <").with("/n =", "/no =") } else { f }),
        ["sow_delete/by-filter", "sow_delete/stats", "sow_delete/regex-topic"];
    "deletions count wrongly" => |_, f| one(f.with(r#""records_deleted":2"#, r#""records_deleted":1"#)),
        ["sow_delete/stats"];
    "bookmarks are not heeded: now" => |_, f| one(from(f, "0|1|")),
        ["bookmark/epoch", "bookmark/behind-a-message", "bookmark/time", "bookmark/unknown-in-a-list", "replay/then-live", "queue/replay"];
    "bookmarks are not heeded: epoch" => |_, f| one(from(f, "0")),
        ["bookmark/now", "bookmark/behind-a-message", "bookmark/earliest-of-a-list", "bookmark/unknown", "bookmark/range-with-ends"];
    "completed before the replay" => early,
        ["replay/completed", "bookmark/epoch"];
    "unsubscribing ends nothing" => |_, f| one(f.with(r#""c":"unsubscribe""#, r#""c":"flush""#)),
        ["unsubscribe/one", "unsubscribe/list", "unsubscribe/all", "replay/unsubscribe", "queue/unsubscribe", "sow_and_subscribe/unsubscribe"];
    "acknowledging gives back" => |_, f| one(if f.is("sow_delete") && f.header.contains("\"bm\"") { f.without("o").and(r#""o":"cancel""#) } else { f }),
        ["queue/ack", "queue/order", "queue/ack-of-a-list", "queue/expire"];
    "backlogs are not heeded" => |_, f| one(if f.is("subscribe") { f.without("o").and(r#""o":"max_backlog=9""#) } else { f }),
        ["queue/backlog", "queue/backlog-of-one"];
    "heartbeats do not come" => |_, f| if f.is("heartbeat") && f.from_server { vec![] } else { one(f) },
        ["heartbeat/when-idle"];
    "heartbeats that nobody asked for" => |_, f| if f.is("ack") { vec![f.clone(), Frame { header: r#"{"c":"heartbeat"}"#.to_owned(), ..f }] } else { one(f) },
        ["heartbeat/none-unasked"];
    "answers to heartbeats are lost" => |_, f| if f.header.contains(r#""o":"beat""#) { vec![] } else { one(f) },
        ["heartbeat/answered-stays-open"];
    "unknown commands are passed over" => |_, f| if f.is("no_such_command") { vec![] } else { one(f) },
        ["frame/unknown-command"];
    "what is sent is no message" => |_, f| one(f.with(r#"{"c":"p""#, r#"{c:"p""#)),
        ["publish/delivered", "replay/completed", "queue/delivered"];
};

fn one(frame: Frame) -> Vec<Frame> {
    vec![frame]
}

/// A message to a subscription.
fn message(frame: &Frame) -> bool {
    frame.from_server && frame.is("p")
}

fn persisted(frame: &Frame) -> bool {
    frame.is("ack") && frame.header.contains(r#""a":"persisted""#)
}

/// Whether it is an ack, and not the first of its connection.
fn logged_on(memory: &mut Memory, frame: &Frame) -> bool {
    memory.count += u64::from(frame.from_server);
    frame.is("ack") && memory.count > 1
}

/// Whether it is the nth, 2nth and so on message.
fn nth(memory: &mut Memory, frame: &Frame, n: u64) -> bool {
    memory.count += u64::from(message(frame));
    message(frame) && memory.count.is_multiple_of(n)
}

/// Every second message waits for the one behind it.
fn swapped(memory: &mut Memory, frame: Frame) -> Vec<Frame> {
    if !message(&frame) {
        return vec![frame];
    }
    match memory.held.pop() {
        Some(held) => vec![frame, held],
        None => {
            memory.held.push(frame);
            vec![]
        }
    }
}

/// Messages wait for a completed ack.
fn early(memory: &mut Memory, frame: Frame) -> Vec<Frame> {
    if message(&frame) {
        memory.held.push(frame);
        return vec![];
    }
    let ends = frame.header.contains(r#""a":"completed""#);
    let held = if ends { std::mem::take(&mut memory.held) } else { Vec::new() };
    [frame].into_iter().chain(held).collect()
}

fn longer(frame: Frame) -> Frame {
    if !message(&frame) {
        return frame;
    }
    let body = [&frame.body[..], b" "].concat().into();
    Frame { body, ..frame }
}

/// A publish without its sequence.
fn unnumbered(frame: Frame) -> Frame {
    if frame.from_server || !frame.is("p") {
        return frame;
    }
    let Some(start) = frame.header.find(",\"s\":") else { return frame };
    let digits = frame.header[start + 5..].bytes().take_while(u8::is_ascii_digit).count();
    let mut header = frame.header.clone();
    header.replace_range(start..start + 5 + digits, "");
    Frame { header, ..frame }
}

/// A subscription that starts somewhere else, if it starts from a bookmark.
fn from(frame: Frame, start: &str) -> Frame {
    if !frame.is("subscribe") || !frame.header.contains("\"bm\"") {
        return frame;
    }
    frame.without("bm").and(&format!("\"bm\":\"{start}\""))
}
