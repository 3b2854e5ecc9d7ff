//! Message queues from the consumer's side: what is acknowledged, when, on
//! which connection, and what comes again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use amps_client::reconnect::FixedReconnect;
use amps_client::{
    AckOption, Client, Command, CommandError, Event, Executed, Message, PublishStore, SowDelete, Subscribe,
    Subscription, SubscriptionEvent,
};
use amps_core::message::MessageKind;
use amps_testserver::{Leasing, QueueConfig, QueueDepth, ReceivedCommand, TestServer};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);

async fn server_with(queue: QueueConfig) -> TestServer {
    TestServer::builder().queue(queue).ack_conflation(Duration::from_millis(5)).start().await.unwrap()
}

fn work() -> QueueConfig {
    QueueConfig::new("work").lease(Duration::from_secs(600)).max_per_subscription_backlog(10)
}

/// A server whose queue `work` holds the messages 1 to `count`.
async fn filled(count: u64) -> TestServer {
    let server = server_with(work()).await;
    publish(&server, 1..=count).await;
    server
}

async fn publish(server: &TestServer, bodies: impl IntoIterator<Item = u64>) {
    let publisher = client(server, "publisher").await;
    for body in bodies {
        publisher.publish("work", body.to_string()).await.unwrap();
    }
    publisher.flush().await.unwrap();
}

async fn client(server: &TestServer, name: &str) -> Client {
    let builder = Client::builder(name).server(server.uri()).publish_store(PublishStore::Memory);
    builder.reconnect(FixedReconnect::new(Duration::from_millis(1), 1)).connect().await.unwrap()
}

async fn next(subscription: &mut Subscription) -> Message {
    timeout(SOON, subscription.next_message()).await.expect("a message in time").unwrap().unwrap()
}

fn text(message: &Message) -> &str {
    std::str::from_utf8(message.data()).unwrap()
}

async fn take(subscription: &mut Subscription, count: usize) -> Vec<Message> {
    let mut messages = Vec::new();
    for _ in 0..count {
        messages.push(next(subscription).await);
    }
    messages
}

fn texts(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(text).collect()
}

/// The acknowledgements the server received.
fn acks(server: &TestServer) -> Vec<ReceivedCommand> {
    server.stats().commands.into_iter().filter(|command| command.kind == MessageKind::SowDelete).collect()
}

/// How many messages each of them names, and its option.
fn sizes(server: &TestServer) -> Vec<(usize, Option<String>)> {
    let size = |ack: &ReceivedCommand| ack.bookmark.as_deref().map_or(0, |list| list.split(',').count());
    acks(server).iter().map(|ack| (size(ack), ack.options.clone())).collect()
}

/// Waits until the queue is so full: available and leased.
async fn depth(server: &TestServer, available: usize, leased: usize) {
    let is = |depth: QueueDepth| (depth.available, depth.leased) == (available, leased);
    let reached = timeout(SOON, server.wait_for_queue("work", is)).await;
    let now = server.with_engine(|engine, _| engine.queue("work"));
    assert!(reached.is_ok(), "{now:?}, not {available} available and {leased} leased");
}

/// What the server grants is known to the application.
///
/// Covers 8.1#2.
#[tokio::test]
async fn the_backlog_the_server_grants_is_there_with_the_subscription() {
    let server = filled(0).await;
    let client = client(&server, "me").await;
    for (asked, granted) in [(None, 1), (Some(4), 4), (Some(20), 10)] {
        let mut subscribe = Subscribe::to("work");
        if let Some(asked) = asked {
            subscribe = subscribe.max_backlog(asked);
        }
        assert_eq!(client.subscribe(subscribe).await.unwrap().backlog(), Some(granted));
    }
    assert_eq!(client.subscribe("t").await.unwrap().backlog(), None, "no queue");
}

/// Asked for 20 and batches of 10, granted 5: five are sent together. No
/// acknowledgement has a sequence, is kept, or is logged.
///
/// Covers 8.1#1.
#[tokio::test]
async fn batches_are_capped_by_the_backlog() {
    let server = server_with(work().max_per_subscription_backlog(5)).await;
    publish(&server, 1..=10).await;
    let client = client(&server, "me").await;
    let subscribe = Subscribe::to("work").max_backlog(20).ack_batch(10).ack_timeout(Duration::ZERO);
    let mut stream = client.subscribe(subscribe).await.unwrap();
    for at in 1..=10 {
        let message = next(&mut stream).await;
        assert_eq!(text(&message), at.to_string());
        assert!(message.lease_period().is_some());
        assert!(stream.ack(&message));
    }
    depth(&server, 0, 0).await;
    assert_eq!(sizes(&server), [(5, None), (5, None)]);
    let sent = acks(&server);
    assert!(sent.iter().all(|ack| ack.sequence.is_none() && ack.topic.as_deref() == Some("work")), "{sent:?}");
    assert_eq!((client.unacknowledged(), server.log().len()), (0, 10));
}

