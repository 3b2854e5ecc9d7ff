use super::*;

const A: &str = "tcp://a";
const B: &str = "tcp://b";
const OVERLAP: Duration = Duration::from_secs(10);

fn bm(publisher: u64, sequence: u64) -> Bookmark {
    Bookmark { publisher, sequence }
}

fn list(bookmarks: &[(u64, u64)]) -> StartAt {
    StartAt::Bookmarks(bookmarks.iter().map(|(publisher, sequence)| bm(*publisher, *sequence)).collect())
}

/// A subscription from the start of the log, entered on server A.
fn entered() -> (Bookmarks, Instant) {
    let mut bookmarks = Bookmarks::new(StartAt::MostRecent, OVERLAP);
    assert_eq!(bookmarks.connect(A), StartAt::Epoch);
    (bookmarks, Instant::now())
}

fn receive_all(bookmarks: &mut Bookmarks, now: Instant, messages: &[(u64, u64)]) {
    for (publisher, sequence) in messages {
        assert_eq!(bookmarks.receive(now, bm(*publisher, *sequence)), Receipt::New);
    }
}

fn discard_all(bookmarks: &mut Bookmarks, messages: &[(u64, u64)]) {
    for (publisher, sequence) in messages {
        assert!(bookmarks.discard(bm(*publisher, *sequence)));
    }
}

/// Where a new process starts that has everything saved.
fn after_restart(bookmarks: &mut Bookmarks) -> (Bookmarks, StartAt) {
    let mut saved: BTreeMap<u64, PublisherState> = BTreeMap::new();
    let changes = bookmarks.take_changes();
    saved.extend(changes.publishers);
    let state = BookmarkState { base: changes.base, publishers: saved.into_iter().collect() };
    let mut bookmarks = Bookmarks::recovered(StartAt::MostRecent, OVERLAP, &state);
    let start = bookmarks.connect(A);
    (bookmarks, start)
}

/// Covers 10#1, 11.8.3#1, 20#19.
#[test]
fn the_resume_list_names_the_newest_with_everything_below_discarded() {
    type Sequences<'a> = &'a [(u64, u64)];
    let table: [(Sequences<'_>, Sequences<'_>, StartAt); 6] = [
        (&[(1, 5), (2, 7), (1, 6), (2, 8)], &[(1, 5), (2, 7), (1, 6)], list(&[(1, 6), (2, 7)])),
        (&[(1, 5), (1, 6), (1, 9)], &[(1, 5), (1, 6), (1, 9)], list(&[(1, 9)])),
        (&[(1, 5), (1, 6), (1, 9)], &[(1, 9), (1, 5)], list(&[(1, 5)])),
        (&[(1, 5), (1, 6), (1, 9)], &[(1, 9), (1, 6), (1, 5)], list(&[(1, 9)])),
        // Nothing of publisher 2 is discarded: only the start lies before it.
        (&[(2, 7), (1, 5)], &[(1, 5)], StartAt::Epoch),
        (&[(1, 5)], &[], StartAt::Epoch),
    ];
    for (received, discarded, expected) in table {
        let (mut bookmarks, now) = entered();
        receive_all(&mut bookmarks, now, received);
        discard_all(&mut bookmarks, discarded);
        let (mut next, start) = after_restart(&mut bookmarks);
        assert_eq!(start, expected, "{received:?} {discarded:?}");
        for (publisher, sequence) in received {
            let expected = if discarded.contains(&(*publisher, *sequence)) { Receipt::Duplicate } else { Receipt::New };
            assert_eq!(next.receive(now, bm(*publisher, *sequence)), expected, "{publisher}|{sequence}");
        }
    }
}

/// Covers 20#20.
#[test]
fn a_message_is_new_once_in_one_life() {
    let (mut bookmarks, now) = entered();
    receive_all(&mut bookmarks, now, &[(1, 5), (2, 5), (1, 7)]);
    for (publisher, sequence) in [(1, 5), (1, 7), (2, 5), (1, 6)] {
        assert_eq!(bookmarks.receive(now, bm(publisher, sequence)), Receipt::Duplicate);
    }
    assert_eq!((bookmarks.undiscarded(), bookmarks.duplicates()), (3, 4));
    assert!(bookmarks.discard(bm(1, 7)));
    assert!(!bookmarks.discard(bm(1, 7)), "only once");
    assert!(!bookmarks.discard(bm(1, 8)), "never received");
    assert!(!bookmarks.discard(bm(3, 1)));
    assert_eq!(bookmarks.undiscarded(), 2);
}

