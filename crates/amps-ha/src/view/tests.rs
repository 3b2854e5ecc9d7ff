use std::borrow::Cow;
use std::sync::Arc;

use amps_core::header::FrameWriter;
use amps_core::{Field, Message};
use proptest::prelude::*;

use super::oracle::{Id, Op, SOW_KEYS, TOPICS, run};
use super::*;
use crate::cases::cases;
use crate::subscriptions::Item;
use crate::user_code::UserError;

fn record(sow_key: &'static str, value: Result<(&'static str, u32), &'static str>) -> Step<'static, String, u32> {
    let value = value.map(|(key, value)| (key.to_owned(), value)).map_err(UserError::new);
    Step::Record { topic: Cow::Borrowed("t"), sow_key: Some(Cow::Borrowed(sow_key)), value }
}

fn gone(sow_key: &'static str) -> Step<'static, String, u32> {
    Step::Gone { topic: Cow::Borrowed("t"), sow_key: Cow::Borrowed(sow_key), why: Removal::Deleted }
}

/// Applies steps, and writes down what they changed.
fn applied(view: &mut View<String, u32>, steps: impl IntoIterator<Item = Step<'static, String, u32>>) -> Vec<String> {
    let mut changes = Vec::new();
    steps.into_iter().for_each(|step| view.apply(step, &mut changes));
    let text = |change: &Change<String, u32>| match change {
        Change::Inserted { key, new } => format!("+{key}={new}"),
        Change::Updated { key, old, new } => format!("{key}: {old}>{new}"),
        Change::Removed { key, old, why } => format!("-{key}={old} {why:?}"),
        Change::Unreadable { topic, sow_key, error } => format!("{topic} {sow_key:?}: {error}"),
    };
    changes.iter().map(text).collect()
}

/// What was deleted while away is removed when, and only when, all records have
/// come again.
#[test]
fn what_is_missing_among_all_records_is_removed_and_what_is_the_same_is_no_change() {
    let mut view = View::new();
    let first = [Step::Begin, record("1", Ok(("a", 1))), record("2", Ok(("b", 2))), record("3", Ok(("c", 3)))];
    assert_eq!(applied(&mut view, first), ["+a=1", "+b=2", "+c=3"]);
    assert!(!view.is_level());
    assert!(applied(&mut view, [Step::End]).is_empty() && view.is_level());
    // Cut before its end, a snapshot says nothing about what did not come.
    let cut = [Step::Reconnected, Step::Begin, record("1", Ok(("a", 7)))];
    assert_eq!(applied(&mut view, cut), ["a: 1>7"]);
    assert!(!view.is_level() && view.records().len() == 3);
    let whole = [Step::Reconnected, Step::Begin, record("2", Ok(("b", 2))), record("4", Ok(("d", 4)))];
    assert_eq!(applied(&mut view, whole), ["+d=4"]);
    assert_eq!(applied(&mut view, [Step::End]), ["-a=7 Absent", "-c=3 Absent"]);
    assert!(view.is_level());
}

#[test]
fn what_cannot_be_read_is_told_and_not_shown_and_comes_back_when_it_can() {
    let mut view = View::new();
    applied(&mut view, [Step::Begin, record("1", Ok(("a", 1))), Step::End]);
    let broken = [record("1", Err("odd")), record("2", Err("odd"))];
    assert_eq!(applied(&mut view, broken), ["-a=1 Unreadable", r#"t Some("1"): odd"#, r#"t Some("2"): odd"#]);
    assert_eq!((view.records().len(), view.unreadable(), view.is_level()), (0, 2, true));
    assert_eq!(applied(&mut view, [record("1", Ok(("a", 2))), gone("2"), gone("9")]), ["+a=2"]);
    assert_eq!(view.unreadable(), 0);
    let keyless = Step::Record { topic: "t".into(), sow_key: None, value: Ok(("k".to_owned(), 1)) };
    assert_eq!(applied(&mut view, [keyless]), ["t None: the message has no SOW key"]);
}

#[test]
fn of_two_records_with_one_key_the_newest_is_shown_and_the_other_when_it_leaves() {
    let mut view = View::new();
    let steps = [Step::Begin, record("1", Ok(("a", 1))), record("2", Ok(("a", 2))), Step::End];
    assert_eq!(applied(&mut view, steps), ["+a=1", "a: 1>2"]);
    assert_eq!(view.hidden(), 1);
    assert_eq!(applied(&mut view, [record("1", Ok(("a", 5)))]), ["a: 2>5"], "it is the newest now");
    assert_eq!(applied(&mut view, [gone("1")]), ["a: 5>2"]);
    assert_eq!(applied(&mut view, [record("2", Ok(("b", 2)))]), ["-a=2 Moved", "+b=2"]);
    assert_eq!(view.hidden(), 0);
}

/// Two records that exchange their keys while nobody looks hide nothing.
#[test]
fn keys_may_be_exchanged_while_away() {
    let mut view = View::new();
    applied(&mut view, [Step::Begin, record("1", Ok(("a", 1))), record("2", Ok(("b", 2))), Step::End]);
    let again = [Step::Reconnected, Step::Begin, record("1", Ok(("b", 1))), record("2", Ok(("a", 2))), Step::End];
    applied(&mut view, again);
    let shown: Vec<_> = view.records().iter().map(|(key, value)| (key.as_str(), **value)).collect();
    assert_eq!((shown, view.hidden()), (vec![("a", 2), ("b", 1)], 0));
}

fn message(kind: &str, sow_key: Option<&str>, reason: Option<&str>) -> Item {
    let mut wire = bytes::BytesMut::new();
    let frame = FrameWriter::new(&mut wire, kind).text(Field::Topic, "t").maybe(Field::SowKey, sow_key);
    frame.maybe(Field::Reason, reason).finish(b"7");
    Item::Message(Message::decode(wire.freeze().slice(4..)).unwrap())
}

#[test]
fn the_items_of_a_subscription_are_steps() {
    let read = |message: &Message| match std::str::from_utf8(message.data()).map(str::parse) {
        Ok(Ok(value)) => Ok((message.sow_key().unwrap_or_default().into_owned(), value)),
        _ => Err(UserError::new("no number")),
    };
    let mut view: View<String, u32> = View::new();
    let mut steps = |items: &[Item]| {
        let mut changes = Vec::new();
        for item in items {
            Step::of(item, read).into_iter().for_each(|step| view.apply(step, &mut changes));
        }
        (changes.len(), view.records().values().map(Arc::clone).collect::<Vec<_>>(), view.is_level())
    };
    let (begin, end) = (Item::SnapshotBegin, Item::SnapshotEnd);
    let uri = "tcp://a:1/amps".parse().unwrap();
    assert_eq!(steps(&[begin, message("sow", Some("1"), None), end]), (1, vec![Arc::new(7)], true));
    assert_eq!(steps(&[message("p", Some("2"), None)]).0, 1);
    for (reason, why) in [
        (Some("deleted"), Removal::Deleted),
        (Some("expired"), Removal::Expired),
        (Some("match"), Removal::NoMatch),
        (Some("entitlement"), Removal::NotEntitled),
        (Some("other"), Removal::OutOfFocus),
        (None, Removal::OutOfFocus),
    ] {
        let Item::Message(oof) = message("oof", Some("1"), reason) else { unreachable!() };
        assert_eq!(Removal::told_by(&oof), Some(why));
    }
    assert_eq!(steps(&[message("oof", Some("1"), Some("deleted")), message("oof", None, None)]).0, 1);
    assert_eq!(steps(&[Item::Reconnected { uri }]), (0, vec![Arc::new(7)], false));
}

fn id() -> impl Strategy<Value = Id> {
    (0..TOPICS, 0..SOW_KEYS)
}

fn op() -> impl Strategy<Value = Op> {
    // Few keys and values, so that records collide and come again as they were.
    let value = prop::option::weighted(0.9, (0..5u8, 0..3u8));
    prop_oneof![
        6 => (id(), value).prop_map(|(id, value)| Op::Write(id, value)),
        3 => id().prop_map(Op::Delete),
        6 => (0..12usize).prop_map(Op::Read),
        1 => (0..12usize).prop_map(Op::Lose),
        2 => Just(Op::Connect),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(2_000), failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens to records, keys and connections.
    #[test]
    fn a_view_is_what_it_was_told_and_its_changes_say_so(ops in prop::collection::vec(op(), 1..80)) {
        run(ops);
    }
}
