//! What the documents leave open about messages, filters and headers: tried and
//! reported.

use amps_core::message::MessageKind;
use amps_core::{AckType, Command, Field, Message, Status};

use crate::bench::{Bench, publish, sow, subscribe};
use crate::check::{Check, check};
use crate::exchange::shown;
use crate::judge::{Probed, Stop, outcome};
use crate::replay::past;
use crate::wire::{Wire, need};

pub(super) const CHECKS: &[Check] = &[
    check!("open/command-and-ids-of-a-message", "AMPS Command Reference, \"publish\"", [], command_and_ids),
    check!("open/timestamps-of-records", "AMPS Command Reference, \"sow\"", [Sow], timestamps_of_records),
    check!("open/lease", "AMPS Command Reference, \"publish\"", [Queue], lease),
    check!("open/publisher-number", "AMPS User Guide, \"Message Sequence Numbers\"", [Log], publisher_number),
    check!("open/header-of-oof", "AMPS Command Reference, \"oof\"", [Sow], header_of_oof),
    check!("open/header-of-a-heartbeat", "AMPS Command Reference, \"heartbeat\"", [], header_of_a_heartbeat),
    check!(
        "open/fractions-of-a-second",
        "AMPS User Guide, \"Replaying Messages with Bookmark Subscriptions\"",
        [Log],
        fractions_of_a_second
    ),
    check!(
        "open/bookmark-malformed",
        "AMPS User Guide, \"Replaying Messages with Bookmark Subscriptions\"",
        [Log],
        bookmark_malformed
    ),
    check!("open/missing-field-or-true", "AMPS User Guide, \"NULL, NaN and IS NULL\"", [], missing_field_or_true),
    check!("open/not-of-a-missing-field", "AMPS User Guide, \"NULL, NaN and IS NULL\"", [], not_of_a_missing_field),
    check!("open/escapes-in-a-pattern", "AMPS User Guide, \"LIKE Operator\"", [], escapes_in_a_pattern),
    check!("open/raw-string-as-a-pattern", "AMPS User Guide, \"Raw Strings\"", [], raw_string_as_a_pattern),
    check!("open/not-like-of-an-array", "AMPS User Guide, \"Working with Arrays\"", [], not_like_of_an_array),
    check!("open/between-of-an-array", "AMPS User Guide, \"Working with Arrays\"", [], between_of_an_array),
    check!("open/quoted-numbers", "AMPS Command Reference, \"The AMPS Protocol\"", [Sow], quoted_numbers),
    check!("open/quoted-booleans", "AMPS Command Reference, \"The AMPS Protocol\"", [Sow], quoted_booleans),
    check!("open/long-key-names", "AMPS Command Reference, \"The AMPS Protocol\"", [], long_key_names),
    check!("open/order-of-keys", "AMPS Command Reference, \"The AMPS Protocol\"", [], order_of_keys),
    check!("open/escapes", "AMPS Command Reference, \"The AMPS Protocol\"", [], escapes),
    check!("open/unknown-keys", "AMPS Command Reference, \"The AMPS Protocol\"", [], unknown_keys),
    check!("open/spaces-in-a-header", "AMPS Command Reference, \"The AMPS Protocol\"", [], spaces_in_a_header),
    check!("open/empty-frame", "AMPS Command Reference, \"The AMPS Protocol\"", [], empty_frame),
    check!("open/publish-without-a-topic", "AMPS Command Reference, \"publish\"", [], publish_without_a_topic),
    check!("open/client-status", "AMPS User Guide, \"Event Topics\"", [], client_status),
];

async fn command_and_ids(bench: &Bench<'_>) -> Probed {
    let mut wire = bench.client().await?;
    let topic = bench.plain("a");
    wire.done(subscribe(&topic).text(Field::SubscriptionId, "s")).await?;
    wire.send(&publish(&topic, bench.body("x", ""))).await?;
    Ok(wire.message().await?.header().to_owned())
}

