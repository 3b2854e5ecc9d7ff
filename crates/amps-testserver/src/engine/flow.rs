//! `subscribe` with the options `pause` and `resume` (AMPS User Guide, "Pausing
//! and Resuming").

use amps_core::{AckType, AckTypes, Field, Message};

use super::ack::AckFrame;
use super::options::Options;
use super::{ConnId, Engine};

impl Engine {
    /// Pauses or resumes the bookmark subscriptions a command names: all of
    /// them, or none. Their places in the log stay, and those at the same place
    /// go on together.
    pub(super) fn flow(&mut self, id: ConnId, message: &Message, acks: AckTypes, options: &Options) {
        let names = message.text(Field::SubscriptionId).unwrap_or_default();
        let names: Vec<_> = names.split(',').map(str::trim).collect();
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let mut found = 0;
        for subscription in connection.subscriptions.iter().filter(|s| names.contains(&s.id.as_str())) {
            if subscription.replay.as_ref().is_none_or(|replay| replay.live) {
                return self.refuse(id, message, acks, "invalid options");
            }
            found += 1;
        }
        if found != names.len() {
            return self.refuse(id, message, acks, "invalid sub id");
        }
        for subscription in connection.subscriptions.iter_mut().filter(|s| names.contains(&s.id.as_str())) {
            if let Some(replay) = &mut subscription.replay {
                replay.paused = options.pause;
            }
        }
        if acks.contains(AckType::Processed) {
            let names = names.join(",");
            let frame = AckFrame { subscription_id: Some(&names), ..AckFrame::default() };
            self.ack(id, AckType::Processed, message, frame);
        }
        self.mark(id);
    }
}