/// Asking for message k acknowledges the one before it; the last one comes
/// again when the stream is dropped.
///
/// Covers 8.2#2.
#[tokio::test]
async fn asking_for_the_next_message_acknowledges_the_one_before() {
    let server = filled(3).await;
    let client = client(&server, "me").await;
    let mut stream = client.subscribe(Subscribe::to("work").done_on_next()).await.unwrap();
    assert_eq!(texts(&[next(&mut stream).await, next(&mut stream).await]), ["1", "2"]);
    depth(&server, 1, 1).await;
    assert_eq!(text(&next(&mut stream).await), "3");
    depth(&server, 0, 1).await;
    assert_eq!(sizes(&server), [(1, None), (1, None)]);
    drop(stream);
    depth(&server, 1, 0).await;
    let mut again = client.subscribe(Subscribe::to("work").done_on_next()).await.unwrap();
    assert_eq!(text(&next(&mut again).await), "3");
}

/// Acknowledgements that wait when the connection is lost are dropped, and so
/// are those of messages from before; all of them come again and are seen
/// again, and then acknowledged.
///
/// Covers 8#1, 8#2, 8.2#3.
#[tokio::test]
async fn what_was_not_acknowledged_before_a_disconnect_comes_again() {
    let server = filled(3).await;
    let client = client(&server, "me").await;
    let subscribe = Subscribe::to("work").max_backlog(3).ack_batch(3).ack_timeout(Duration::ZERO);
    let mut stream = client.subscribe(subscribe).await.unwrap();
    let before = take(&mut stream, 3).await;
    assert_eq!(stream.ack_all([]), 0);
    assert!(stream.ack(&before[0]) && stream.ack(&before[1]));
    assert!(server.kick("me"));
    let event = timeout(SOON, stream.next()).await.unwrap().unwrap().unwrap();
    assert!(matches!(event, SubscriptionEvent::Reconnected { .. }), "{event:?}");
    let again = take(&mut stream, 3).await;
    assert_eq!(texts(&again), ["1", "2", "3"]);
    for message in &before {
        assert!(!stream.is_leased(message) && !stream.ack(message), "leased on a connection that is gone");
        assert!(!stream.ack_with(message, AckOption::Cancel));
    }
    assert_eq!(sizes(&server), []);
    assert_eq!(stream.ack_all(&again), 3);
    depth(&server, 0, 0).await;
    assert_eq!(sizes(&server), [(3, None)]);
}

/// Covers 8.2#4.
#[tokio::test]
async fn closing_and_dropping_send_the_acknowledgements_that_wait() {
    let server = filled(6).await;
    let client = client(&server, "me").await;
    let batches = || Subscribe::to("work").max_backlog(2).ack_batch(100).ack_timeout(Duration::ZERO);
    let mut stream = client.subscribe(batches()).await.unwrap();
    let message = next(&mut stream).await;
    assert!(stream.ack(&message));
    drop(stream);
    depth(&server, 5, 0).await;
    let mut stream = client.subscribe(batches()).await.unwrap();
    let message = next(&mut stream).await;
    assert!(stream.ack(&message));
    stream.flush_acks().await.unwrap();
    assert_eq!(sizes(&server), [(1, None), (1, None)], "it is answered when the server has it");
    let message = next(&mut stream).await;
    assert!(stream.ack(&message));
    client.close(SOON).await;
    depth(&server, 3, 0).await;
    assert!(stream.flush_acks().await.is_err());
}

