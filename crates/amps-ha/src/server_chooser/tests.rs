use std::collections::BTreeMap;

use super::*;

fn uri(host: &str) -> Uri {
    format!("tcp://{host}:9007/amps/json").parse().unwrap()
}

fn list(hosts: &[&str]) -> ListChooser {
    hosts.iter().map(|host| uri(host)).collect()
}

/// What the session reports of a server that was not live, or was.
fn report(host: &str, live: bool) -> Report {
    let times = Times { live: live.then_some(Duration::from_secs(1)), ..Times::default() };
    Report { uri: uri(host), attempt: 1, times }
}

fn refused(chooser: &mut dyn ServerChooser, host: &str) {
    chooser.report_failure(&report(host, false), &Cause::Closed);
}

fn lost(chooser: &mut dyn ServerChooser, host: &str) {
    chooser.report_failure(&report(host, true), &Cause::Closed);
}

fn recovered(chooser: &mut dyn ServerChooser, host: &str) {
    chooser.report_success(&report(host, true));
}

fn current(chooser: &mut dyn ServerChooser) -> String {
    chooser.current().unwrap().uri().host().to_owned()
}

#[test]
fn failures_walk_the_list_round_and_round() {
    let mut chooser = list(&["a", "b", "c"]);
    for expected in ["a", "b", "c", "a", "b"] {
        assert_eq!(current(&mut chooser), expected);
        assert_eq!(current(&mut chooser), expected, "it stays until a report");
        refused(&mut chooser, expected);
    }
    recovered(&mut chooser, "c");
    assert_eq!(current(&mut chooser), "c");
    refused(&mut chooser, "b");
    assert_eq!(current(&mut chooser), "c", "a late report");
    recovered(&mut chooser, "a");
    lost(&mut chooser, "a");
    assert_eq!(current(&mut chooser), "b", "the next after the one the client was moved to");
}

#[test]
fn one_server_is_tried_for_ever() {
    let mut chooser = list(&["a"]);
    for _ in 0..3 {
        assert_eq!(current(&mut chooser), "a");
        refused(&mut chooser, "a");
    }
}

#[test]
fn an_empty_list_is_an_error_that_says_what_came_before() {
    let mut chooser = ListChooser::default();
    assert!(chooser.current().is_none());
    assert!(chooser.error().contains("add a server"));
    chooser.add(uri("a"));
    refused(&mut chooser, "a");
    assert!(chooser.remove(&uri("a")));
    assert!(!chooser.remove(&uri("a")));
    assert!(chooser.current().is_none());
    let error = chooser.error();
    assert!(error.contains("closed the connection") && error.contains("a:9007"), "{error}");
}

#[test]
fn a_removed_server_is_not_tried_and_the_others_keep_their_turn() {
    let mut chooser = list(&["a", "b", "c"]);
    lost(&mut chooser, "a");
    assert_eq!(current(&mut chooser), "b");
    chooser.remove(&uri("a"));
    assert_eq!(current(&mut chooser), "b");
    chooser.remove(&uri("b"));
    assert_eq!(current(&mut chooser), "c");
    lost(&mut chooser, "b");
    assert_eq!(current(&mut chooser), "c", "the lost one is gone from the list");
    chooser.remove(&uri("c"));
    assert_eq!(chooser.servers().count(), 0);
}

/// Covers 11.4#6.
#[test]
fn weights_decide_how_often_a_server_is_chosen() {
    let mut chosen = BTreeMap::new();
    for seed in 0..4_000 {
        let mut chooser = WeightedChooser::new(seed).server(uri("a"), 3).server(uri("b"), 1).server(uri("none"), 0);
        let first = current(&mut chooser);
        assert_eq!(current(&mut chooser), first, "it stays until a report");
        *chosen.entry(first).or_insert(0) += 1;
    }
    assert_eq!(chosen.keys().collect::<Vec<_>>(), ["a", "b"]);
    assert!((2_800..3_200).contains(&chosen["a"]), "{chosen:?}");
    let choices = |seed| {
        let mut chooser = WeightedChooser::new(seed).server(uri("a"), 1).server(uri("b"), 1);
        let again = std::iter::repeat_with(move || {
            let host = current(&mut chooser);
            recovered(&mut chooser, &host);
            lost(&mut chooser, &host);
            host
        });
        again.take(20).collect::<Vec<_>>()
    };
    assert_eq!(choices(1), choices(1));
}

#[test]
fn a_weighted_chooser_tries_every_server_before_one_again() {
    for seed in 0..50 {
        let mut chooser = WeightedChooser::new(seed).server(uri("a"), 100).server(uri("b"), 1).server(uri("c"), 0);
        let mut last = String::new();
        for _ in 0..3 {
            let mut round = Vec::new();
            for _ in 0..3 {
                let host = current(&mut chooser);
                assert_ne!(host, last, "not twice in a row");
                refused(&mut chooser, &host);
                last.clone_from(&host);
                round.push(host);
            }
            round.sort();
            round.dedup();
            assert!(round.len() >= 2, "{round:?}");
        }
        recovered(&mut chooser, "c");
        assert_eq!(current(&mut chooser), "c", "it stays where the client is");
    }
    let mut one = WeightedChooser::new(1).server(uri("a"), 1);
    for _ in 0..3 {
        assert_eq!(current(&mut one), "a");
        refused(&mut one, "a");
    }
    assert!(WeightedChooser::new(1).current().is_none());
}

/// Covers 11.4#6.
#[test]
fn the_primary_comes_first_after_the_loss_of_a_stand_in() {
    let mut chooser = PrimaryChooser::new(uri("a"), [uri("b"), uri("c")]);
    for expected in ["a", "b", "c", "a", "b"] {
        assert_eq!(current(&mut chooser), expected);
        refused(&mut chooser, expected);
    }
    recovered(&mut chooser, "c");
    assert_eq!(current(&mut chooser), "c");
    lost(&mut chooser, "c");
    assert_eq!(current(&mut chooser), "a");
    recovered(&mut chooser, "a");
    lost(&mut chooser, "a");
    assert_eq!(current(&mut chooser), "b", "not the lost one at once");
    assert!(chooser.better(&uri("b")).is_none(), "only if asked to");
    let mut chooser = chooser.fail_back_after(Duration::from_secs(30));
    let (server, after) = chooser.better(&uri("b")).unwrap();
    assert_eq!((server.uri(), after), (&uri("a"), Duration::from_secs(30)));
    assert!(chooser.better(&uri("a")).is_none());
}

#[test]
fn gaps_are_refused_as_often_as_was_said() {
    let logon = |sequence, acknowledged| LogonInfo { uri: uri("a"), version: None, sequence, acknowledged };
    let mut always = RefuseGaps::new(list(&["a"]));
    let mut twice = RefuseGaps::new(list(&["a"])).give_in_after(2);
    for expected in [false, false, true] {
        assert!(!always.accepts(&logon(4, 5)));
        assert_eq!(twice.accepts(&logon(4, 5)), expected);
    }
    recovered(&mut twice, "a");
    assert!(!twice.accepts(&logon(0, 5)), "anew after a success");
    for (sequence, acknowledged) in [(0, 0), (5, 5), (6, 5)] {
        assert!(always.accepts(&logon(sequence, acknowledged)), "no gap");
    }
}
