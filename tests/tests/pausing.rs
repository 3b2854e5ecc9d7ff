//! Subscriptions that are paused and resumed, alone and together, while connections
//! die.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use amps_core::{Reason, StartAt};
use amps_ha::client_core::Flow;
use amps_ha::error::Cause;
use amps_ha::event::Event;
use amps_ha::subscriptions::{QueueLimits, SubscriptionKind, SubscriptionSpec};
use amps_tests::pair::options;
use amps_tests::{ClientSetup, Entered, Pair};

const SECOND: Duration = Duration::from_secs(1);

/// Publishes, and takes what comes of it.
fn next(pair: &mut Pair, publisher: usize, body: &str, entered: &mut [&mut Entered]) {
    pair.publish(publisher, body).unwrap();
    pair.run_settled(publisher);
    pair.run_for(SECOND);
    for entered in entered {
        entered.take(usize::MAX);
    }
}

#[test]
fn a_paused_subscription_stays_paused_across_connections_and_goes_on_without_a_gap() {
    for starts_paused in [false, true] {
        let mut pair = Pair::with_servers(7, 2, Some(amps_testserver::Link::Sync));
        let publisher = pair.client(ClientSetup::new("publisher", [0, 1]));
        let client = pair.client(ClientSetup::new("p", [0, 1]));
        let mut spec = SubscriptionSpec::new(SubscriptionKind::Subscribe, "t");
        (spec.start, spec.paused) = (Some(StartAt::Epoch), starts_paused);
        let mut entered = pair.enter(client, spec, QueueLimits::default());
        pair.run_live(client);
        next(&mut pair, publisher, "0", &mut [&mut entered]);
        if !starts_paused {
            let answer = pair.flow(client, Flow::Pause, &[&entered]);
            pair.confirmed(answer);
        }
        next(&mut pair, publisher, "1", &mut [&mut entered]);
        pair.cut_and_back(client);
        next(&mut pair, publisher, "2", &mut [&mut entered]);
        assert_eq!(options(&pair.newest_subscribes(1)[0]).last(), Some(&"pause"));
        pair.crash_server(1);
        pair.run_until(60 * SECOND, |pair| !pair.is_live(client));
        pair.start_server(1);
        pair.run_live(client);
        assert_eq!(options(&pair.newest_subscribes(0)[0]).last(), Some(&"pause"));
        next(&mut pair, publisher, "3", &mut [&mut entered]);
        assert_eq!(entered.bodies(), if starts_paused { [].as_slice() } else { &["0"] });
        let answer = pair.flow(client, Flow::Resume, &[&entered]);
        pair.confirmed(answer);
        next(&mut pair, publisher, "4", &mut [&mut entered]);
        assert_eq!(entered.bodies(), ["0", "1", "2", "3", "4"]);
        pair.cut_and_back(client);
        assert!(pair.newest_subscribes(1).iter().all(|command| !options(command).contains(&"pause")));
    }
}

#[test]
fn subscriptions_resumed_together_are_resumed_together_on_later_connections() {
    let mut pair = Pair::new(8);
    let publisher = pair.client(ClientSetup::new("publisher", [0]));
    let client = pair.client(ClientSetup::new("p", [0]));
    let mut first = pair.subscribe_from(client, "t", StartAt::Epoch);
    let mut second = pair.subscribe_from(client, "^[tu]$", StartAt::Epoch);
    let mut apart = pair.subscribe_from(client, "t", StartAt::Epoch);
    pair.run_live(client);
    let answer = pair.flow(client, Flow::Pause, &[&first, &second]);
    pair.confirmed(answer);
    next(&mut pair, publisher, "0", &mut [&mut first, &mut second, &mut apart]);
    let answer = pair.flow(client, Flow::Resume, &[&first, &second]);
    pair.confirmed(answer);
    next(&mut pair, publisher, "1", &mut [&mut first, &mut second, &mut apart]);
    // From here on they are at different places.
    pair.publish_to(publisher, "u", "2").unwrap();
    pair.run_settled(publisher);
    pair.run_for(SECOND);
    for _ in 0..2 {
        pair.cut_and_back(client);
        let commands = pair.newest_subscribes(0);
        assert_eq!(commands.len(), 4, "{commands:?}");
        let paused: Vec<_> = commands.iter().filter(|command| options(command).contains(&"pause")).collect();
        assert_eq!(paused.len(), 2, "{commands:?}");
        assert_eq!(paused[0].bookmark, paused[1].bookmark, "one replay serves both");
        let ids = paused.iter().map(|command| command.subscription_id.clone().unwrap()).collect::<Vec<_>>().join(",");
        assert_eq!(commands[3].subscription_id, Some(ids));
        assert_eq!(commands[3].options.as_deref(), Some("resume"));
        assert_eq!(commands[3].bookmark, None);
    }
    next(&mut pair, publisher, "3", &mut [&mut first, &mut second, &mut apart]);
    assert_eq!(first.bodies(), ["0", "1", "3"]);
    assert_eq!(second.bodies(), ["0", "1", "2", "3"]);
    assert_eq!(apart.bodies(), ["0", "1", "3"]);
    // One alone is no group.
    pair.leave(client, &first);
    pair.cut_and_back(client);
    let commands = pair.newest_subscribes(0);
    assert_eq!(commands.len(), 2, "{commands:?}");
    assert!(commands.iter().all(|command| !options(command).contains(&"pause")), "{commands:?}");
}

#[test]
fn a_group_the_server_refuses_to_resume_fails_the_attempt() {
    let mut pair = Pair::with_servers(9, 2, None);
    let client = pair.client(ClientSetup::new("p", [0, 1]));
    let first = pair.subscribe_from(client, "t", StartAt::Epoch);
    let second = pair.subscribe_from(client, "u", StartAt::Epoch);
    pair.run_live(client);
    let answer = pair.flow(client, Flow::Resume, &[&first, &second]);
    pair.confirmed(answer);
    let asked = AtomicUsize::new(0);
    let now = pair.now;
    // Of what names `t`, the second is refused: the resumption.
    let rule = move |_: &str, _, topic: &str| topic != "t" || asked.fetch_add(1, Ordering::Relaxed) != 1;
    pair.server(1).with_faults(now, |faults| faults.entitle(rule));
    pair.crash_server(0);
    pair.run_until(60 * SECOND, |pair| pair.newest_subscribes(1).len() == 3);
    pair.run_live(client);
    let connections: BTreeSet<_> = pair.subscribes(1).iter().map(|command| command.connection).collect();
    assert_eq!(connections.len(), 2, "{}", pair.describe());
    assert!(pair.events(client).iter().any(|(_, event)| matches!(
        event,
        Event::AttemptFailed { cause: Cause::ResubscribeRefused { reason: Reason::NotEntitled, .. }, .. }
    )));
}