/// Whoever knows a message's bookmark can say what is to become of it, and is told
/// what the server did. Nothing of it is kept, or sent again.
///
/// Covers 8.4#1.
#[tokio::test]
async fn messages_are_acknowledged_by_their_bookmarks() {
    let server = filled(6).await;
    let client = client(&server, "me").await;
    let mut stream = client.subscribe(Subscribe::to("work").max_backlog(6)).await.unwrap();
    let bookmarks: Vec<_> = take(&mut stream, 6).await.iter().map(|message| message.bookmark().unwrap()).collect();
    let found = client.ack("work", &bookmarks[..2]).await.unwrap().unwrap();
    assert_eq!((found.records, found.topic_matches), (2, 6));
    // As a command put together by hand.
    let by_hand = Command::sow_delete("work").bookmarks(bookmarks[1..3].to_vec());
    match client.execute(by_hand).await.unwrap() {
        Executed::Acknowledged(Some(found)) => assert_eq!(found.records, 1, "one of them was done already"),
        other => panic!("{other:?}"),
    }
    let expire = Command::sow_delete("work").bookmarks([bookmarks[3]]).options("expire");
    assert!(matches!(client.execute(expire).await.unwrap(), Executed::Acknowledged(Some(found)) if found.records == 1));
    let given_back = client.ack_with("work", [&bookmarks[4]], AckOption::Cancel).await.unwrap().unwrap();
    assert_eq!(given_back.records, 1);
    assert_eq!(text(&next(&mut stream).await), "5", "again");
    // By a filter it is a deletion like others, and stored.
    let deleted = client.sow_delete_counted(SowDelete::by_filter("work", "1=1")).await.unwrap().unwrap();
    assert_eq!(deleted.records, 2);
    depth(&server, 0, 0).await;
    let sent: Vec<_> = acks(&server).into_iter().map(|ack| (ack.sequence.is_some(), ack.options)).collect();
    let option = |name: &str| (false, Some(name.to_owned()));
    assert_eq!(sent, [(false, None), (false, None), option("expire"), option("cancel"), (true, None)]);
    assert_eq!(client.stray_counts().unexpected, 0);
}

#[tokio::test]
async fn an_acknowledgement_by_bookmarks_that_comes_to_nothing_says_so() {
    let server = server_with(work().leasing(Leasing::Strict)).await;
    publish(&server, 1..=1).await;
    let (holder, client) = (client(&server, "holder").await, client(&server, "me").await);
    let mut stream = holder.subscribe("work").await.unwrap();
    let bookmark = next(&mut stream).await.bookmark().unwrap();
    assert_eq!(client.ack("work", [&bookmark]).await.unwrap().unwrap().records, 0, "it is leased to somebody else");
    let refused = client.ack("no queue", [&bookmark]).await.unwrap_err();
    assert!(matches!(&refused, CommandError::Refused { topic, .. } if topic == "no queue"), "{refused}");
    for none in [client.ack("work", []).await, client.ack("", [&bookmark]).await] {
        assert!(matches!(none, Err(CommandError::Invalid { .. })), "{none:?}");
    }
    // The connection dies before the answer.
    server.faults(|faults| faults.ignore(MessageKind::SowDelete, true));
    let sent = acks(&server).len();
    let asked = client.ack("work", [&bookmark]);
    let cut = async {
        server.wait_for(|stats| stats.commands.iter().any(|c| c.bookmark.is_some() && c.options.is_none())).await;
        while acks(&server).len() == sent {
            tokio::task::yield_now().await;
        }
        assert!(server.kick("me"));
    };
    let (answer, ()) = timeout(SOON, async { tokio::join!(asked, cut) }).await.unwrap();
    assert!(matches!(answer, Err(CommandError::Disconnected)), "{answer:?}");
    timeout(SOON, client.flush()).await.unwrap().unwrap();
    client.subscribe("t").await.unwrap();
    assert_eq!(acks(&server).len(), sent + 1, "not sent again");
    server.faults(|faults| faults.ignore(MessageKind::SowDelete, false));
    client.close(SOON).await;
    assert!(matches!(client.ack("work", [&bookmark]).await, Err(CommandError::Closed)));
}

/// Of two messages whose leases would end at one time, only that whose lease was not
/// made longer comes again.
#[tokio::test]
async fn a_lease_can_be_made_longer() {
    let server = server_with(work().lease(Duration::from_millis(300))).await;
    publish(&server, 1..=2).await;
    let client = client(&server, "me").await;
    let mut stream = client.subscribe(Subscribe::to("work").max_backlog(2)).await.unwrap();
    let messages = take(&mut stream, 2).await;
    let longer = AckOption::Extend(Duration::from_secs(600));
    assert!(stream.ack_with(&messages[0], longer));
    stream.flush_acks().await.unwrap();
    assert_eq!(text(&next(&mut stream).await), "2");
    let bookmark = messages[0].bookmark().unwrap();
    let found = client.ack_with("work", [&bookmark], longer).await.unwrap().unwrap();
    assert_eq!(found.records, 1, "it is leased all the time");
    assert!(stream.ack(&messages[0]));
}