async fn timestamps_of_records(bench: &Bench<'_>) -> Probed {
    let mut wire = bench.client().await?;
    wire.done(publish(bench.sow(), bench.body("x", "")).text(Field::CorrelationId, "QUJD")).await?;
    let command = sow(bench.sow()).text(Field::Filter, bench.own()).text(Field::Options, "timestamp");
    let answer = wire.query(command, AckType::Completed).await?;
    let frame = answer.frames.iter().find(|frame| frame.kind() == MessageKind::Sow);
    let record = answer.records.first().map_or_else(|| "no record".to_owned(), |record| record.header().to_owned());
    Ok(format!("batch {}, record {record}", frame.map_or("none", Message::header)))
}

async fn lease(bench: &Bench<'_>) -> Probed {
    let mut wire = bench.client().await?;
    wire.done(publish(bench.queue(), bench.body("x", ""))).await?;
    wire.done(subscribe(bench.queue()).text(Field::Filter, bench.own())).await?;
    Ok(wire.message().await?.header().to_owned())
}

async fn publisher_number(bench: &Bench<'_>) -> Probed {
    let name = bench.name("hash");
    let (mut wire, _) = bench.logged_on(&name).await?;
    let command = subscribe(bench.log()).text(Field::Filter, bench.own()).text(Field::Bookmark, "0|1|");
    wire.done(command).await?;
    let numbered = publish(bench.log(), bench.body("x", "")).number(Field::Sequence, 1);
    wire.send(&numbered).await?;
    wire.send(&publish(bench.log(), bench.body("x", ""))).await?;
    let messages = wire.messages(2).await?;
    let (own, other) = (need(&messages[0], Field::Bookmark)?, need(&messages[1], Field::Bookmark)?);
    Ok(format!("of client {name}: {own} with a sequence, {other} without"))
}

