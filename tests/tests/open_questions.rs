//! Where the documents leave open what a server says, the client takes it either
//! way. Each test names the question; `readings.rs` has those for which the test
//! server has a switch.

use std::time::Duration;

use amps_client::reconnect::FixedReconnect;
use amps_client::{
    AckType, Cause, Client, ConnectionState, Event, Message, PublishError, PublishStore, Reason, Sow, StartAt, Status,
    Stray, Subscribe, Subscription, SubscriptionEvent,
};
use amps_core::Field;
use amps_core::message::MessageKind;
use amps_tests::scripted::{Answer, start};
use amps_testserver::TestServer;

const SOON: Duration = Duration::from_secs(20);

async fn connect(uri: &str) -> Client {
    let builder = Client::builder("me").server(uri).no_heartbeat().publish_store(PublishStore::None);
    tokio::time::timeout(SOON, builder.connect()).await.unwrap().unwrap()
}

/// A word for each item.
fn word(item: &SubscriptionEvent) -> String {
    match item {
        SubscriptionEvent::Message(message) => String::from_utf8_lossy(message.data()).into_owned(),
        SubscriptionEvent::SnapshotBegin => "begin".to_owned(),
        SubscriptionEvent::SnapshotEnd => "end".to_owned(),
        SubscriptionEvent::Ack(ack) if ack.status() != Status::Success => format!("no {:?}", ack.ack_type().unwrap()),
        SubscriptionEvent::Ack(ack) => format!("{:?}", ack.ack_type().unwrap()),
        other => format!("{other:?}"),
    }
}

async fn words(stream: &mut Subscription, count: usize) -> Vec<String> {
    let mut words = Vec::new();
    while words.len() < count
        && let Some(item) = tokio::time::timeout(SOON, stream.next()).await.expect("an item in time")
    {
        words.push(word(&item.unwrap()));
    }
    words
}

fn id_of(command: &Message) -> String {
    command.command_id().unwrap_or_default().to_owned()
}

