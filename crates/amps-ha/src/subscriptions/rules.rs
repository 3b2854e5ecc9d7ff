//! What a subscription or query cannot be: what no server would take says
//! [`Command::check`](amps_core::Command::check), the rest is ours.

use amps_core::StartAt;

use super::{OnFull, SubscriptionKind, SubscriptionSpec};

/// Options that change a subscription that is there: given with it they would
/// be lost, or repeated, with the next connection.
const CHANGES: [&str; 3] = ["replace", "pause", "resume"];

impl SubscriptionSpec {
    /// The first rule it breaks.
    pub(super) fn broken_rule(&self) -> Option<&'static str> {
        // Before they are written as one text.
        let own = self.options.check().err().or_else(|| self.broken_by_wishes());
        own.or_else(|| {
            let start = self.start.as_ref().map(StartAt::begin);
            self.command(0, start, &[], 0).check().err().map(|invalid| invalid.rule)
        })
    }

    fn broken_by_wishes(&self) -> Option<&'static str> {
        let Self { kind, start, options, .. } = self;
        let has = |name| options.has(name);
        Some(match () {
            () if self.topic.is_empty() => "a topic is missing",
            () if self.paused && !self.can_pause() => "only a bookmark subscription has a place to go on from",
            () if self.conflates && kind.is_delta() => {
                "deltas that are replaced would lose what they changed: do not conflate"
            }
            () if self.conflates && start.is_some() => {
                "a bookmark subscription delivers every message: do not conflate"
            }
            () if self.on_full == OnFull::DropOldest && kind.is_delta() => {
                "deltas that are dropped would lose what they changed: do not drop the oldest"
            }
            () if self.on_full == OnFull::DropOldest && start.is_some() => {
                "a bookmark subscription delivers every message: do not drop the oldest"
            }
            () if self.on_full == OnFull::DropOldest && has("max_backlog") => {
                "messages of a queue are leased until they are acknowledged: do not drop the oldest"
            }
            () if self.on_full == OnFull::DropOldest && self.conflates => {
                "what is conflated waits once for each key: do not drop the oldest"
            }
            () if *kind == SubscriptionKind::Sow && matches!(start, Some(StartAt::MostRecent)) => {
                "a query of the past needs a timestamp or a bookmark"
            }
            () if self.batch_size.is_some() && !kind.queries() => "only a query has batches",
            () if CHANGES.into_iter().any(has) => {
                "replace, pause and resume have methods of their own: Subscribe::paused, and SubscriptionHandle's"
            }
            () if has("live") && self.paused => "live goes with neither rate nor pause",
            () if has("bookmark_not_found") => "use on_unknown_bookmark instead of bookmark_not_found",
            () => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use amps_core::{AckType, CommandOptions};

    fn spec(kind: SubscriptionKind, start: Option<&str>, options: &str) -> SubscriptionSpec {
        let mut spec = SubscriptionSpec::new(kind, "t");
        spec.start = start.map(|start| start.parse().unwrap());
        spec.options = CommandOptions::from(options);
        spec
    }

    #[test]
    fn what_goes_together_is_taken_and_what_does_not_is_named() {
        use SubscriptionKind::{DeltaSubscribe, Sow, SowAndDeltaSubscribe, SowAndSubscribe, Subscribe};
        for (kind, start, options, rule) in [
            (Subscribe, None, "", None),
            (Subscribe, None, "conflation=1s,conflation_key=[/id],select=[-/,+/id],timestamp,max_backlog=5", None),
            (Subscribe, None, "something_new=5", None),
            (Subscribe, Some("0"), "live", None),
            (Subscribe, Some("[0:1|9|]"), "fully_durable,rate=5", None),
            (Subscribe, Some("[0:1|9|]"), "live", Some("has an end")),
            (SowAndSubscribe, Some("[0:1|9|]"), "", Some("what was published")),
            (Sow, Some("[0:1|9|]"), "", Some("what was published")),
            (Subscribe, Some("0"), "fully_durable,rate=5", None),
            (SowAndSubscribe, None, "oof,top_n=10,skip_n=0,send_keys", None),
            (SowAndDeltaSubscribe, None, "no_empties,send_keys,oof", None),
            (Sow, Some("20260101T000000"), "select=[/a]", None),
            (Sow, None, "projection=[SUM(/q) AS /t],grouping=[/a]", None),
            (Subscribe, None, "pause", Some("methods of their own")),
            (Subscribe, None, "replace,oof", Some("methods of their own")),
            (Subscribe, Some("0"), "oof", Some("out of focus")),
            (Subscribe, None, "live", Some("for bookmark subscriptions")),
            (Sow, Some("20260101T000000"), "rate=5", Some("for bookmark subscriptions")),
            (Subscribe, Some("0"), "live,rate=1", Some("neither rate nor pause")),
            (Subscribe, Some("0"), "bookmark_not_found=now", Some("on_unknown_bookmark")),
            (Subscribe, None, "no_empties", Some("for deltas")),
            (Sow, None, "skip_n=5", Some("needs top_n")),
            (Subscribe, Some("0"), "top_n=5", Some("the field top_n")),
            (Subscribe, None, "top_n=5,skip_n=5", Some("for queries")),
            (Sow, None, "grouping=[/a]", Some("go together")),
            (SowAndSubscribe, Some("0"), "projection=[/a],grouping=[/a]", Some("not replayed")),
            (Subscribe, None, "conflation_key=[/a]", Some("needs conflation")),
            (Sow, None, "max_backlog=5", Some("queues")),
            (DeltaSubscribe, Some("0"), "", Some("not replayed")),
            (Sow, Some("recent"), "", Some("of the past")),
            (Subscribe, None, "select=[/a", Some("brackets")),
            (Subscribe, None, "select=[/a,b]", Some("lists of fields")),
        ] {
            let broken = spec(kind, start, options).broken_rule();
            let expected = rule.is_none_or(|part| broken.is_some_and(|rule| rule.contains(part)));
            assert!(expected && broken.is_some() == rule.is_some(), "{kind:?} {start:?} {options}: {broken:?}");
        }
    }

    #[test]
    fn only_whole_messages_that_need_not_all_be_seen_are_conflated() {
        use SubscriptionKind::{DeltaSubscribe, SowAndDeltaSubscribe, SowAndSubscribe, Subscribe};
        for (kind, start, rule) in [
            (Subscribe, None, None),
            (SowAndSubscribe, None, None),
            (DeltaSubscribe, None, Some("deltas")),
            (SowAndDeltaSubscribe, None, Some("deltas")),
            (Subscribe, Some("0"), Some("every message")),
            (SowAndSubscribe, Some("0|1|"), Some("every message")),
        ] {
            let mut spec = spec(kind, start, "");
            spec.conflates = true;
            let broken = spec.broken_rule();
            assert_eq!(broken.is_some(), rule.is_some(), "{kind:?} {start:?}: {broken:?}");
            assert!(rule.is_none_or(|part| broken.is_some_and(|broken| broken.contains(part))));
        }
    }

    /// As with those, only whole messages that need not all be seen are dropped.
    #[test]
    fn what_must_not_be_missed_is_not_dropped() {
        use SubscriptionKind::{DeltaSubscribe, SowAndSubscribe, Subscribe};
        for (kind, start, options, rule) in [
            (Subscribe, None, "", None),
            (SowAndSubscribe, None, "oof", None),
            (DeltaSubscribe, None, "", Some("deltas")),
            (Subscribe, Some("0"), "", Some("every message")),
            (Subscribe, None, "max_backlog=2", Some("acknowledged")),
        ] {
            let mut spec = spec(kind, start, options);
            assert_eq!(spec.broken_rule(), None);
            spec.on_full = OnFull::End;
            assert_eq!(spec.broken_rule(), None, "it ends with an error");
            spec.on_full = OnFull::DropOldest;
            let broken = spec.broken_rule();
            assert_eq!(broken.is_some(), rule.is_some(), "{kind:?} {start:?} {options}: {broken:?}");
            assert!(rule.is_none_or(|part| broken.is_some_and(|broken| broken.contains(part))));
        }
    }

    #[test]
    fn fields_have_their_bounds() {
        let broken = |change: &dyn Fn(&mut SubscriptionSpec), kind| {
            let mut spec = spec(kind, None, "");
            change(&mut spec);
            spec.broken_rule()
        };
        let (query, plain) = (SubscriptionKind::Sow, SubscriptionKind::Subscribe);
        assert_eq!(broken(&|spec| spec.batch_size = Some(10_000), query), None);
        assert_eq!(broken(&|spec| (spec.top_n, spec.order_by) = (Some(0), Some("/a DESC".to_owned())), query), None);
        assert_eq!(broken(&|spec| (spec.start, spec.top_n) = (Some(StartAt::Epoch), Some(5)), plain), None);
        type Change = &'static dyn Fn(&mut SubscriptionSpec);
        let changes: [(Change, _); 11] = [
            (&|spec| spec.topic.clear(), query),
            (&|spec| spec.batch_size = Some(0), query),
            (&|spec| spec.batch_size = Some(10_001), query),
            (&|spec| spec.top_n = Some(5), plain),
            (&|spec| (spec.start, spec.top_n) = (Some(StartAt::Now), Some(5)), plain),
            (&|spec| spec.order_by = Some("/a".to_owned()), plain),
            (&|spec| spec.sow_keys = Some("1".to_owned()), plain),
            (&|spec| (spec.sow_keys, spec.filter) = (Some("1".to_owned()), Some("/a = 1".to_owned())), query),
            (&|spec| spec.start = Some(StartAt::Timestamp("yesterday".to_owned())), query),
            (&|spec| spec.acks = AckType::Persisted.into(), query),
            (&|spec| spec.acks = AckType::Completed.into(), plain),
        ];
        for (at, (change, kind)) in changes.into_iter().enumerate() {
            assert!(broken(change, kind).is_some(), "{at}");
        }
    }
}