/// A planned move takes them along too.
#[tokio::test]
async fn moving_sends_the_acknowledgements_that_wait() {
    let (server, other) = (filled(2).await, server_with(work()).await);
    let client = client(&server, "me").await;
    let subscribe = Subscribe::to("work").max_backlog(2).ack_batch(2).ack_timeout(Duration::ZERO);
    let mut stream = client.subscribe(subscribe).await.unwrap();
    let message = next(&mut stream).await;
    assert!(stream.ack(&message));
    client.move_to(amps_client::server_chooser::Server::new(other.uri().parse().unwrap())).await.unwrap();
    depth(&server, 1, 0).await;
    assert_eq!(sizes(&server), [(1, None)]);
}

/// A handler that fails gives its message back, once, and says nothing else
/// about it; the same goes for a panic, and for a guard that is dropped.
///
/// Covers 8.3#2.
#[tokio::test]
async fn a_message_whose_handler_fails_is_given_back_once() {
    let server = server_with(work().max_cancels(0)).await;
    publish(&server, 1..=3).await;
    let client = client(&server, "me").await;
    let mut events = client.events();
    let mut stream = client.subscribe(Subscribe::to("work").max_backlog(4)).await.unwrap();
    let (last, third) = oneshot::channel::<()>();
    let mut last = Some(last);
    let handling = stream.for_each(|message| match message.data() {
        b"1" => Err("one"),
        b"2" => panic!("two"),
        _ => {
            drop(last.take());
            Ok(())
        }
    });
    tokio::select! {
        ended = handling => panic!("{ended:?}"),
        _ = third => {}
    }
    for body in ["1", "2"] {
        match timeout(SOON, events.next()).await.unwrap() {
            Some(Event::HandlerFailed(failed)) => assert_eq!(text(&failed.message), body),
            other => panic!("{other:?}"),
        }
    }
    publish(&server, [4]).await;
    drop(timeout(SOON, stream.next_guarded()).await.unwrap().unwrap());
    depth(&server, 0, 0).await;
    let cancelled = (1, Some("cancel".to_owned()));
    assert_eq!(sizes(&server), [cancelled.clone(), cancelled.clone(), (1, None), cancelled]);
}

/// So many handlers run beside each other at most, and all of the queue is
/// worked through; what fails or panics is given back and comes again, until it
/// succeeds.
#[tokio::test]
async fn a_worker_runs_handlers_beside_each_other_until_the_queue_is_empty() {
    let server = filled(40).await;
    let client = client(&server, "me").await;
    let mut events = client.events();
    let mut stream = client.subscribe(Subscribe::to("work").max_backlog(8).ack_batch(3)).await.unwrap();
    let running = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let tried = Arc::new(Mutex::new(std::collections::BTreeMap::<String, usize>::new()));
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async { stopped.await.unwrap_or_default() };
    let working = stream.process_until(stopped, 4, |message| {
        let (running, most, tried) = (Arc::clone(&running), Arc::clone(&most), Arc::clone(&tried));
        async move {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            running.fetch_sub(1, Ordering::SeqCst);
            let body = text(&message).to_owned();
            let times = *tried.lock().unwrap().entry(body.clone()).and_modify(|times| *times += 1).or_insert(1);
            match (body.as_str(), times) {
                ("7", 1 | 2) => Err("not yet"),
                ("9", 1) => panic!("not now"),
                _ => Ok(()),
            }
        }
    });
    let empty = async {
        depth(&server, 0, 0).await;
        drop(stop);
    };
    let (processed, ()) = tokio::join!(working, empty);
    let processed = processed.unwrap();
    assert_eq!((processed.done, processed.failed, processed.lost), (40, 3, 0));
    assert_eq!(most.load(Ordering::SeqCst), 4);
    let tried: Vec<_> =
        tried.lock().unwrap().iter().filter(|(_, times)| **times > 1).map(|(b, t)| (b.clone(), *t)).collect();
    assert_eq!(tried, [("7".to_owned(), 3), ("9".to_owned(), 2)]);
    let cancels = sizes(&server).iter().filter(|(_, option)| option.as_deref() == Some("cancel")).count();
    assert_eq!(cancels, 3);
    for _ in 0..3 {
        let event = timeout(SOON, events.next()).await.unwrap().unwrap();
        assert!(matches!(event, Event::HandlerFailed(_)), "{event:?}");
    }
}

