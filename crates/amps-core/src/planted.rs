//! Bugs planted on purpose, to see whether the checks would see them.
//!
//! Only a build with `--cfg planted` has them, and of those at most one is at
//! work: the one that `choose` or the environment variable `AMPS_PLANTED`
//! names. In every other build `is` is a constant `false`, and nothing of
//! them is left. `cargo xtask sim --planted` makes such a build, in a target
//! directory of its own, and hunts each of them.

/// Whether this bug is at work: asked where it is planted.
#[cfg(not(planted))]
#[inline(always)]
pub const fn is(_bug: &'static str) -> bool {
    false
}

#[cfg(planted)]
pub use self::planted::{BUGS, Bug, choose, is};

#[cfg(planted)]
mod planted {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A bug that can be put to work.
    #[derive(Debug, Clone, Copy)]
    pub struct Bug {
        /// Its name.
        pub name: &'static str,
        /// What goes wrong.
        pub what: &'static str,
        /// The rule of the simulation that should see it.
        pub seen_by: &'static str,
    }

    const fn bug(name: &'static str, what: &'static str, seen_by: &'static str) -> Bug {
        Bug { name, what, seen_by }
    }

    /// All of them.
    pub const BUGS: &[Bug] = &[
        // The publish log.
        bug("live-overtakes-replay", "what was sent and not acknowledged is not sent before new messages", "no loss"),
        bug(
            "sequence-reused",
            "after a crash numbers go on behind the last stored one, not above the reservation",
            "no loss",
        ),
        bug("numbers-do-not-leap", "numbers go on one above what the server says it knows", "no loss"),
        bug("unsent-settled-at-logon", "the sequence in a logon answer settles what was never sent", "no loss"),
        bug("promise-before-durable", "a message is promised when it is appended", "no loss"),
        bug("discarded-when-sent", "a message is discarded when it is written to the socket", "no loss"),
        bug("cumulative-ack-off-by-one", "an acknowledgement settles one message too many", "no loss"),
        bug("processed-taken-as-persisted", "an acknowledgement of type processed discards a message", "no loss"),
        bug("failed-write-kept", "a refused message stays in the store", "everything settles"),
        bug("memory-part-dropped", "what is too much for a hybrid store's memory is dropped", "no loss"),
        bug("store-sync-skipped", "the publish store says it has synced, and has not", "no loss"),
        bug("publish-bound-ignored", "a full publish store takes more", "bounded stores"),
        bug("failed-sync-ignored", "a failed sync of the publish store counts as done", "no loss"),
        // Connections.
        bug(
            "partial-frame-continued",
            "the rest of a half-written frame is sent on the next connection",
            "whole frames",
        ),
        bug(
            "partial-read-continued",
            "half a frame received is continued on the next connection",
            "everything settles",
        ),
        bug("heartbeat-not-acted-on", "silence is noticed, and the connection kept", "everything settles"),
        bug("black-hole-taken-as-alive", "what is written counts as a sign of life", "everything settles"),
        bug("backoff-reset-on-connect", "waits between attempts start over with each connection", "paced attempts"),
        bug("replay-before-heartbeat", "the replay does not wait for the heartbeat's answer", "order of states"),
        // Subscriptions.
        bug("resume-from-received", "the recovery list is of what was received, not of what was discarded", "no gap"),
        bug("floor-passes-undiscarded", "a discard counts for older messages too", "no gap"),
        bug("discards-ahead-forgotten", "discards out of order are not read back", "discarded for good"),
        bug("bookmark-sync-skipped", "the bookmark store says it has synced, and has not", "discarded for good"),
        bug("duplicate-filter-by-half", "duplicates are told by the first half of the bookmark", "everything settles"),
        bug("duplicates-delivered", "duplicates are found and delivered all the same", "no duplicate"),
        bug(
            "resume-as-on-same-server",
            "another server is asked to go on behind the last message of this one",
            "no gap",
        ),
        bug(
            "resubscribe-stops-at-failure",
            "behind a refused subscription no others are entered again",
            "everything settles",
        ),
        bug(
            "replacement-forgotten",
            "a subscription is entered again as it was before it was replaced",
            "the filter in force",
        ),
        bug("snapshot-cut-silently", "a query that is cut ends as if it were complete", "whole answers"),
        bug("oof-ignored", "a view is not told what leaves it", "the view converges"),
        bug("view-not-swept", "a view keeps what was deleted while it was away", "the view converges"),
        bug("view-change-untold", "a view does not tell of an update", "changes make the view"),
        bug("queue-bound-ignored", "a full queue takes more", "bounded queues"),
        bug("conflation-keeps-older", "of two updates of a record that wait the older is kept", "the view converges"),
        bug("pause-forgotten", "a paused subscription is entered again as one that is not", "paused is paused"),
        bug("range-ends-with-connection", "a range that is cut ends as if it were complete", "whole ranges"),
        bug("range-end-forgotten", "a range that is cut is entered again without its end", "everything settles"),
        bug("failed-move-not-told", "who asked for a move is not told that it failed", "every move ends"),
        // Message queues.
        bug(
            "queue-ack-on-wrong-connection",
            "a message of a lost connection is acknowledged on the next",
            "leased acknowledgements",
        ),
        bug(
            "queue-dequeue-not-kept",
            "a server forgets what was acknowledged when it restarts",
            "acknowledged for good",
        ),
        bug("queue-lease-never-ends", "the messages of a lost consumer are given to nobody else", "everything settles"),
        bug("queue-backlog-ignored", "a consumer is given more than its backlog", "bounded backlog"),
        bug("queue-handed-over-and-kept", "a server delivers what it has handed over, too", "one lease at a time"),
        bug("queue-taken-from-unlinked", "a server takes over what one it has no link to owns", "one lease at a time"),
        bug(
            "queue-done-elsewhere-ignored",
            "what was acknowledged at one server stays in the others' queues",
            "everything settles",
        ),
        // Servers.
        bug("server-acks-before-it-persists", "a server acknowledges what is not in its journal", "no loss"),
        bug("server-acks-before-it-replicates", "a server acknowledges what only it has", "no loss"),
        bug("server-goes-on-after-failed-write", "a server whose disk is full goes on as if it were not", "no loss"),
        bug(
            "server-conflates-to-first",
            "of a record's updates in an interval the first is sent",
            "the view converges",
        ),
        bug("delta-taken-as-whole", "a part of a record takes the place of the record", "deltas add up"),
        bug("delta-lacks-a-field", "an update lacks one of the fields that changed", "deltas converge"),
        bug("server-keeps-duplicates", "a server takes a number it has taken before", "exactly once"),
        bug("server-does-not-pass-on", "a server replicates only what clients published to it", "no loss"),
    ];

    fn chosen() -> &'static AtomicUsize {
        static CHOSEN: OnceLock<AtomicUsize> = OnceLock::new();
        CHOSEN.get_or_init(|| {
            let named = std::env::var("AMPS_PLANTED").ok();
            AtomicUsize::new(named.map_or(usize::MAX, |name| place(&name)))
        })
    }

    fn place(name: &str) -> usize {
        BUGS.iter().position(|bug| bug.name == name).unwrap_or_else(|| panic!("no bug is called {name}"))
    }

    /// Puts a bug to work in this process, or none.
    ///
    /// # Panics
    /// When there is none of that name.
    pub fn choose(bug: Option<&str>) {
        chosen().store(bug.map_or(usize::MAX, place), Ordering::Relaxed);
    }

    /// Whether this bug is at work: asked where it is planted.
    pub fn is(bug: &'static str) -> bool {
        BUGS.get(chosen().load(Ordering::Relaxed)).is_some_and(|chosen| chosen.name == bug)
    }
}
