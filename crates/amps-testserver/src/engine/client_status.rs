//! `/AMPS/ClientStatus`: what clients do, as messages (AMPS User Guide, "Client
//! Status Events").

use amps_core::{Field, Message};
use serde_json::{Map, Value};

use super::connection::Connection;
use super::subscribe::Subscription;
use super::{ConnId, Engine};
use crate::log::Entry;
use crate::timestamp::iso8601_micros;

/// The topic. Only who names it gets its messages.
pub(super) const TOPIC: &str = "/AMPS/ClientStatus";

/// What is told of an event beside who it was and when: names and values.
#[derive(Debug, Default)]
pub(super) struct Event(Vec<(&'static str, Option<String>)>);

impl Event {
    /// With a reason.
    pub(super) fn why(reason: &str) -> Self {
        Self(vec![("reason", Some(reason.to_owned()))])
    }

    fn and(mut self, name: &'static str, value: Option<String>) -> Self {
        self.0.push((name, value));
        self
    }
}

impl From<&Message> for Event {
    /// What a command says.
    fn from(message: &Message) -> Self {
        let fields = [
            ("correlation_id", Field::CorrelationId),
            ("topic", Field::Topic),
            ("filter", Field::Filter),
            ("sub_id", Field::SubscriptionId),
            ("query_id", Field::QueryId),
            ("options", Field::Options),
        ];
        Self(fields.map(|(name, field)| (name, message.text(field).map(|text| text.into_owned()))).into())
    }
}

impl From<&Subscription> for Event {
    /// What a subscription was entered with.
    fn from(subscription: &Subscription) -> Self {
        Self::default()
            .and("topic", Some(subscription.topic.clone()))
            .and("filter", subscription.asked.clone())
            .and("sub_id", Some(subscription.id.clone()))
    }
}

impl Engine {
    /// What the server calls a connection.
    pub(super) fn connection_name(&self, id: ConnId) -> String {
        format!("{}-{}-connection-{}", self.config.name, self.config.incarnation, id.number())
    }

    /// Tells subscribers of the topic what a client did.
    pub(super) fn tell_status(&mut self, id: ConnId, event: &str, more: impl Into<Event>) {
        let client = self.connections.get(&id).and_then(|connection| connection.client());
        if let Some(name) = client.map(|client| client.name.clone()) {
            self.tell_status_of(id, &name, event, more.into());
        }
    }

    /// Tells of the end of a connection, and of its subscriptions before.
    pub(super) fn tell_disconnect(&mut self, id: ConnId, connection: &Connection) {
        let name = connection.client().map_or_else(|| self.connection_name(id), |client| client.name.clone());
        for subscription in &connection.subscriptions {
            self.tell_status_of(id, &name, "unsubscribe", subscription.into());
        }
        let reason = connection.reason.as_deref().unwrap_or("connection closed");
        self.tell_status_of(id, &name, "disconnect", Event::why(reason));
    }

    pub(super) fn tell_status_of(&mut self, id: ConnId, client_name: &str, event: &str, more: Event) {
        let topic = self.topic(TOPIC);
        if self.routes(topic).is_empty() {
            return;
        }
        let processed = self.processed_now();
        let mut status = Map::new();
        status.insert("timestamp".to_owned(), iso8601_micros(processed).into());
        status.insert("event".to_owned(), event.into());
        status.insert("client_name".to_owned(), client_name.into());
        status.insert("connection_name".to_owned(), self.connection_name(id).into());
        status.extend(more.0.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into()))));
        let body = Value::Object([("ClientStatus".to_owned(), Value::Object(status))].into_iter().collect());
        // Like a message that is not logged.
        let entry = Entry {
            publisher: self.publisher_for(client_name),
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
