use super::*;

fn line(publisher: usize, number: usize) -> Seen {
    Seen::Line(Line { publisher, number })
}

fn delivery(seen: Seen) -> Delivery {
    Delivery { seen, at_ms: 0 }
}

/// A log whose sequences rise by one.
fn server(name: &str, lines: &[(usize, usize)]) -> ServerLog {
    let entries = lines.iter().zip(1..).map(|(&(p, n), sequence)| (sequence, line(p, n))).collect();
    ServerLog { name: name.to_owned(), entries }
}

fn life(lines: &[(usize, usize)], undiscarded: usize) -> Life {
    Life { deliveries: lines.iter().map(|&(p, n)| delivery(line(p, n))).collect(), undiscarded }
}

fn subscriber(lives: Vec<Life>) -> Subscriber {
    Subscriber { name: "reader".to_owned(), lives }
}

/// Two publishers with two lines each, everything as it should be, and each
/// server with its own interleaving.
fn good() -> Evidence {
    Evidence {
        promised: vec![2, 2],
        servers: vec![server("A", &[(0, 0), (1, 0), (0, 1), (1, 1)]), server("B", &[(1, 0), (1, 1), (0, 0), (0, 1)])],
        subscribers: vec![subscriber(vec![life(&[(0, 0), (1, 0), (1, 1), (0, 1)], 0)])],
    }
}

/// lost, duplicated, out of order
fn counts(evidence: &Evidence) -> (usize, usize, usize) {
    let verdict = judge(evidence);
    (verdict.count(Kind::Lost), verdict.count(Kind::Duplicated), verdict.count(Kind::OutOfOrder))
}

#[test]
fn good_evidence_has_no_violation() {
    let verdict = judge(&good());
    assert_eq!(verdict.violations, []);
    assert_eq!((verdict.published, verdict.persisted, &verdict.delivered[..]), (4, 4, &[4][..]));
}

#[test]
fn a_promised_line_missing_from_one_server_is_lost() {
    let mut evidence = good();
    evidence.servers[1].entries.pop();
    assert_eq!(counts(&evidence), (1, 0, 0));
    assert_eq!(judge(&evidence).persisted, 3);
}

#[test]
fn a_promised_line_that_nobody_has_is_lost_everywhere() {
    let mut evidence = good();
    evidence.promised[0] = 3;
    assert_eq!(counts(&evidence), (3, 0, 0));
}

#[test]
fn a_line_one_server_logged_must_reach_the_others_though_not_promised() {
    let mut evidence = good();
    evidence.promised = vec![0, 0];
    evidence.servers[0].entries.push((9, line(0, 2)));
    evidence.subscribers[0].lives[0].deliveries.push(delivery(line(0, 2)));
    assert_eq!(counts(&evidence), (1, 0, 0));
}

#[test]
fn a_hole_below_a_promised_line_is_a_loss() {
    let mut evidence = good();
    evidence.promised[0] = 2;
    for server in &mut evidence.servers {
        server.entries.retain(|(_, seen)| *seen != line(0, 0));
    }
    evidence.subscribers[0].lives[0].deliveries.retain(|delivery| delivery.seen != line(0, 0));
    assert_eq!(counts(&evidence), (3, 0, 0));
}

#[test]
fn a_line_logged_twice_is_a_duplicate() {
    let mut evidence = good();
    evidence.servers[0].entries.push((9, line(0, 0)));
    assert_eq!(counts(&evidence), (0, 1, 0));
}

#[test]
fn a_log_out_of_a_publishers_order_is_found() {
    let mut evidence = good();
    evidence.servers[0] = server("A", &[(0, 1), (0, 0), (1, 0), (1, 1)]);
    assert_eq!(counts(&evidence), (0, 0, 1));
}

#[test]
fn a_sequence_used_again_is_found() {
    let mut evidence = good();
    evidence.servers[0].entries[2].0 = evidence.servers[0].entries[0].0;
    assert_eq!(counts(&evidence), (0, 0, 1));
}

#[test]
fn a_body_nobody_sent_is_found_in_logs_and_deliveries() {
    let mut evidence = good();
    evidence.servers[0].entries.push((9, Seen::Unknown("x".to_owned())));
    evidence.subscribers[0].lives[0].deliveries.push(delivery(Seen::Unknown("x".to_owned())));
    assert_eq!(counts(&evidence), (0, 2, 0));
}

#[test]
fn a_line_not_delivered_is_lost() {
    let mut evidence = good();
    evidence.subscribers[0].lives[0].deliveries.pop();
    assert_eq!(counts(&evidence), (1, 0, 0));
    assert_eq!(judge(&evidence).delivered, [3]);
}

#[test]
fn a_line_delivered_twice_in_one_life_is_a_duplicate_even_if_undiscarded() {
    let mut evidence = good();
    evidence.subscribers[0].lives = vec![life(&[(0, 0), (1, 0), (1, 1), (0, 1), (0, 1)], 5)];
    assert_eq!(counts(&evidence), (0, 1, 0));
}

#[test]
fn deliveries_out_of_a_publishers_order_are_found() {
    let mut evidence = good();
    evidence.subscribers[0].lives = vec![life(&[(0, 1), (0, 0), (1, 0), (1, 1)], 0)];
    assert_eq!(counts(&evidence), (0, 0, 1));
}

#[test]
fn an_undiscarded_line_may_come_again_in_the_next_life() {
    let mut evidence = good();
    let lives = vec![life(&[(0, 0), (1, 0)], 1), life(&[(1, 0), (1, 1), (0, 1)], 0)];
    evidence.subscribers = vec![subscriber(lives)];
    assert_eq!(counts(&evidence), (0, 0, 0));
}

#[test]
fn a_discarded_line_may_not_come_again() {
    let mut evidence = good();
    let lives = vec![life(&[(0, 0), (1, 0)], 1), life(&[(0, 0), (1, 0), (1, 1), (0, 1)], 0)];
    evidence.subscribers = vec![subscriber(lives)];
    assert_eq!(counts(&evidence), (0, 1, 0));
}

#[test]
fn an_undiscarded_line_that_the_next_life_never_got_may_still_come() {
    let mut evidence = good();
    let lives = vec![life(&[(0, 0)], 1), life(&[(1, 0)], 0), life(&[(0, 0), (1, 1), (0, 1)], 0)];
    evidence.subscribers = vec![subscriber(lives)];
    assert_eq!(counts(&evidence), (0, 0, 0));
}

#[test]
fn a_line_discarded_by_its_second_life_may_not_come_in_a_third() {
    let mut evidence = good();
    let lives = vec![life(&[(0, 0)], 1), life(&[(0, 0), (1, 0)], 1), life(&[(0, 0), (1, 0), (1, 1), (0, 1)], 0)];
    evidence.subscribers = vec![subscriber(lives)];
    assert_eq!(counts(&evidence), (0, 1, 0));
}

#[test]
fn a_line_skipped_by_one_life_and_delivered_by_the_next_is_out_of_order() {
    let mut evidence = good();
    let lives = vec![life(&[(0, 1), (1, 0)], 0), life(&[(0, 0), (1, 1)], 0)];
    evidence.subscribers = vec![subscriber(lives)];
    assert_eq!(counts(&evidence), (0, 0, 1));
}

#[test]
fn a_violation_names_place_line_and_reason() {
    let mut evidence = good();
    evidence.servers[1].entries.pop();
    let text = judge(&evidence).violations[0].to_string();
    assert_eq!(text, "lost: B: line 2 of publisher 1: not in this server's log");
}
