//! `sow`: queries.

use amps_core::message::MessageKind;
use amps_core::{AckType, Command, Field};

use crate::bench::{Bench, publish, sow};
use crate::check::{Check, check};
use crate::exchange::shown;
use crate::judge::{Judged, Stop, equal, expect, field, refused, success};
use crate::wire::{Wire, body, need};

pub(super) const CHECKS: &[Check] = &[
    check!("sow/ack-of-each-type", "AMPS Command Reference, \"sow\"", [Sow], ack_of_each_type),
    check!("sow/markers", "AMPS Command Reference, \"group_begin\"", [Sow], markers),
    check!("sow/markers-around-nothing", "AMPS User Guide, \"SOW Queries\"", [Sow], markers_around_nothing),
    check!("sow/command-id-as-query-id", "AMPS Command Reference, \"group_begin\"", [Sow], command_id_as_query_id),
    check!("sow/records", "AMPS Command Reference, \"sow\"", [Sow], records),
    check!("sow/braces-in-records", "AMPS Command Reference, \"sow\"", [Sow], braces_in_records),
    check!("sow/last-of-each-key", "AMPS User Guide, \"State of the World\"", [Sow], last_of_each_key),
    check!("sow/key-is-stable", "AMPS User Guide, \"SOW Keys\"", [Sow], key_is_stable),
    check!("sow/correlation-id", "AMPS Command Reference, \"sow\"", [Sow], correlation_id),
    check!("sow/one-record-a-frame", "AMPS Command Reference, \"sow\"", [Sow], one_record_a_frame),
    check!("sow/batches", "AMPS User Guide, \"Batching\"", [Sow], batches),
    check!("sow/batch-too-large", "AMPS Command Reference, \"sow\"", [Sow], batch_too_large),
    check!("sow/filter", "AMPS Command Reference, \"sow\"", [Sow], filter),
    check!("sow/filter-bad", "AMPS Command Reference, \"sow\"", [Sow], filter_bad),
    check!("sow/keys", "AMPS Command Reference, \"sow\"", [Sow], keys),
    check!("sow/orderby", "AMPS Command Reference, \"sow\"", [Sow], orderby),
    check!("sow/orderby-descending", "AMPS Command Reference, \"sow\"", [Sow], orderby_descending),
    check!("sow/orderby-two-fields", "AMPS Command Reference, \"sow\"", [Sow], orderby_two_fields),
    check!("sow/top-n", "AMPS Command Reference, \"sow\"", [Sow], top_n),
    check!("sow/top-n-as-option", "AMPS Command Reference, \"sow\"", [Sow], top_n_as_option),
    check!("sow/skip-n", "AMPS Command Reference, \"sow\"", [Sow], skip_n),
    check!("sow/stats", "AMPS Command Reference, \"ack\"", [Sow], stats),
    check!("sow/only-counts", "AMPS Command Reference, \"Messages from AMPS\"", [Sow], only_counts),
    check!("sow/aggregates", "AMPS User Guide, \"Aggregated Subscriptions\"", [Sow], aggregates),
    check!("sow/select", "AMPS User Guide, \"Select Lists\"", [Sow], select),
    check!("sow/regex-topic", "AMPS Command Reference, \"sow\"", [Sow], regex_topic),
    check!("sow/no-sow-topic", "AMPS Command Reference, \"sow\"", [], no_sow_topic),
];

/// A connection that has published records with `n` from 1 on, each under a key
/// of its own.
async fn kept(bench: &Bench<'_>, count: i64) -> Result<Wire, Stop> {
    let mut wire = bench.client().await?;
    for n in 1..=count {
        wire.send(&record(bench, n)).await?;
    }
    wire.fence().await?;
    Ok(wire)
}