#[test]
fn a_persisted_acknowledgment_raises_only_its_own_publisher_and_never_past_what_is_pending() {
    let (mut bookmarks, now) = entered();
    receive_all(&mut bookmarks, now, &[(1, 5), (2, 7), (1, 6)]);
    discard_all(&mut bookmarks, &[(1, 5), (2, 7)]);
    bookmarks.persisted(now, bm(2, 9));
    let floor = |bookmarks: &Bookmarks, publisher| bookmarks.publishers[&publisher].floor();
    assert_eq!(floor(&bookmarks, 2), Some(7), "before completed it is ignored");
    bookmarks.completed(now, None);
    bookmarks.persisted(now, bm(2, 9));
    bookmarks.persisted(now, bm(1, 8));
    bookmarks.persisted(now, bm(3, 1));
    assert_eq!((floor(&bookmarks, 1), floor(&bookmarks, 2), floor(&bookmarks, 3)), (Some(5), Some(9), Some(1)));
    discard_all(&mut bookmarks, &[(1, 6)]);
    assert_eq!(floor(&bookmarks, 1), Some(8));
    bookmarks.connect(A);
    bookmarks.persisted(now, bm(2, 11));
    assert_eq!(floor(&bookmarks, 2), Some(9), "a new connection must complete first");
    assert_eq!(bookmarks.receive(now, bm(2, 10)), Receipt::New);
    // An acknowledgment that ran ahead of its messages loses none of them.
    bookmarks.completed(now, None);
    bookmarks.persisted(now, bm(2, 20));
    assert_eq!(floor(&bookmarks, 2), Some(9));
    assert_eq!(bookmarks.receive(now, bm(2, 15)), Receipt::New);
}

#[test]
fn the_same_server_resumes_behind_its_last_message() {
    let (mut bookmarks, now) = entered();
    assert_eq!(bookmarks.connect(A), StartAt::Epoch, "nothing came");
    receive_all(&mut bookmarks, now, &[(1, 5), (2, 7)]);
    assert_eq!(bookmarks.connect(A), list(&[(2, 7)]));
    assert_eq!(bookmarks.receive(now, bm(1, 5)), Receipt::Duplicate);
    assert_eq!(bookmarks.connect(A), list(&[(1, 5)]), "a duplicate is a position too");
    bookmarks.started_instead(StartAt::Epoch);
    assert_eq!(bookmarks.connect(A), StartAt::Epoch);
}

#[test]
fn another_server_resumes_behind_what_is_older_than_the_overlap() {
    let (mut bookmarks, start) = entered();
    let at = |seconds| start + Duration::from_secs(seconds);
    receive_all(&mut bookmarks, at(0), &[(1, 1), (2, 1)]);
    bookmarks.completed(at(0), None);
    for second in 1..=30 {
        receive_all(&mut bookmarks, at(second), &[(1, 1 + second)]);
        bookmarks.drained(at(second));
    }
    // Publisher 3 came within the overlap; publisher 1 had 21 at 20 s.
    receive_all(&mut bookmarks, at(30), &[(3, 1)]);
    let StartAt::Bookmarks(resume) = bookmarks.connect(B) else { panic!("a list") };
    let [first, second] = resume.as_slice() else { panic!("{resume}") };
    assert!(first.publisher == 1 && (18..=21).contains(&first.sequence), "{resume}");
    assert_eq!(*second, bm(2, 1));
    assert_eq!(bookmarks.receive(at(31), bm(1, 25)), Receipt::Duplicate);
    assert_eq!(bookmarks.receive(at(31), bm(4, 1)), Receipt::New);
}

