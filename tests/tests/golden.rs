//! What each command looks like on the wire, to the byte.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use amps_client::{
    AckOption, AckType, Client, Command, CommandKind, CommandOptions, Conflation, Direction, ErrorKind, Executed,
    Field, Publish, Rate, Replacement, SocketConnector, Sow, SowDelete, StartAt, Subscribe, Tap, Write,
};
use amps_core::{FrameDecoder, Message};
use amps_testserver::{QueueConfig, TestServer};

const SOON: Duration = Duration::from_secs(20);

/// The headers a client has sent.
#[derive(Clone, Default)]
struct Sent(Arc<Mutex<Vec<u8>>>);

impl Sent {
    fn tap(&self) -> Tap {
        let sent = Arc::clone(&self.0);
        Tap::new(move |direction, bytes| {
            if direction == Direction::Out {
                sent.lock().unwrap().extend_from_slice(bytes);
            }
        })
    }

    /// Those since the last call. Sequences and the version are not the same
    /// every time.
    fn take(&self) -> Vec<String> {
        let mut decoder = FrameDecoder::new(1 << 20);
        decoder.extend(&std::mem::take(&mut *self.0.lock().unwrap()));
        let mut headers = Vec::new();
        while let Some(frame) = decoder.next_frame().unwrap() {
            let message = Message::decode(frame).unwrap();
            let mut header = message.header().to_owned();
            if let Some(sequence) = message.sequence() {
                header = header.replace(&sequence.to_string(), "N");
            }
            headers.push(header.replace(env!("CARGO_PKG_VERSION"), "V"));
        }
        headers
    }
}