/// More workers than the server leases messages to: no more run.
#[tokio::test]
async fn a_worker_never_runs_more_handlers_than_the_backlog() {
    let server = server_with(work().max_per_subscription_backlog(2)).await;
    publish(&server, 1..=6).await;
    let client = client(&server, "me").await;
    let mut stream = client.subscribe(Subscribe::to("work").max_backlog(9)).await.unwrap();
    let gate = Arc::new(Semaphore::new(0));
    let started = Arc::new(AtomicUsize::new(0));
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async { stopped.await.unwrap_or_default() };
    let working = stream.process_until(stopped, 9, |_| {
        let (gate, started) = (Arc::clone(&gate), Arc::clone(&started));
        async move {
            started.fetch_add(1, Ordering::SeqCst);
            gate.acquire().await.map(|permit| permit.forget())
        }
    });
    let watching = async {
        depth(&server, 4, 2).await;
        while started.load(Ordering::SeqCst) < 2 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(1);
        depth(&server, 3, 2).await;
        assert!(started.load(Ordering::SeqCst) <= 3);
        // Stopped, it lets those that run finish, and begins no other.
        drop(stop);
        gate.add_permits(9);
    };
    let (processed, ()) = tokio::join!(working, watching);
    let done = processed.unwrap().done;
    assert_eq!(done, started.load(Ordering::SeqCst) as u64);
    assert!((1..=3).contains(&done), "{done}");
    drop(stream);
    depth(&server, 6 - done as usize, 0).await;
}

/// What was read before the worker began is done with, as with any other way to
/// ask for more.
#[tokio::test]
async fn a_worker_takes_the_message_before_it_for_done() {
    let server = filled(2).await;
    let client = client(&server, "me").await;
    let mut stream = client.subscribe(Subscribe::to("work").max_backlog(2).done_on_next()).await.unwrap();
    assert_eq!(text(&next(&mut stream).await), "1");
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async { stopped.await.unwrap_or_default() };
    let working = stream.process_until(stopped, 1, |_| async { Ok::<_, std::io::Error>(()) });
    let empty = async {
        depth(&server, 0, 0).await;
        drop(stop);
    };
    let (processed, ()) = tokio::join!(working, empty);
    assert_eq!(processed.unwrap().done, 1);
}

/// Dropped, a worker stops its handlers and gives their messages back.
#[tokio::test]
async fn a_worker_that_is_dropped_gives_its_messages_back() {
    let server = server_with(work().max_cancels(0)).await;
    publish(&server, 1..=5).await;
    let client = client(&server, "me").await;
    let mut stream = client.subscribe(Subscribe::to("work").max_backlog(3)).await.unwrap();
    let (all, began) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let working = stream.process(3, |_| {
        let (all, began) = (Arc::clone(&all), Arc::clone(&began));
        async move {
            began.add_permits(1);
            all.acquire().await.map(|_| ())
        }
    });
    tokio::select! {
        ended = working => panic!("{ended:?}"),
        _ = began.acquire_many(3) => {}
    }
    // Given back, they have expired at once; the next two are leased.
    depth(&server, 0, 2).await;
    let cancels = sizes(&server);
    assert_eq!(cancels, vec![(1, Some("cancel".to_owned())); 3]);
    assert_eq!(texts(&take(&mut stream, 2).await), ["4", "5"]);
}

/// The connection is lost while handlers run: what they did is not
/// acknowledged, is counted as lost, and is done again. What waited in the
/// stream is not done twice.
#[tokio::test]
async fn a_worker_goes_on_across_a_lost_connection() {
    let server = filled(4).await;
    let client = client(&server, "me").await;
    let mut stream = client.subscribe(Subscribe::to("work").max_backlog(4)).await.unwrap();
    let (gate, began) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let handled = Arc::new(Mutex::new(Vec::new()));
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async { stopped.await.unwrap_or_default() };
    let working = stream.process_until(stopped, 2, |message| {
        let (gate, began, handled) = (Arc::clone(&gate), Arc::clone(&began), Arc::clone(&handled));
        async move {
            began.add_permits(1);
            handled.lock().unwrap().push(text(&message).to_owned());
            gate.acquire().await.map(|_| ())
        }
    });
    let watching = async {
        drop(began.acquire_many(2).await.unwrap());
        assert!(server.kick("me"));
        timeout(SOON, server.wait_for(|stats| stats.logons >= 3)).await.unwrap();
        depth(&server, 0, 4).await;
        gate.add_permits(1);
        depth(&server, 0, 0).await;
        drop(stop);
    };
    let (processed, ()) = tokio::join!(working, watching);
    let processed = processed.unwrap();
    assert_eq!((processed.done, processed.failed, processed.lost), (4, 0, 2));
    let mut handled = handled.lock().unwrap().clone();
    handled.sort();
    assert_eq!(handled, ["1", "1", "2", "2", "3", "4"]);
}