#[test]
fn within_the_overlap_another_server_starts_where_the_subscription_started() {
    let at = Instant::now();
    for (start, expected) in [
        (StartAt::Epoch, StartAt::Epoch),
        (StartAt::MostRecent, StartAt::Epoch),
        (list(&[(9, 9)]), list(&[(9, 9)])),
        (StartAt::Timestamp("20260102T030405Z".to_owned()), StartAt::Timestamp("20260102T030405Z".to_owned())),
        (StartAt::Now, list(&[(1, 5)])),
    ] {
        let mut bookmarks = Bookmarks::new(start, OVERLAP);
        bookmarks.connect(A);
        receive_all(&mut bookmarks, at, &[(1, 5), (1, 6)]);
        bookmarks.completed(at, None);
        bookmarks.drained(at + OVERLAP / 2);
        assert_eq!(bookmarks.connect(B), expected);
    }
    // A reader that is behind does not know by how much.
    let (mut bookmarks, at) = entered();
    receive_all(&mut bookmarks, at, &[(1, 5)]);
    receive_all(&mut bookmarks, at + 10 * OVERLAP, &[(1, 6)]);
    assert_eq!(bookmarks.connect(B), StartAt::Epoch);
}

#[test]
fn a_server_that_pauses_within_a_replay_is_not_drained() {
    let (mut bookmarks, start) = entered();
    receive_all(&mut bookmarks, start, &[(1, 1), (1, 2)]);
    // The socket is empty for a moment, but the log holds more for us.
    bookmarks.drained(start + 2 * OVERLAP);
    assert_eq!(bookmarks.connect(B), StartAt::Epoch);
    receive_all(&mut bookmarks, start, &[(1, 3)]);
    bookmarks.completed(start, None);
    bookmarks.drained(start + 2 * OVERLAP);
    assert!(matches!(bookmarks.connect(A), StartAt::Bookmarks(_)));
}

/// What comes into an empty log after a subscription at NOW is all for it,
/// whichever connection, server or process asks next.
#[test]
fn now_in_an_empty_log_is_its_beginning() {
    for server in [A, B] {
        let mut bookmarks = Bookmarks::new(StartAt::Now, OVERLAP);
        assert_eq!(bookmarks.connect(A), StartAt::Now);
        assert_eq!(bookmarks.place(), None);
        bookmarks.completed(Instant::now(), Some(LOG_START));
        assert_eq!(bookmarks.place(), Some(StartAt::Epoch));
        assert_eq!(bookmarks.connect(server), StartAt::Epoch);
        let state = bookmarks.take_changes();
        assert_eq!(Bookmarks::recovered(StartAt::Now, OVERLAP, &state).connect(server), StartAt::Epoch);
    }
}

#[test]
fn a_subscription_from_now_resumes_at_its_base() {
    let now = Instant::now();
    let mut bookmarks = Bookmarks::new(StartAt::Now, OVERLAP);
    assert_eq!(bookmarks.connect(A), StartAt::Now);
    bookmarks.completed(now, Some(bm(7, 77)));
    assert_eq!(bookmarks.connect(A), list(&[(7, 77)]));
    assert_eq!(bookmarks.connect(B), list(&[(7, 77)]));
    assert_eq!(bookmarks.receive(now, bm(7, 76)), Receipt::Duplicate, "from before the start");
    receive_all(&mut bookmarks, now, &[(1, 1)]);
    assert_eq!(bookmarks.connect(A), list(&[(7, 77)]));
    // Publisher 1 has no position: a restart goes back to the base too.
    let changes = bookmarks.take_changes();
    assert_eq!(changes.base, Some(bm(7, 77)));
    let mut next = Bookmarks::recovered(StartAt::Now, OVERLAP, &changes);
    assert_eq!(next.connect(A), list(&[(7, 77)]));

    // 0|1| is a name for NOW, not a position.
    let mut bookmarks = Bookmarks::new(StartAt::Now, OVERLAP);
    bookmarks.connect(A);
    bookmarks.completed(now, Some(bm(0, 1)));
    assert_eq!(bookmarks.connect(B), StartAt::Now);
}