/// Covers 2#1, 7#3, 7.2#1, 12#1.
#[tokio::test]
async fn every_command_has_its_bytes() {
    let server = TestServer::builder().ack_conflation(Duration::from_millis(5)).sow("s", "/id").start().await.unwrap();
    let sent = Sent::default();
    let builder = Client::builder("me").server(server.uri().replace("tcp://", "tcp://u:p%22w@"));
    let client = builder.connector(SocketConnector::new().tap(sent.tap())).connect().await.unwrap();
    assert_eq!(
        sent.take(),
        [
            r#"{"c":"logon","cid":"c1","client_name":"me","mt":"json","user_id":"u","pw":"p\"w","version":"rust:V","a":"processed"}"#,
            r#"{"c":"heartbeat","cid":"c2","o":"start,5","a":"processed"}"#,
        ]
    );

    client.publish("s", r#"{"id":1}"#).await.unwrap();
    client.flush().await.unwrap();
    assert_eq!(sent.take(), [r#"{"c":"p","s":N,"a":"persisted","t":"s"}"#]);

    let plain = client.subscribe(Subscribe::to("t")).await.unwrap();
    let book = client.subscribe(Subscribe::to("t").bookmark(StartAt::Epoch).top_n(5)).await.unwrap();
    let both = client.subscribe(Subscribe::sow_and("s").options("oof").top_n(3)).await.unwrap();
    assert_eq!(
        sent.take(),
        [
            r#"{"c":"subscribe","cid":"4294967296","t":"t","sub_id":"4294967296","a":"processed"}"#,
            r#"{"c":"subscribe","cid":"4294967297","t":"t","sub_id":"4294967297","top_n":5,"bm":"0","a":"processed,persisted,completed"}"#,
            r#"{"c":"sow_and_subscribe","cid":"4294967298","t":"s","sub_id":"4294967298","query_id":"4294967298","bs":10,"top_n":3,"o":"oof","a":"processed,completed"}"#,
        ]
    );
    let (old, new) = (plain.handle(), Replacement::new().no_filter().options("bookmark"));
    old.replace(new).await.unwrap();
    book.handle().pause().await.unwrap();
    book.handle().resume().await.unwrap();
    assert_eq!(
        sent.take(),
        [
            r#"{"c":"subscribe","cid":"4294967296","t":"t","sub_id":"4294967296","o":"bookmark,replace","a":"processed"}"#,
            r#"{"c":"subscribe","cid":"c3","t":"t","sub_id":"4294967297","o":"pause","a":"processed"}"#,
            r#"{"c":"subscribe","cid":"c4","t":"t","sub_id":"4294967297","o":"resume","a":"processed"}"#,
        ]
    );
    drop((plain, book, both));
    assert_eq!(client.count(Sow::of("s")).await.unwrap(), 1);
    let query = Sow::of("s").keys(["1", "2"]).batch_size(1).options(CommandOptions::new().no_sowkey());
    drop(client.sow(query).await.unwrap());
    assert_eq!(
        sent.take(),
        [
            r#"{"c":"unsubscribe","cid":"c5","sub_id":"4294967296","a":"processed"}"#,
            r#"{"c":"unsubscribe","cid":"c6","sub_id":"4294967297","a":"processed"}"#,
            r#"{"c":"unsubscribe","cid":"c7","sub_id":"4294967298","a":"processed"}"#,
            r#"{"c":"sow","cid":"8589934594","t":"s","query_id":"8589934594","bs":10,"top_n":0,"a":"processed,completed,stats"}"#,
            r#"{"c":"sow","cid":"12884901890","t":"s","query_id":"12884901890","bs":1,"sow_keys":"1,2","o":"no_sowkey","a":"processed,completed"}"#,
        ]
    );
    let _ = client.subscribe(Subscribe::deltas_of("s")).await;
    let _ = client.subscribe(Subscribe::sow_and_deltas_of("s").options("no_empties").batch_size(100)).await;
    let _ = client.subscribe(Subscribe::to("t").filter("/a = 'x' OR /\"b\\c\" = 1")).await;
    let _ = client.sow(Sow::of("s").order_by("/id DESC").filter("/id > 5")).await;
    let asked: Vec<_> =
        sent.take().into_iter().filter(|header| header.contains("delta") || header.contains("\"f\"")).collect();
    assert_eq!(
        asked,
        [
            r#"{"c":"delta_subscribe","cid":"17179869186","t":"s","sub_id":"17179869186","a":"processed"}"#,
            r#"{"c":"sow_and_delta_subscribe","cid":"21474836482","t":"s","sub_id":"21474836482","query_id":"21474836482","bs":100,"o":"no_empties","a":"processed,completed"}"#,
            r#"{"c":"subscribe","cid":"25769803778","t":"t","sub_id":"25769803778","f":"/a = 'x' OR /\"b\\c\" = 1","a":"processed"}"#,
            r#"{"c":"sow","cid":"30064771074","t":"s","query_id":"30064771074","bs":10,"f":"/id > 5","orderby":"/id DESC","a":"processed,completed"}"#,
        ]
    );
    client.close(SOON).await;
}

/// A logon with everything that it can be asked to say; and what a client without
/// anything to say sends, a beat, and the acknowledgement of a queue's message.
///
/// Covers 12#1.
#[tokio::test]
async fn logons_beats_and_acknowledgements_have_their_bytes() {
    let queue = QueueConfig::new("work").max_per_subscription_backlog(5);
    let server = TestServer::builder().queue(queue).ack_conflation(Duration::from_millis(5)).start().await.unwrap();
    let sent = Sent::default();
    let connector = || SocketConnector::new().tap(sent.tap());
    let full = Client::builder("me").server(format!("{}?pretty=true", server.uri())).connector(connector());
    let full = full.ack_conflation(Duration::from_millis(100)).logon_correlation_id("desk7");
    let client = full.heartbeat(Duration::from_millis(1_500), Duration::from_secs(9)).connect().await.unwrap();
    assert_eq!(
        sent.take(),
        [
            r#"{"c":"logon","cid":"c1","client_name":"me","mt":"json","x":"desk7","o":"ack_conflation=100ms,pretty=true","version":"rust:V","a":"processed"}"#,
            r#"{"c":"heartbeat","cid":"c2","o":"start,2","a":"processed"}"#,
        ]
    );
    client.publish("work", "x").await.unwrap();
    client.flush().await.unwrap();
    let mut work = client.subscribe(Subscribe::to("work").max_backlog(2)).await.unwrap();
    let message = work.next_message().await.unwrap().unwrap();
    let bookmark = message.bookmark().unwrap();
    sent.take();
    work.ack_with(&message, AckOption::Cancel);
    let message = work.next_message().await.unwrap().unwrap();
    client.ack("work", [&bookmark]).await.unwrap();
    work.ack(&message);
    work.flush_acks().await.unwrap();
    let headers: Vec<_> = sent.take().iter().map(|header| header.replace(&bookmark.to_string(), "BM")).collect();
    assert_eq!(
        headers,
        [
            r#"{"c":"sow_delete","t":"work","bm":"BM","o":"cancel"}"#,
            r#"{"c":"sow_delete","t":"work","bm":"BM","cid":"c3","a":"processed,stats"}"#,
            r#"{"c":"sow_delete","t":"work","bm":"BM"}"#,
            r#"{"c":"flush","cid":"c4","a":"completed"}"#,
        ]
    );
    let beat = async {
        while sent.take().last().is_none_or(|header| header != r#"{"c":"heartbeat","o":"beat"}"#) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, beat).await.unwrap();
    client.close(SOON).await;
    sent.take();
    let uri = server.uri().replace("/amps/json", "/amps");
    let bare = Client::plain("").server(uri).no_heartbeat().connector(connector()).connect().await.unwrap();
    assert_eq!(
        sent.take(),
        [r#"{"c":"logon","cid":"c1","client_name":"","version":"rust:V","a":"processed"}"#],
        "nothing is said of what was not given"
    );
    bare.close(SOON).await;
}

fn command(kind: CommandKind, fields: &[(Field, &str)]) -> Command {
    fields.iter().fold(Command::new(kind), |command, (field, value)| command.text(*field, *value))
}

/// A command put together field by field is what the method of its kind sends.
#[tokio::test]
async fn a_command_that_is_executed_has_the_same_bytes() {
    use Field::{BatchSize, Bookmark, CorrelationId, Expiration, Filter, Options, OrderBy, SowKey, SowKeys, Topic};
    let server = TestServer::builder().ack_conflation(Duration::from_millis(5)).sow("s", "/id").start().await.unwrap();
    let sent = Sent::default();
    let builder = Client::builder("me").server(server.uri()).connector(SocketConnector::new().tap(sent.tap()));
    let client = builder.connect().await.unwrap();
    sent.take();
    let key = (SowKey, "a");
    let deltas = Subscribe::sow_and_deltas_of("s").options("no_empties").batch_size(5);
    let replay = Subscribe::to("t").bookmark(StartAt::Epoch).top_n(5).id("a").acks(AckType::Completed);
    let subscriptions = [
        (command(CommandKind::Subscribe, &[(Topic, "t"), (Filter, "/a = 1")]), Subscribe::to("t").filter("/a = 1")),
        (
            command(CommandKind::SowAndDeltaSubscribe, &[(Topic, "s"), (Options, "no_empties"), (BatchSize, "5")]),
            deltas,
        ),
        (command(CommandKind::DeltaSubscribe, &[(Topic, "s")]), Subscribe::deltas_of("s")),
        (
            command(CommandKind::Subscribe, &[(Topic, "t"), (Bookmark, "0"), (Field::SubscriptionId, "a")])
                .number(Field::TopN, 5)
                .acks(AckType::Completed),
            replay,
        ),
        (
            command(CommandKind::SowAndSubscribe, &[(Topic, "s"), (OrderBy, "/id")]),
            Subscribe::sow_and("s").order_by("/id"),
        ),
    ];
    for (command, subscribe) in subscriptions {
        let stream = client.execute(command.clone()).await.unwrap().stream().unwrap();
        drop(stream);
        drop(client.subscribe(subscribe).await.unwrap());
        let entered: Vec<_> = sent.take().into_iter().filter(|header| !header.contains("unsubscribe")).collect();
        let [executed, same] = without_ids(&entered).try_into().unwrap();
        assert_eq!(executed, same, "{command:?}");
    }
    let query = command(CommandKind::Sow, &[(Topic, "s"), (SowKeys, "1,2")]);
    assert!(client.execute(query).await.unwrap().stream().is_some());
    drop(client.sow(Sow::of("s").keys(["1", "2"])).await.unwrap());
    let queries: Vec<_> = sent.take().into_iter().filter(|header| header.contains(r#""sow""#)).collect();
    let [executed, same] = without_ids(&queries).try_into().unwrap();
    assert_eq!(executed, same);

    let body = r#"{"id":1}"#;
    let publish = command(CommandKind::Publish, &[(Topic, "t"), (CorrelationId, "YQ=="), key]).number(Expiration, 5);
    let like = Publish::new("t", body).correlation_id("YQ==").expiration(Duration::from_secs(5)).sow_key("a");
    let writes: [(Command, Write<'_>); 5] = [
        (publish.body(body), like.into()),
        (command(CommandKind::DeltaPublish, &[(Topic, "s")]).body(body), Publish::delta("s", body).into()),
        (command(CommandKind::SowDelete, &[(Topic, "s"), (Filter, "1=1")]), SowDelete::by_filter("s", "1=1").into()),
        (
            command(CommandKind::SowDelete, &[(Topic, "s"), (SowKeys, "1,2")]),
            SowDelete::by_keys("s", ["1", "2"]).into(),
        ),
        (command(CommandKind::SowDelete, &[(Topic, "s")]).body(body), SowDelete::by_data("s", body).into()),
    ];
    for (command, write) in writes {
        assert!(matches!(client.execute(command).await.unwrap(), Executed::Written(_)));
        client.write(write).await.unwrap();
        assert!(matches!(client.execute(Command::new(CommandKind::Flush)).await.unwrap(), Executed::Flushed));
        let both = sent.take();
        assert_eq!(both.len(), 2, "{both:?}");
        assert_eq!(both[0], both[1]);
    }
    client.close(SOON).await;
}

/// Ids are not the same every time.
fn without_ids(headers: &[String]) -> Vec<String> {
    let id = |word: &str| word.len() > 8 && word.bytes().all(|byte| byte.is_ascii_digit());
    let name = |word: &str| if id(word) { "ID".to_owned() } else { word.to_owned() };
    headers.iter().map(|header| header.split('"').map(name).collect::<Vec<_>>().join("\"")).collect()
}

/// Nothing is sent of what cannot be, and the error names the field.
#[tokio::test]
async fn a_command_with_a_field_it_does_not_take_is_refused() {
    let server = TestServer::builder().start().await.unwrap();
    let sent = Sent::default();
    let builder = Client::builder("me").server(server.uri()).connector(SocketConnector::new().tap(sent.tap()));
    let client = builder.connect().await.unwrap();
    sent.take();
    let at = (Field::Topic, "t");
    for (command, error) in [
        (
            command(CommandKind::Subscribe, &[at, (Field::CommandId, "1")]),
            "the subscribe cannot have the field 'cid': the client gives it a value of its own",
        ),
        (
            command(CommandKind::Publish, &[at, (Field::Filter, "1=1")]),
            "the p cannot have the field 'f': it does not take it (AMPS Command Reference)",
        ),
        (
            command(CommandKind::Publish, &[at]).acks(AckType::Processed),
            "the p cannot have the field 'a': what is written is acknowledged as persisted, which its receipt tells",
        ),
        (
            command(CommandKind::Sow, &[at, (Field::TopN, "many")]),
            "the sow cannot have the field 'top_n': it is not a number",
        ),
        (
            command(CommandKind::SowDelete, &[at, (Field::Bookmark, "1|2|"), (Field::Options, "done")]),
            "the sow_delete cannot have the field 'o': the options of an acknowledgement are cancel, expire and \
             lease_extension=TIME, such as 60s",
        ),
        (
            command(CommandKind::SowDelete, &[at, (Field::Filter, "1=1")]).body("{}"),
            "the sow_delete on 't' cannot be: it names records by one of filter, keys and data, or a queue's messages \
             by bookmarks",
        ),
        (
            command(CommandKind::SowDelete, &[at]),
            "the sow_delete on 't' cannot be: it names records by one of filter, keys and data, or a queue's messages \
             by bookmarks",
        ),
        (command(CommandKind::Subscribe, &[at]).body("{}"), "the subscribe on 't' cannot be: it takes no body"),
        (
            command(CommandKind::Subscribe, &[at, (Field::BatchSize, "5")]),
            "the subscribe cannot have the field 'bs': only a query has batches",
        ),
        (command(CommandKind::Flush, &[]).body("{}"), "the flush on '' cannot be: it takes no body"),
        (
            command(CommandKind::Flush, &[(Field::ClientName, "other")]),
            "the flush cannot have the field 'client_name': the client gives it a value of its own",
        ),
        (command(CommandKind::Unsubscribe, &[]), "the unsubscribe on '' cannot be: dropping a stream unsubscribes it"),
        (command(CommandKind::Logon, &[]), "the logon on '' cannot be: the client sends it by itself"),
    ] {
        let refused = client.execute(command).await.unwrap_err();
        assert_eq!(refused.to_string(), error);
        assert_eq!(refused.kind(), ErrorKind::Usage);
    }
    client.flush().await.unwrap();
    assert_eq!(sent.take(), [""; 0]);
}

/// Covers 12#1.
#[tokio::test]
async fn options_about_updates_have_their_bytes() {
    let server = TestServer::builder().ack_conflation(Duration::from_millis(5)).sow("s", "/id").start().await.unwrap();
    let sent = Sent::default();
    let builder = Client::builder("me").server(server.uri()).connector(SocketConnector::new().tap(sent.tap()));
    let client = builder.connect().await.unwrap();
    sent.take();
    let (ms, options) = (Duration::from_millis, CommandOptions::new);
    let conflated = options().conflation(Conflation::Interval(ms(250))).conflation_key(["/a", "/b/c"]);
    client.subscribe(Subscribe::to("t").options(conflated)).await.unwrap();
    let paced = options().rate(Rate::Times(2.5)).rate_max_gap(ms(100));
    client.subscribe(Subscribe::to("t").bookmark(StartAt::Epoch).options(paced)).await.unwrap();
    let page = Subscribe::sow_and("s").order_by("/id DESC").top_n(5).options(options().skip_n(10).oof());
    client.subscribe(page).await.unwrap();
    let totals = options().projection(["/a", "SUM(/b * /c) AS /sum"]).grouping(["/a"]);
    client.subscribe(Subscribe::sow_and_deltas_of("s").options(totals)).await.unwrap();
    // From the first field on that is not the same in every subscription.
    let from = |header: &str| ["\"bm\"", "\"bs\"", "\"o\""].iter().find_map(|key| header.find(key));
    let fields: Vec<_> = sent.take().iter().filter_map(|header| Some(header[from(header)?..].to_owned())).collect();
    assert_eq!(
        fields,
        [
            r#""o":"conflation=250ms,conflation_key=[/a,/b/c]","a":"processed"}"#,
            r#""bm":"0","o":"rate=2.5X,rate_max_gap=100ms","a":"processed,persisted,completed"}"#,
            r#""bs":10,"top_n":5,"orderby":"/id DESC","o":"skip_n=10,oof","a":"processed,completed"}"#,
            r#""bs":10,"o":"projection=[/a,SUM(/b * /c) AS /sum],grouping=[/a]","a":"processed,completed"}"#,
        ]
    );
}

/// Covers 12#1.
#[tokio::test]
async fn every_write_has_its_bytes() {
    let server = TestServer::builder().ack_conflation(Duration::from_millis(5)).sow("s", "/id").start().await.unwrap();
    let sent = Sent::default();
    let builder = Client::builder("me").server(server.uri()).connector(SocketConnector::new().tap(sent.tap()));
    let client = builder.connect().await.unwrap();
    sent.take();
    client
        .write(Publish::new("s", br#"{"id":1}"#).correlation_id("YQ==").expiration(Duration::from_secs(5)))
        .await
        .unwrap();
    client.delta_publish("s", r#"{"id":1,"a":2}"#).await.unwrap();
    client.sow_delete(SowDelete::by_keys("s", ["1", "2"])).await.unwrap();
    client.sow_delete(SowDelete::by_filter("s", "1=1")).await.unwrap();
    client.sow_delete(SowDelete::by_data("s", r#"{"id":1}"#)).await.unwrap();
    client.write(Publish::new("s", br#"{"id":2}"#).sow_key("key+1")).await.unwrap();
    client.sow_delete_counted(SowDelete::by_filter("s", "1=1")).await.unwrap();
    client.flush().await.unwrap();
    assert_eq!(
        sent.take(),
        [
            r#"{"c":"p","s":N,"a":"persisted","t":"s","e":5,"x":"YQ=="}"#,
            r#"{"c":"delta_publish","s":N,"a":"persisted","t":"s"}"#,
            r#"{"c":"sow_delete","s":N,"a":"persisted","t":"s","sow_keys":"1,2"}"#,
            r#"{"c":"sow_delete","s":N,"a":"persisted","t":"s","f":"1=1"}"#,
            r#"{"c":"sow_delete","s":N,"a":"persisted","t":"s"}"#,
            r#"{"c":"p","s":N,"a":"persisted","t":"s","k":"key+1"}"#,
            r#"{"c":"sow_delete","s":N,"a":"persisted,stats","t":"s","cid":"dN","f":"1=1"}"#,
        ]
    );
    client.close(SOON).await;

    let builder = Client::plain("me").server(server.uri()).connector(SocketConnector::new().tap(sent.tap()));
    let client = builder.connect().await.unwrap();
    sent.take();
    client.publish("s", r#"{"id":1}"#).await.unwrap();
    client.sow_delete_counted(SowDelete::by_keys("s", ["1"])).await.unwrap();
    client.flush().await.unwrap();
    assert_eq!(
        sent.take(),
        [
            r#"{"c":"p","t":"s"}"#,
            r#"{"c":"sow_delete","t":"s","a":"stats","cid":"d0","sow_keys":"1"}"#,
            r#"{"c":"flush","cid":"c3","a":"completed"}"#
        ]
    );
}