async fn header_of_oof(bench: &Bench<'_>) -> Probed {
    let mut wire = bench.client().await?;
    let command = subscribe(bench.sow()).text(Field::Filter, bench.own_and("/n < 10")).text(Field::Options, "oof");
    wire.done(command).await?;
    for n in [1, 11] {
        wire.send(&publish(bench.sow(), bench.body("x", &format!(r#""n":{n}"#)))).await?;
    }
    let oof = wire.take("an oof message", |message| message.kind() == MessageKind::Oof).await?;
    Ok(oof.header().to_owned())
}

async fn header_of_a_heartbeat(bench: &Bench<'_>) -> Probed {
    let mut wire = bench.patient_client(std::time::Duration::from_secs(2)).await?;
    wire.done(Command::new(amps_core::CommandKind::Heartbeat).text(Field::Options, "start,1")).await?;
    let beat = wire.take("a heartbeat", |message| message.kind() == MessageKind::Heartbeat).await?;
    Ok(shown(&beat))
}

/// What a bookmark subscription from there says.
async fn start_at(bench: &Bench<'_>, start: &str) -> Probed {
    let mut wire = bench.client().await?;
    let command = subscribe(bench.log()).text(Field::Filter, bench.own()).text(Field::Bookmark, start);
    Ok(format!("from {start}: {}", outcome(&wire.ask(command, AckType::Processed).await?)))
}

async fn fractions_of_a_second(bench: &Bench<'_>) -> Probed {
    past(bench, 1).await?;
    start_at(bench, "20200101T000000.123456Z").await
}

async fn bookmark_malformed(bench: &Bench<'_>) -> Probed {
    start_at(bench, "no bookmark").await
}

/// Which of these messages a filter matches, or how it is refused.
async fn matched(bench: &Bench<'_>, filter: &str, bodies: &[&str]) -> Probed {
    let mut wire = bench.client().await?;
    let topic = bench.plain("a");
    let ack = wire.ask(subscribe(&topic).text(Field::Filter, filter), AckType::Processed).await?;
    if ack.status() != Status::Success {
        return Ok(format!("{filter} is refused: {}", outcome(&ack)));
    }
    wire.done(subscribe(&topic).text(Field::Filter, "/fence = 1").text(Field::SubscriptionId, "fence")).await?;
    for (n, fields) in (1..).zip(bodies) {
        wire.send(&publish(&topic, bench.body("x", &format!(r#""n":{n},{fields}"#)))).await?;
    }
    wire.send(&publish(&topic, bench.body("x", r#""n":0,"fence":1"#))).await?;
    let mut numbers = Vec::new();
    while numbers.last() != Some(&0) {
        numbers.push(bench.number(&wire.message().await?)?);
    }
    let matched = (1..).zip(bodies).filter(|(n, _)| numbers.contains(n)).map(|(_, body)| format!("{{{body}}}"));
    let matched: Vec<_> = matched.collect();
    Ok(format!("{filter} matches {} of {}: {}", matched.len(), bodies.len(), matched.join(" ")))
}

async fn missing_field_or_true(bench: &Bench<'_>) -> Probed {
    matched(bench, "/missing = 1 OR /a = 2", &[r#""a":2"#]).await
}

async fn not_of_a_missing_field(bench: &Bench<'_>) -> Probed {
    matched(bench, "NOT (/missing = 1)", &[r#""a":2"#]).await
}

async fn escapes_in_a_pattern(bench: &Bench<'_>) -> Probed {
    matched(bench, r"/a LIKE 'C\+\+'", &[r#""a":"C++""#, r#""a":"CC""#]).await
}

async fn raw_string_as_a_pattern(bench: &Bench<'_>) -> Probed {
    matched(bench, "/a LIKE r'C+'", &[r#""a":"C+""#, r#""a":"CC""#]).await
}

async fn not_like_of_an_array(bench: &Bench<'_>) -> Probed {
    matched(bench, "/a NOT LIKE 'x'", &[r#""a":["x","y"]"#, r#""a":["y","z"]"#]).await
}

async fn between_of_an_array(bench: &Bench<'_>) -> Probed {
    matched(bench, "/a BETWEEN 2 AND 3", &[r#""a":[1,2]"#, r#""a":[1,4]"#]).await
}

async fn quoted_numbers(bench: &Bench<'_>) -> Probed {
    let mut wire = bench.client().await?;
    for key in ["x", "y"] {
        wire.done(publish(bench.sow(), bench.body(key, ""))).await?;
    }
    let (topic, filter) = (bench.sow(), bench.own());
    let header = format!(r#"{{"c":"sow","cid":"q","t":"{topic}","f":"{filter}","top_n":"1","a":"processed,stats"}}"#);
    wire.send_text(&header, "").await?;
    let ack = wire.ack("q", AckType::Processed).await?;
    if ack.status() != Status::Success {
        return Ok(outcome(&ack));
    }
    let stats = wire.ack("q", AckType::Stats).await?;
    let returned = need(&stats, Field::RecordsReturned)?;
    Ok(format!(r#"with "top_n":"1" a query of two records returns {returned}"#))
}

async fn quoted_booleans(bench: &Bench<'_>) -> Probed {
    let mut said = Vec::new();
    for value in ["true", "\"true\""] {
        let mut wire = bench.client().await?;
        let (topic, filter) = (bench.sow(), bench.own_and("/n < 10"));
        let header =
            format!(r#"{{"c":"subscribe","cid":"s","t":"{topic}","f":"{filter}","send_oof":{value},"a":"processed"}}"#);
        wire.send_text(&header, "").await?;
        let ack = wire.ack("s", AckType::Processed).await?;
        for n in [1, 11, 2] {
            wire.send(&publish(topic, bench.body("x", &format!(r#""n":{n}"#)))).await?;
        }
        wire.messages(if ack.status() == Status::Success { 2 } else { 0 }).await?;
        let told = wire.heard().iter().any(|message| message.kind() == MessageKind::Oof);
        said.push(format!("send_oof {value}: {}, oof messages: {told}", outcome(&ack)));
    }
    Ok(said.join("; "))
}

/// Whether a subscription by this header is accepted.
async fn accepted(bench: &Bench<'_>, header: &str) -> Probed {
    let mut wire = bench.client().await?;
    wire.send_text(&header.replace("TOPIC", &bench.plain("a")), "").await?;
    answered(&mut wire, "s").await
}

/// The answer to a command, or that the connection ends.
async fn answered(wire: &mut Wire, id: &str) -> Result<String, Stop> {
    match wire.ack(id, AckType::Processed).await {
        Ok(ack) => Ok(outcome(&ack)),
        Err(_) if wire.closes().await? => Ok("the connection is closed".to_owned()),
        Err(stop) => Err(stop),
    }
}

async fn long_key_names(bench: &Bench<'_>) -> Probed {
    accepted(bench, r#"{"cmd":"subscribe","cmd_id":"s","topic":"TOPIC","filter":"/n = 2","ack_type":"processed"}"#)
        .await
}

async fn order_of_keys(bench: &Bench<'_>) -> Probed {
    accepted(bench, r#"{"a":"processed","t":"TOPIC","cid":"s","c":"subscribe"}"#).await
}

async fn escapes(bench: &Bench<'_>) -> Probed {
    let mut wire = bench.client().await?;
    let topic = bench.plain("tab\there \"and\" back\\slash");
    let ack = wire.ask(subscribe(&topic).text(Field::Options, "non_regex_topic"), AckType::Processed).await?;
    if ack.status() != Status::Success {
        return Ok(outcome(&ack));
    }
    wire.send(&publish(&topic, bench.body("x", ""))).await?;
    let came = wire.message().await?;
    let written = came.raw(Field::Topic).unwrap_or_default().to_owned();
    Ok(format!("a topic with tab, quotes and backslash comes back as {written}"))
}

async fn unknown_keys(bench: &Bench<'_>) -> Probed {
    accepted(bench, r#"{"c":"subscribe","no_such_key":"x","cid":"s","t":"TOPIC","a":"processed"}"#).await
}

async fn spaces_in_a_header(bench: &Bench<'_>) -> Probed {
    accepted(bench, "{ \"c\" : \"subscribe\",\n\t\"cid\": \"s\", \"t\": \"TOPIC\", \"a\": \"processed\" }").await
}

async fn empty_frame(bench: &Bench<'_>) -> Probed {
    let mut wire = bench.client().await?;
    wire.write(&[0; 4]).await?;
    let heard = match wire.closes_within(bench.moment()).await? {
        true => return Ok("the connection is closed".to_owned()),
        false => wire.heard(),
    };
    wire.fence().await?;
    Ok(format!("taken; answered with [{}]", heard.iter().map(shown).collect::<Vec<_>>().join(" ")))
}

async fn publish_without_a_topic(bench: &Bench<'_>) -> Probed {
    let mut wire = bench.client().await?;
    wire.send_text(r#"{"c":"publish","cid":"s","a":"processed"}"#, "{}").await?;
    answered(&mut wire, "s").await
}

async fn client_status(bench: &Bench<'_>) -> Probed {
    let mut wire = bench.client().await?;
    let name = bench.name("watched");
    let filter = format!("/ClientStatus/client_name = '{name}'");
    let ack = wire.ask(subscribe("/AMPS/ClientStatus").text(Field::Filter, filter), AckType::Processed).await?;
    if ack.status() != Status::Success {
        return Ok(outcome(&ack));
    }
    drop(bench.logged_on(&name).await?);
    let heard = wire.listen(bench.moment()).await?;
    let bodies: Vec<_> = heard.iter().map(|message| String::from_utf8_lossy(message.data()).into_owned()).collect();
    Ok(format!("of a client that logs on and leaves: [{}]", bodies.join(" ")))
}
