//! What a subscription or query cannot be (AMPS Command Reference, "subscribe",
//! "sow" and the others).

use amps_core::StartAt;

use super::{SubscriptionKind, SubscriptionSpec};

/// The largest batch a server takes.
const BATCH_MAX: u64 = 10_000;

/// Options that change a subscription that is there: given with it they would
/// be lost, or repeated, with the next connection.
const CHANGES: [&str; 3] = ["replace", "pause", "resume"];

impl SubscriptionSpec {
    /// The first rule it breaks.
    pub(super) fn broken_rule(&self) -> Option<&'static str> {
        let own = self.options.check().err();
        own.or_else(|| self.broken_by_fields()).or_else(|| self.broken_by_options())
    }

    fn broken_by_fields(&self) -> Option<&'static str> {
        let Self { kind, start, .. } = self;
        let live = matches!(start.as_ref().map(StartAt::begin), None | Some(StartAt::Now));
        Some(match () {
            () if self.topic.is_empty() => "a topic is missing",
            () if self.paused && !self.can_pause() => "only a bookmark subscription has a place to go on from",
            () if self.conflates && kind.is_delta() => {
                "deltas that are replaced would lose what they changed: do not conflate"
            }
            () if self.conflates && start.is_some() => {
                "a bookmark subscription delivers every message: do not conflate"
            }
            () if kind.is_delta() && start.is_some() => "deltas are not replayed: give no bookmark",
            () if self.range().is_some() && *kind != SubscriptionKind::Subscribe => {
                "a range is for subscriptions to what was published"
            }
            () if *kind == SubscriptionKind::Sow && matches!(start, Some(StartAt::MostRecent | StartAt::Now)) => {
                "a query of the past needs a timestamp or a bookmark"
            }
            () if self.batch_size.is_some_and(|size| size == 0 || size > BATCH_MAX) => "the batch size is 1 to 10,000",
            () if self.top_n.is_some() && !kind.queries() && live => {
                "top_n bounds a query, or a replay from a bookmark"
            }
            () if self.batch_size.is_some() && !kind.queries() => "only a query has batches",
            () if self.order_by.is_some() && !kind.queries() => "only a query has an order",
            () if self.sow_keys.is_some() && !kind.queries() => "only a query takes SOW keys",
            () if self.sow_keys.is_some() && self.filter.is_some() => "give either SOW keys or a filter",
            () => return None,
        })
    }

    fn broken_by_options(&self) -> Option<&'static str> {
        let Self { kind, start, options, .. } = self;
        let has = |name| options.has(name);
        let from_log = kind.subscribes() && start.is_some();
        Some(match () {
            () if CHANGES.into_iter().any(has) => {
                "replace, pause and resume have methods of their own: Subscribe::paused, and SubscriptionHandle's"
            }
            () if has("oof") && from_log => "a bookmark subscription is not told what is out of focus",
            () if (has("live") || has("fully_durable") || has("rate")) && !from_log => {
                "live, fully_durable and rate are for bookmark subscriptions"
            }
            () if has("live") && (has("rate") || self.paused) => "live goes with neither rate nor pause",
            () if has("live") && self.range().is_some() => "a range has an end: it is not live",
            () if has("bookmark_not_found") => "use on_unknown_bookmark instead of bookmark_not_found",
            () if has("no_empties") && !kind.is_delta() => "no_empties is for deltas",
            () if has("skip_n") && !(has("top_n") || self.top_n.is_some()) => "skip_n needs top_n",
            () if has("skip_n") && !kind.queries() => "skip_n is for queries",
            () if has("top_n") && !kind.queries() => "a replay is bounded by Subscribe::top_n",
            () if has("projection") != has("grouping") => "projection and grouping go together",
            () if has("projection") && from_log => "aggregates are not replayed: give no bookmark",
            () if has("conflation_key") && !has("conflation") => "conflation_key needs conflation",
            () if has("max_backlog") && kind.queries() => "max_backlog is for subscriptions to queues",
            () => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use amps_core::CommandOptions;

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
            (Subscribe, Some("0"), "top_n=5", Some("Subscribe::top_n")),
            (Subscribe, None, "top_n=5,skip_n=5", Some("for queries")),
            (Sow, None, "grouping=[/a]", Some("go together")),
            (SowAndSubscribe, Some("0"), "projection=[/a],grouping=[/a]", Some("not replayed")),
            (Subscribe, None, "conflation_key=[/a]", Some("needs conflation")),
            (Sow, None, "max_backlog=5", Some("queues")),
            (DeltaSubscribe, Some("0"), "", Some("not replayed")),
            (Sow, Some("recent"), "", Some("of the past")),
            (Subscribe, None, "select=[/a", Some("brackets")),
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
        let changes: [(Change, _); 8] = [
            (&|spec| spec.topic.clear(), query),
            (&|spec| spec.batch_size = Some(0), query),
            (&|spec| spec.batch_size = Some(10_001), query),
            (&|spec| spec.top_n = Some(5), plain),
            (&|spec| (spec.start, spec.top_n) = (Some(StartAt::Now), Some(5)), plain),
            (&|spec| spec.order_by = Some("/a".to_owned()), plain),
            (&|spec| spec.sow_keys = Some("1".to_owned()), plain),
            (&|spec| (spec.sow_keys, spec.filter) = (Some("1".to_owned()), Some("/a = 1".to_owned())), query),
        ];
        for (at, (change, kind)) in changes.into_iter().enumerate() {
            assert!(broken(change, kind).is_some(), "{at}");
        }
    }
}