fn record(bench: &Bench<'_>, n: i64) -> Command {
    let fields = format!(r#""n":{n},"odd":{}"#, n % 2);
    publish(bench.sow(), bench.body(&format!("k{n}"), &fields))
}

/// A query of this check's records.
fn own(bench: &Bench<'_>) -> Command {
    sow(bench.sow()).text(Field::Filter, bench.own())
}

async fn ack_of_each_type(bench: &Bench<'_>) -> Judged {
    let mut wire = kept(bench, 1).await?;
    let kinds = [AckType::Received, AckType::Processed, AckType::Completed, AckType::Stats];
    let id = wire.start(own(bench), kinds[0] | kinds[1] | kinds[2] | kinds[3]).await?;
    for kind in kinds {
        success(&wire.ack(&id, kind).await?)?;
    }
    Ok(())
}

async fn markers(bench: &Bench<'_>) -> Judged {
    let mut wire = kept(bench, 2).await?;
    let answer = wire.query(own(bench).text(Field::QueryId, "my-query"), AckType::Completed).await?;
    let kinds: Vec<_> = answer.frames.iter().map(|frame| frame.kind()).collect();
    let wanted = vec![MessageKind::GroupBegin, MessageKind::Sow, MessageKind::Sow, MessageKind::GroupEnd];
    equal("the frames", kinds, wanted)
}

async fn markers_around_nothing(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    let answer = wire.query(own(bench), AckType::Completed).await?;
    equal("the frames of a query that matches nothing", answer.frames.len(), 2)
}

async fn command_id_as_query_id(bench: &Bench<'_>) -> Judged {
    let mut wire = kept(bench, 1).await?;
    let answer = wire.query(own(bench), AckType::Completed).await?;
    answer.frames.iter().try_for_each(|frame| field(frame, Field::QueryId, &answer.id))
}

async fn records(bench: &Bench<'_>) -> Judged {
    let mut wire = kept(bench, 1).await?;
    let answer = wire.query(own(bench), AckType::Completed).await?;
    equal("the number of records", answer.records.len(), 1)?;
    let record = &answer.records[0];
    need(record, Field::SowKey)?;
    field(record, Field::Topic, bench.sow())?;
    equal("the body", body(record), bench.body("k1", r#""n":1,"odd":1"#))?;
    equal("the length \"l\"", record.number(Field::MessageLength), Some(record.data().len() as u64))
}

async fn braces_in_records(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    let text = bench.body("x", r#""n":1,"q":"}{\"k\":\"1\",\"l\":3}{{""#);
    wire.done(publish(bench.sow(), text.clone())).await?;
    wire.done(record(bench, 2)).await?;
    let command = own(bench).text(Field::OrderBy, "/n").number(Field::BatchSize, 10);
    let answer = wire.query(command, AckType::Completed).await?;
    equal("the number of records", answer.records.len(), 2)?;
    equal("the body", body(&answer.records[0]), text)
}

async fn last_of_each_key(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    for (key, n) in [("x", 1), ("y", 2), ("x", 3)] {
        wire.done(publish(bench.sow(), bench.body(key, &format!(r#""n":{n}"#)))).await?;
    }
    let answer = wire.query(own(bench).text(Field::OrderBy, "/n"), AckType::Completed).await?;
    equal("the last message of each key", bench.numbers(&answer.records)?, vec![2, 3])
}

async fn key_is_stable(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    let mut keys = Vec::new();
    for (key, n) in [("x", 1), ("x", 2), ("y", 3)] {
        wire.done(publish(bench.sow(), bench.body(key, &format!(r#""n":{n}"#)))).await?;
        let answer =
            wire.query(own(bench).text(Field::Filter, bench.own_and(&format!("/n = {n}"))), AckType::Completed).await?;
        equal("the number of records", answer.records.len(), 1)?;
        keys.push(need(&answer.records[0], Field::SowKey)?);
    }
    let good = keys[0] == keys[1] && keys[1] != keys[2];
    expect(good, "one \"k\" for one key, another for another", format!("{keys:?}"))
}

async fn correlation_id(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    wire.done(record(bench, 1).text(Field::CorrelationId, "QUJD")).await?;
    wire.done(record(bench, 2)).await?;
    let command = own(bench).text(Field::OrderBy, "/n").number(Field::BatchSize, 10);
    let answer = wire.query(command, AckType::Completed).await?;
    let ids: Vec<_> = answer.records.iter().map(|record| record.correlation_id().map(|id| id.into_owned())).collect();
    equal("the correlation ids of the records", ids, vec![Some("QUJD".to_owned()), None])
}

async fn one_record_a_frame(bench: &Bench<'_>) -> Judged {
    let mut wire = kept(bench, 3).await?;
    let answer = wire.query(own(bench), AckType::Completed).await?;
    equal("records in each frame, without a batch size", answer.batches(), vec![1, 1, 1])
}

async fn batches(bench: &Bench<'_>) -> Judged {
    let mut wire = kept(bench, 25).await?;
    let answer = wire.query(own(bench).number(Field::BatchSize, 10), AckType::Completed).await?;
    let batches = answer.batches();
    let fit = batches.iter().all(|records| (1..=10).contains(records));
    expect(fit, "frames of 1 to 10 records with a batch size of 10", format!("{batches:?}"))?;
    let mut numbers = bench.numbers(&answer.records)?;
    numbers.sort_unstable();
    equal("every record once", numbers, (1..=25).collect())
}

async fn batch_too_large(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    let ack = wire.ask(own(bench).number(Field::BatchSize, 10_001), AckType::Processed).await?;
    refused(&ack, "a batch size has at most 10,000 records")
}

/// The records a query gives, by their numbers.
async fn found(bench: &Bench<'_>, wire: &mut Wire, command: Command) -> Result<Vec<i64>, Stop> {
    let answer = wire.query(command.number(Field::BatchSize, 4), AckType::Completed).await?;
    bench.numbers(&answer.records)
}

async fn filter(bench: &Bench<'_>) -> Judged {
    let mut wire = kept(bench, 6).await?;
    let command = sow(bench.sow()).text(Field::Filter, bench.own_and("/n > 4")).text(Field::OrderBy, "/n");
    equal("the records that match", found(bench, &mut wire, command).await?, vec![5, 6])
}

async fn filter_bad(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    let ack = wire.ask(sow(bench.sow()).text(Field::Filter, "/a = "), AckType::Processed).await?;
    refused(&ack, "this is no filter")
}

async fn keys(bench: &Bench<'_>) -> Judged {
    let mut wire = kept(bench, 4).await?;
    let answer = wire.query(own(bench).text(Field::OrderBy, "/n"), AckType::Completed).await?;
    equal("the number of records", answer.records.len(), 4)?;
    let (second, third) = (need(&answer.records[1], Field::SowKey)?, need(&answer.records[2], Field::SowKey)?);
    let command = sow(bench.sow()).text(Field::SowKeys, format!("{second},{third}")).text(Field::OrderBy, "/n");
    equal("the records with these keys", found(bench, &mut wire, command).await?, vec![2, 3])
}

async fn orderby(bench: &Bench<'_>) -> Judged {
    let mut wire = kept(bench, 11).await?;
    let command = own(bench).text(Field::OrderBy, "/n ASC");
    equal("in the order of /n", found(bench, &mut wire, command).await?, (1..=11).collect())
}

async fn orderby_descending(bench: &Bench<'_>) -> Judged {
    let mut wire = kept(bench, 11).await?;
    let command = own(bench).text(Field::OrderBy, "/n DESC");
    equal("in the order of /n, backwards", found(bench, &mut wire, command).await?, (1..=11).rev().collect())
}

async fn orderby_two_fields(bench: &Bench<'_>) -> Judged {
    let mut wire = kept(bench, 5).await?;
    let command = own(bench).text(Field::OrderBy, "/odd DESC,/n ASC");
    equal("odd ones first", found(bench, &mut wire, command).await?, vec![1, 3, 5, 2, 4])
}

async fn top_n(bench: &Bench<'_>) -> Judged {
    let mut wire = kept(bench, 5).await?;
    let command = own(bench).text(Field::OrderBy, "/n DESC").number(Field::TopN, 2);
    equal("the first two", found(bench, &mut wire, command).await?, vec![5, 4])
}

async fn top_n_as_option(bench: &Bench<'_>) -> Judged {
    let mut wire = kept(bench, 5).await?;
    let command = own(bench).text(Field::OrderBy, "/n DESC").text(Field::Options, "top_n=2");
    equal("the first two", found(bench, &mut wire, command).await?, vec![5, 4])
}

async fn skip_n(bench: &Bench<'_>) -> Judged {
    let mut wire = kept(bench, 5).await?;
    let command = own(bench).text(Field::OrderBy, "/n").text(Field::Options, "top_n=2,skip_n=2");
    equal("the third and fourth", found(bench, &mut wire, command).await?, vec![3, 4])
}

async fn stats(bench: &Bench<'_>) -> Judged {
    let mut wire = kept(bench, 5).await?;
    let command = sow(bench.sow()).text(Field::Filter, bench.own_and("/n <= 3")).number(Field::TopN, 2);
    let answer = wire.query(command, AckType::Completed | AckType::Stats).await?;
    let stats = answer.ack(AckType::Stats)?;
    field(stats, Field::Matches, "3")?;
    field(stats, Field::RecordsReturned, "2")?;
    expect(stats.topic_matches() >= Some(5), "\"topic_matches\" of at least 5", shown(stats))
}

async fn only_counts(bench: &Bench<'_>) -> Judged {
    let mut wire = kept(bench, 3).await?;
    let answer = wire.query(own(bench).number(Field::TopN, 0), AckType::Completed | AckType::Stats).await?;
    equal("no records with a top_n of 0", answer.records.len(), 0)?;
    field(answer.ack(AckType::Stats)?, Field::Matches, "3")
}

async fn aggregates(bench: &Bench<'_>) -> Judged {
    let mut wire = kept(bench, 5).await?;
    let options = "projection=[SUM(/n) AS /n,COUNT(/n) AS /count,/odd],grouping=[/odd]";
    let command = own(bench).text(Field::Options, options);
    let answer = wire.query(command, AckType::Completed).await?;
    let mut sums = bench.numbers(&answer.records)?;
    sums.sort_unstable();
    equal("the sums of even and odd numbers", sums, vec![6, 9])
}

async fn select(bench: &Bench<'_>) -> Judged {
    let mut wire = kept(bench, 1).await?;
    let answer = wire.query(own(bench).text(Field::Options, "select=[-/,+/n]"), AckType::Completed).await?;
    equal("the number of records", answer.records.len(), 1)?;
    equal("the body, spaces aside", body(&answer.records[0]).replace(' ', ""), r#"{"n":1}"#.to_owned())
}

async fn regex_topic(bench: &Bench<'_>) -> Judged {
    let mut wire = kept(bench, 2).await?;
    let command = sow(&format!("^{}$", bench.sow())).text(Field::Filter, bench.own()).text(Field::OrderBy, "/n");
    equal("the records of topics that match", found(bench, &mut wire, command).await?, vec![1, 2])
}

async fn no_sow_topic(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    refused(&wire.ask(sow(&bench.plain("a")), AckType::Processed).await?, "the topic has no SOW")
}