/// In which order the end of the records, `completed` and `stats` come, and by which
/// of its ids they name the query. Nothing is cut off, and the stream ends.
#[tokio::test]
async fn a_query_is_complete_in_whatever_order_its_end_is_told() {
    let orders = ["ecs", "esc", "ces", "cse", "sec", "sce"];
    for ids in [r#""cid":"ID""#, r#""query_id":"ID""#, r#""sub_id":"theirs","cid":"ID","query_id":"ID""#] {
        for order in orders {
            let uri = start(move |_, command| {
                if command.kind() != MessageKind::Sow {
                    return Answer::Usual;
                }
                let id = id_of(command);
                let mut frames = vec![
                    format!(r#"{{"c":"ack",{ids},"a":"processed","status":"success"}}"#),
                    r#"{"c":"group_begin","query_id":"ID"}"#.to_owned(),
                    r#"{"c":"sow","query_id":"ID","t":"s","bs":2}{"k":"1","l":3}one{"k":"2","l":3}two"#.to_owned(),
                ];
                frames.extend(order.chars().map(|letter| match letter {
                    'e' => r#"{"c":"group_end","query_id":"ID"}"#.to_owned(),
                    'c' => format!(r#"{{"c":"ack",{ids},"a":"completed","status":"success"}}"#),
                    _ => format!(r#"{{"c":"ack",{ids},"a":"stats","status":"success","matches":2}}"#),
                }));
                Answer::Frames(frames.iter().map(|frame| frame.replace("ID", &id)).collect())
            })
            .await;
            let client = connect(&uri).await;
            let mut query = client.sow(Sow::of("s").acks(AckType::Completed | AckType::Stats)).await.unwrap();
            let got = words(&mut query, 9).await;
            assert_eq!(got[..3], ["begin", "one", "two"], "{ids} {order}: {got:?}");
            let ends: Vec<_> = order
                .chars()
                .map(|letter| match letter {
                    'e' => "end",
                    'c' => "Completed",
                    _ => "Stats",
                })
                .collect();
            assert_eq!(got[3..], ends, "{ids} {order}");
            assert!(query.next().await.is_none());
            let mut silent = client.sow("s").await.unwrap();
            assert_eq!(words(&mut silent, 9).await, ["begin", "one", "two", "end"], "{ids} {order}");
            assert_eq!(client.stray_counts().unexpected, 0, "{ids} {order}");
        }
    }
}

/// Whether there are markers around no records.
#[tokio::test]
async fn an_empty_answer_is_complete_with_markers_and_without() {
    for markers in [true, false] {
        let uri = start(move |_, command| match command.kind() {
            MessageKind::Sow if markers => {
                let id = id_of(command);
                let group = |word| format!(r#"{{"c":"group_{word}","query_id":"{id}"}}"#);
                let ack = |kind| format!(r#"{{"c":"ack","cid":"{id}","a":"{kind}","status":"success"}}"#);
                Answer::Frames(vec![ack("processed"), group("begin"), group("end"), ack("completed")])
            }
            _ => Answer::Usual,
        })
        .await;
        let client = connect(&uri).await;
        let mut query = client.sow("s").await.unwrap();
        let expected: &[&str] = if markers { &["begin", "end"] } else { &[] };
        assert_eq!(words(&mut query, 9).await, expected);
    }
}

/// How messages and their fields are spelt, and what a server may add to them.
#[tokio::test]
async fn a_message_is_delivered_however_it_is_spelt() {
    let uri = start(|_, command| {
        if command.kind() != MessageKind::SowAndSubscribe {
            return Answer::Usual;
        }
        let frames = [
            r#"{"c":"ack","cid":"ID","a":"processed","status":"Success"}"#,
            r#"{"c":"p","t":"t","sids":"ID"}1"#,
            r#"{"c":"publish","t":"t","sub_id":"ID"}2"#,
            r#"{"cmd":"publish","topic":"t","sids":"ID","l":1}3"#,
            r#"{ "c" : "p" , "t":"t","sids":"ID","msg_len":"1","ts":"20260101T000000.000001Z" }4"#,
            r#"{"c":"p","t":"t","sids":"7,ID","x":"YQ==","user_id":"u","e":60,"mt":"json"}5"#,
            r#"{"c":"p","sids":"ID","data_only":true,"send_oof":"false","new":null,"newer":-1.5e3,"t":"t"}6"#,
            r#"{"c":"p","t":"t","sids":" ID "}7"#,
            r#"{"c":"oof","t":"t","sub_id":"ID","reason":"deleted","k":"1"}8"#,
            r#"{"c":"oof","t":"t","sids":"ID","reason":"match","sow_key":"1","l":1}9"#,
            r#"{"c":"heartbeat"}"#,
            r#"{"c":"heartbeat","o":"beat","ts":"20260101T000000Z"}"#,
            "",
        ];
        Answer::Frames(frames.map(|frame| frame.replace("ID", &id_of(command))).into())
    })
    .await;
    let client = connect(&uri).await;
    let mut stream = client.subscribe(Subscribe::sow_and("t")).await.unwrap();
    let expected: Vec<_> = (1..=9).map(|number| number.to_string()).collect();
    assert_eq!(words(&mut stream, 9).await, expected);
    client.flush().await.unwrap();
    assert_eq!(client.stray_counts().unexpected, 0);
}

/// What an answer to a logon carries beside its success; on a retry, whether it is
/// the first command's or the second's.
#[tokio::test]
async fn a_logon_is_a_success_with_little_or_much_beside_it() {
    for answer in [
        r#"{"c":"ack","cid":"ID","a":"processed","status":"success"}"#,
        r#"{"c":"ack","cid":"ID","a":"processed"}"#,
        r#"{"c":"ack","cid":"ID","a":"processed","status":"success","s":0,"bm":"77|0|","version":"5.3.5.0.1"}"#,
        r#"{"c":"ack","cmd_id":"ID","ack_type":"processed","status":"Success","seq":"0","v":"6","reason":"authentication disabled","client_name":"me","mt":"json","user_id":"","new":[0]}"#,
    ] {
        // What is no flat object is no header.
        let answer = answer.replace("[0]", "\"0\"");
        let uri = start(move |_, command| match command.kind() {
            MessageKind::Logon => [answer.replace("ID", &id_of(command)).as_str()].into(),
            _ => Answer::Usual,
        })
        .await;
        let client = connect(&uri).await;
        assert!(client.is_connected());
    }
    let mut first = None;
    let uri = start(move |_, command| match (command.kind(), &first) {
        (MessageKind::Logon, None) => {
            let id = id_of(command);
            let answer =
                format!(r#"{{"c":"ack","cid":"{id}","a":"processed","status":"retry","user_id":"u","pw":"p"}}"#);
            first = Some(id);
            [answer.as_str()].into()
        }
        (MessageKind::Logon, Some(first)) => {
            let asked = (command.user_id(), command.password());
            assert_eq!((asked.0.as_deref(), asked.1.as_deref()), (Some("u"), Some("p")));
            [format!(r#"{{"c":"ack","cid":"{first}","a":"processed","status":"success"}}"#).as_str()].into()
        }
        _ => Answer::Usual,
    })
    .await;
    connect(&uri).await;
}

/// Whether a server that refuses credentials says so before it closes, closes without
/// a word, or only says so; and in which words.
#[tokio::test]
async fn a_refused_logon_is_a_failed_attempt_however_it_is_told() {
    type Told = fn(&Cause) -> bool;
    let refused: Told = |cause| matches!(cause, Cause::LogonRefused(Reason::AuthFailure));
    let cases: [(Option<&str>, bool, Told); 5] = [
        (Some("auth failure"), true, refused),
        (Some("authentication failed"), true, refused),
        (Some("Auth Failure"), false, refused),
        (
            Some("go away"),
            true,
            |cause| matches!(cause, Cause::LogonRefused(Reason::Unknown(text)) if text == "go away"),
        ),
        (None, true, |cause| matches!(cause, Cause::Closed | Cause::Io(_))),
    ];
    for (reason, closes, told) in cases {
        let uri = start(move |_, command| {
            let frames = reason.map(|reason| {
                let id = id_of(command);
                format!(r#"{{"c":"ack","cid":"{id}","a":"processed","status":"failure","reason":"{reason}"}}"#)
            });
            let frames = frames.into_iter().collect();
            if closes { Answer::Close(frames) } else { Answer::Frames(frames) }
        })
        .await;
        let second = TestServer::builder().start().await.unwrap();
        let builder = Client::builder("me").servers([uri, second.uri()]);
        let client = builder.reconnect(FixedReconnect::new(Duration::from_millis(1), 1)).start().unwrap();
        let mut events = client.events();
        let cause = loop {
            let event = tokio::time::timeout(SOON, events.next()).await.unwrap().unwrap();
            if let Event::AttemptFailed { cause, .. } = event {
                break cause;
            }
        };
        assert!(told(&cause), "{reason:?} {closes}: {cause:?}");
        tokio::time::timeout(SOON, client.connected()).await.unwrap().unwrap();
    }
}

/// Which acknowledgement a duplicate earns, and whether a refused message is told of
/// once or twice.
#[tokio::test]
async fn what_was_published_is_settled_however_it_is_acknowledged() {
    for answers in [
        &[r#"{"c":"ack","a":"persisted","s":N,"status":"success"}"#][..],
        &[r#"{"c":"ack","a":"persisted","cid":"odd","s":N,"bm":"77|N|","status":"success"}"#],
        &[r#"{"c":"ack","a":"persisted","s":N,"status":"failure","reason":"duplicate"}"#],
        &[
            r#"{"c":"ack","a":"persisted","s":N,"status":"success"}"#,
            r#"{"c":"ack","a":"persisted","s":N,"status":"success"}"#,
        ],
    ] {
        let uri = start(move |_, command| match (command.kind(), command.sequence()) {
            (MessageKind::Publish, Some(sequence)) => {
                Answer::Frames(answers.iter().map(|answer| answer.replace('N', &sequence.to_string())).collect())
            }
            _ => Answer::Usual,
        })
        .await;
        let client = Client::builder("me").server(uri).no_heartbeat().connect().await.unwrap();
        client.publish("t", "x").await.unwrap();
        tokio::time::timeout(SOON, client.flush()).await.unwrap().unwrap();
        assert_eq!((client.unacknowledged(), client.stray_counts().unexpected), (0, 0), "{answers:?}");
    }
    let uri = start(|_, command| match (command.kind(), command.sequence()) {
        (MessageKind::Publish, Some(sequence)) => {
            let failure = |kind| {
                format!(r#"{{"c":"ack","a":"{kind}","s":{sequence},"status":"failure","reason":"not entitled"}}"#)
            };
            Answer::Frames(vec![failure("persisted"), failure("persisted")])
        }
        _ => Answer::Usual,
    })
    .await;
    let client = Client::builder("me").server(uri).no_heartbeat().connect().await.unwrap();
    let mut events = client.events();
    let receipt = client.enqueue("t", "x").unwrap();
    let refused = tokio::time::timeout(SOON, receipt.persisted()).await.unwrap();
    assert!(matches!(refused, Err(PublishError::Refused(Reason::NotEntitled))), "{refused:?}");
    client.subscribe("behind").await.unwrap();
    client.close(SOON).await;
    drop(client);
    let mut told = 0;
    loop {
        match tokio::time::timeout(SOON, events.next()).await.unwrap().unwrap() {
            Event::FailedWrite(_) => told += 1,
            Event::State(change) if change.state == ConnectionState::Shutdown => break,
            _ => {}
        }
    }
    assert_eq!(told, 1);
}

/// Which ids the acknowledgements of a bookmark subscription carry, and whether its
/// positions come before the end of its replay. Those that are asked for are given.
#[tokio::test]
async fn the_acknowledgements_of_a_replay_are_its_whatever_ids_they_carry() {
    for ids in [r#""cid":"ID""#, r#""sub_id":"ID""#, r#""cid":"ID","sub_id":"ID""#] {
        let uri = start(move |_, command| {
            if command.kind() != MessageKind::Subscribe {
                return Answer::Usual;
            }
            let ack = |kind: &str, bookmark: &str| {
                format!(r#"{{"c":"ack",{ids},"a":"{kind}"{bookmark},"status":"success"}}"#)
            };
            let frames = [
                ack("received", ""),
                ack("processed", ""),
                ack("persisted", r#","bm":"7|1|""#),
                r#"{"c":"p","t":"t","sids":"ID","bm":"7|1|"}one"#.to_owned(),
                ack("completed", r#","bm":"7|1|""#),
                ack("persisted", r#","bm":"7|1|""#),
            ];
            Answer::Frames(frames.map(|frame| frame.replace("ID", &id_of(command))).into())
        })
        .await;
        let client = connect(&uri).await;
        let all = AckType::Received | AckType::Processed | AckType::Persisted | AckType::Completed;
        let start = StartAt::Epoch;
        let mut asked = client.subscribe(Subscribe::to("t").bookmark(start.clone()).id("a").acks(all)).await.unwrap();
        let expected = ["Received", "Processed", "Persisted", "one", "Completed", "Persisted"];
        assert_eq!(words(&mut asked, 6).await, expected, "{ids}");
        let mut silent = client.subscribe(Subscribe::to("t").bookmark(start).id("b")).await.unwrap();
        assert_eq!(words(&mut silent, 1).await, ["one"]);
        client.flush().await.unwrap();
        assert_eq!((silent.depth(), client.stray_counts().unexpected), (0, 0), "{ids}");
    }
}

/// A part of a subscription that failed behind its confirmation is told: to the stream
/// if that was asked for, as unexpected otherwise.
#[tokio::test]
async fn a_failure_behind_the_confirmation_is_told() {
    let uri = start(|_, command| {
        if command.kind() != MessageKind::SowAndSubscribe {
            return Answer::Usual;
        }
        let frames = [
            r#"{"c":"ack","cid":"ID","a":"processed","status":"success"}"#,
            r#"{"c":"ack","cid":"ID","a":"completed","status":"failure","reason":"no room"}"#,
            r#"{"c":"p","t":"t","sids":"ID"}live"#,
        ];
        Answer::Frames(frames.map(|frame| frame.replace("ID", &id_of(command))).into())
    })
    .await;
    let client = connect(&uri).await;
    let mut unexpected = client.unexpected_messages();
    let mut asked = client.subscribe(Subscribe::sow_and("t").acks(AckType::Completed)).await.unwrap();
    assert_eq!(words(&mut asked, 2).await, ["no Completed", "live"]);
    assert_eq!(client.stray_counts().unexpected, 0);
    let mut silent = client.subscribe(Subscribe::sow_and("t")).await.unwrap();
    assert_eq!(words(&mut silent, 1).await, ["live"]);
    let Some(Stray::Message(stray)) = tokio::time::timeout(SOON, unexpected.next()).await.unwrap() else {
        panic!("nothing was told")
    };
    assert_eq!(stray.text(Field::Reason).as_deref(), Some("no room"));
}

/// In which form a lease ends, and what stands beside the backlog that is granted.
#[tokio::test]
async fn a_message_of_a_queue_is_one_whatever_its_lease_looks_like() {
    for (granted, backlog) in
        [(r#""o":"max_backlog=5","#, Some(5)), (r#""opts":"new,max_backlog=5 ,other=[1,2]","#, Some(5)), ("", None)]
    {
        for lease in ["20260105T101530.250000Z", "2026-01-05T10:15:30Z", "30000ms"] {
            let uri = start(move |_, command| {
                if command.kind() != MessageKind::Subscribe {
                    return Answer::Usual;
                }
                let id = id_of(command);
                let ack = format!(r#"{{"c":"ack","cid":"{id}",{granted}"a":"processed","status":"success"}}"#);
                let message = format!(r#"{{"c":"p","t":"work","sids":"{id}","bm":"77|3|","lp":"{lease}"}}x"#);
                Answer::Frames(vec![ack, message])
            })
            .await;
            let client = connect(&uri).await;
            let mut work = client.subscribe(Subscribe::to("work").max_backlog(5)).await.unwrap();
            let message = tokio::time::timeout(SOON, work.next_message()).await.unwrap().unwrap().unwrap();
            assert_eq!((work.backlog(), message.lease_period()), (backlog, Some(lease)));
            assert!(work.is_leased(&message) && work.ack(&message), "{granted} {lease}");
        }
    }
}

/// Whether an `unsubscribe` is answered, and how.
#[tokio::test]
async fn a_stream_that_is_dropped_is_over_whatever_the_server_says() {
    for status in ["success", "failure", ""] {
        let uri = start(move |_, command| match command.kind() {
            MessageKind::Unsubscribe if status.is_empty() => [].into(),
            MessageKind::Unsubscribe => {
                let id = id_of(command);
                [format!(r#"{{"c":"ack","cid":"{id}","a":"processed","status":"{status}","reason":"no such id"}}"#)
                    .as_str()]
                .into()
            }
            _ => Answer::Usual,
        })
        .await;
        let client = connect(&uri).await;
        drop(client.subscribe("t").await.unwrap());
        client.flush().await.unwrap();
        client.subscribe("t").await.unwrap();
        assert_eq!((client.reconnects(), client.stray_counts().unexpected), (0, 0), "{status}");
    }
}
