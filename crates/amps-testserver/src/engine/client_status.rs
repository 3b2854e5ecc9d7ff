//! `/AMPS/ClientStatus`: what clients do, as messages (AMPS User Guide, "Event
//! Topics").

use amps_core::{Field, Message};
use serde_json::{Map, Value};

use super::{ConnId, Engine};
use crate::log::{Entry, PublisherIx};
use crate::timestamp::iso8601_micros;

/// The topic. Only who names it gets its messages.
pub(super) const TOPIC: &str = "/AMPS/ClientStatus";

impl Engine {
    /// Tells subscribers of the topic what a client did.
    pub(super) fn tell_status(&mut self, id: ConnId, event: &str, message: Option<&Message>) {
        let client = self.connections.get(&id).and_then(|connection| connection.client());
        if let Some((name, publisher)) = client.map(|client| (client.name.clone(), client.publisher)) {
            self.tell_status_of(&name, publisher, event, message);
        }
    }

    pub(super) fn tell_status_of(
        &mut self,
        client_name: &str,
        publisher: PublisherIx,
        event: &str,
        message: Option<&Message>,
    ) {
        let topic = self.topic(TOPIC);
        if self.routes(topic).is_empty() {
            return;
        }
        let processed = self.processed_now();
        let mut status = Map::new();
        status.insert("timestamp".to_owned(), iso8601_micros(processed).into());
        status.insert("event".to_owned(), event.into());
        status.insert("client_name".to_owned(), client_name.into());
        for (name, field) in [
            ("topic", Field::Topic),
            ("filter", Field::Filter),
            ("sub_id", Field::SubscriptionId),
            ("query_id", Field::QueryId),
            ("options", Field::Options),
        ] {
            if let Some(text) = message.and_then(|message| message.text(field)) {
                status.insert(name.to_owned(), text.into_owned().into());
            }
        }
        let body = Value::Object([("ClientStatus".to_owned(), Value::Object(status))].into_iter().collect());
        // Like a message that is not logged.
        let entry = Entry {
            publisher,
            topic,
            sequence: 0,
            direct: false,
            origin: None,
            sow_key: None,
            given_key: None,
            expiration: None,
            deletes: None,
            correlation_id: None,
            processed,
            body: body.to_string().into(),
        };
        self.deliver_live(&entry, None, None);
    }
}