/// A subscription that is replaced goes on there.
#[test]
fn the_place_is_known_once_anything_says_where_now_was() {
    let now = Instant::now();
    let entered_at = |start: StartAt| {
        let mut bookmarks = Bookmarks::new(start, OVERLAP);
        assert_eq!(bookmarks.place(), None, "it is not entered yet");
        bookmarks.connect(A);
        bookmarks
    };
    assert_eq!(entered_at(StartAt::Epoch).place(), Some(StartAt::Epoch));
    let mut bookmarks = entered_at(StartAt::Now);
    assert_eq!(bookmarks.place(), None);
    bookmarks.completed(now, None);
    assert_eq!(bookmarks.place(), Some(StartAt::Now), "nothing came before that");
    let mut bookmarks = entered_at(StartAt::Now);
    receive_all(&mut bookmarks, now, &[(1, 5)]);
    assert_eq!(bookmarks.place(), Some(list(&[(1, 5)])));
}

/// What came before says nothing of what the server still has for it.
#[test]
fn a_subscription_that_is_replaced_is_behind_again() {
    let (mut bookmarks, start) = entered();
    bookmarks.completed(start, None);
    bookmarks.replaced(list(&[(9, 9)]));
    assert_eq!(bookmarks.connect(A), list(&[(9, 9)]));
    let (mut bookmarks, start) = entered();
    receive_all(&mut bookmarks, start, &[(1, 1)]);
    bookmarks.completed(start, None);
    bookmarks.replaced(list(&[(1, 1)]));
    bookmarks.drained(start + 2 * OVERLAP);
    assert_eq!(bookmarks.connect(B), StartAt::Epoch);
}

/// One publisher of an earlier life.
fn recovered(floor: u64, ahead: &[(u64, u64)]) -> Bookmarks {
    let publisher = PublisherState { floor: Some(floor), anchor: None, ahead: ahead.to_vec() };
    let state = BookmarkState { base: None, publishers: vec![(1, publisher)] };
    let mut bookmarks = Bookmarks::recovered(StartAt::MostRecent, OVERLAP, &state);
    bookmarks.connect(A);
    bookmarks
}

/// The floor of the one publisher, if it moved.
fn moved_to(bookmarks: &mut Bookmarks) -> Option<u64> {
    bookmarks.take_changes().publishers.pop().and_then(|(_, state)| state.floor)
}

#[test]
fn what_lies_before_an_earlier_lifes_discards_is_still_to_come() {
    let mut bookmarks = recovered(5, &[(20, 30)]);
    let now = Instant::now();
    for sequence in [6, 7, 19] {
        assert_eq!(bookmarks.receive(now, bm(1, sequence)), Receipt::New, "{sequence}");
        assert!(bookmarks.discard(bm(1, sequence)));
        assert_eq!(moved_to(&mut bookmarks), Some(sequence));
    }
    assert_eq!(bookmarks.receive(now, bm(1, 20)), Receipt::Duplicate);
    assert_eq!(moved_to(&mut bookmarks), Some(30), "with the first of them all are reached");
    assert_eq!(bookmarks.receive(now, bm(1, 31)), Receipt::New);
}

/// A store that was killed may have the range that replaced another, and the other.
#[test]
fn ranges_of_discards_within_others_are_one() {
    for ahead in [[(10, 20), (12, 13)], [(12, 13), (10, 20)], [(10, 15), (13, 20)], [(13, 20), (10, 13)]] {
        let mut bookmarks = recovered(5, &ahead);
        let now = Instant::now();
        receive_all(&mut bookmarks, now, &[(1, 6)]);
        for sequence in 10..=20 {
            assert_eq!(bookmarks.receive(now, bm(1, sequence)), Receipt::Duplicate, "{ahead:?} {sequence}");
        }
        assert_eq!(bookmarks.receive(now, bm(1, 21)), Receipt::New);
    }
}

#[test]
fn a_persisted_acknowledgment_is_a_change_when_it_moves_the_floor() {
    let (mut bookmarks, now) = entered();
    receive_all(&mut bookmarks, now, &[(1, 5), (1, 7)]);
    bookmarks.completed(now, None);
    discard_all(&mut bookmarks, &[(1, 5)]);
    assert_eq!(moved_to(&mut bookmarks), Some(5));
    bookmarks.persisted(now, bm(1, 6));
    assert_eq!(moved_to(&mut bookmarks), Some(6));
    bookmarks.persisted(now, bm(1, 6));
    bookmarks.persisted(now, bm(1, 4));
    assert!(bookmarks.take_changes().is_empty(), "it did not move");
}

#[test]
fn it_knows_since_when_the_oldest_waits_to_be_discarded() {
    let (mut bookmarks, start) = entered();
    assert_eq!(bookmarks.undiscarded_since(), None);
    let later = start + Duration::from_secs(60);
    receive_all(&mut bookmarks, start, &[(2, 1)]);
    receive_all(&mut bookmarks, later, &[(1, 1), (2, 2)]);
    assert_eq!(bookmarks.undiscarded_since(), Some(start));
    discard_all(&mut bookmarks, &[(2, 1)]);
    assert_eq!(bookmarks.undiscarded_since(), Some(later));
    discard_all(&mut bookmarks, &[(1, 1), (2, 2)]);
    assert_eq!(bookmarks.undiscarded_since(), None);
}

#[test]
fn a_flight_that_never_catches_up_keeps_the_old_position() {
    let (mut bookmarks, start) = entered();
    let at = |seconds| start + Duration::from_secs(seconds);
    receive_all(&mut bookmarks, at(0), &[(1, 1)]);
    bookmarks.completed(at(0), None);
    receive_all(&mut bookmarks, at(20), &[(1, 2)]);
    bookmarks.drained(at(20));
    assert_eq!(bookmarks.connect(B), list(&[(1, 1)]));
    // B is lost before it sent what lies between; A's last position says
    // nothing about what B had before it.
    assert_eq!(bookmarks.connect(A), list(&[(1, 1)]));
}

/// Covers 11.8.3#3, 20#25.
#[test]
fn memory_holds_only_what_is_not_discarded() {
    const COUNT: u64 = 1_000_000;
    let (mut bookmarks, start) = entered();
    for sequence in 0..COUNT {
        let now = start + Duration::from_millis(sequence);
        bookmarks.receive(now, bm(1, sequence));
        bookmarks.discard(bm(1, sequence));
        bookmarks.drained(now);
    }
    let publisher = &bookmarks.publishers[&1];
    assert_eq!(publisher.sizes().0, 0);
    assert_eq!(publisher.sizes().1, 0);
    assert!(publisher.sizes().2 <= 10, "{:?}", publisher.sizes());

    // The first is never discarded, all others are.
    let (mut bookmarks, now) = entered();
    for sequence in 0..COUNT {
        bookmarks.receive(now, bm(1, sequence));
    }
    for sequence in (1..COUNT).rev() {
        bookmarks.discard(bm(1, sequence));
    }
    assert_eq!(bookmarks.publishers[&1].sizes().1, 1, "one range");
    let (_, start) = after_restart(&mut bookmarks);
    assert_eq!(start, StartAt::Epoch, "the first comes again");
}

#[test]
fn changes_are_conflated_and_a_new_publisher_comes_first() {
    let (mut bookmarks, now) = entered();
    receive_all(&mut bookmarks, now, &[(1, 1), (1, 2), (2, 1)]);
    discard_all(&mut bookmarks, &[(1, 1), (1, 2)]);
    let unknown = PublisherState::default();
    let floor = |floor| PublisherState { floor: Some(floor), ..PublisherState::default() };
    assert_eq!(bookmarks.take_changes().publishers, [(1, unknown.clone()), (2, unknown), (1, floor(2))]);
    assert!(bookmarks.take_changes().is_empty());
    receive_all(&mut bookmarks, now, &[(1, 3), (1, 4), (1, 5)]);
    assert!(bookmarks.take_changes().is_empty(), "only discards are kept");
    discard_all(&mut bookmarks, &[(1, 5), (1, 4)]);
    let ahead = PublisherState { ahead: vec![(4, 5)], ..floor(2) };
    let changes = bookmarks.take_changes();
    assert!(!changes.is_empty());
    assert_eq!(changes.publishers, [(1, ahead)]);
}
