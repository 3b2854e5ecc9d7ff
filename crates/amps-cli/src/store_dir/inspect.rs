//! `amps store inspect`.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;

use amps_client::{Field, Message};
use amps_ha::bookmarks::store as bookmarks;
use amps_ha::publish_log::{Contents, Examined};
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Kind, Opened};
use crate::exit::{End, Failure};

/// Options of `amps store inspect`.
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// The store's directory.
    dir: PathBuf,
    /// Prints one JSON object.
    #[arg(long)]
    json: bool,
    /// Of a publish store, also shows the first N messages.
    #[arg(long, value_name = "N", default_value_t = 0)]
    messages: usize,
}

/// A message in a store.
#[derive(Debug, Serialize)]
struct Shown {
    sequence: u64,
    topic: String,
    data: String,
}

impl Inspect {
    pub(super) fn run(self) -> Result<End, Failure> {
        let opened = Opened::read(&self.dir)?;
        let failed = |error| Failure::new("cannot read the messages", error);
        let printed = |error: io::Error| Failure::new("cannot write to standard output", error);
        let mut out = io::stdout().lock();
        let (kind, mut facts, messages) = match &opened.kind {
            Kind::Publish(publish) => {
                let contents = publish.contents().map_err(failed)?;
                let messages = first(publish, self.messages).map_err(failed)?;
                ("publish", publish_facts(&contents), messages)
            }
            Kind::Bookmarks(bookmarks) => ("bookmarks", bookmark_facts(bookmarks), Vec::new()),
        };
        facts.push(("file_bytes", json!(opened.file_bytes)));
        facts.push(("quarantined", json!(opened.quarantined)));
        facts.push(("damage", json!(opened.problems().collect::<Vec<_>>())));
        if self.json {
            let mut object = serde_json::Map::from_iter([("kind".to_owned(), json!(kind))]);
            object.extend(facts.into_iter().map(|(name, value)| (name.to_owned(), value)));
            if self.messages > 0 {
                object.insert("first_messages".to_owned(), json!(messages));
            }
            return writeln!(out, "{}", Value::Object(object)).map_err(printed).map(|()| End::Done);
        }
        writeln!(out, "{kind} store in {}", opened.dir.display()).map_err(printed)?;
        for (name, value) in facts {
            writeln!(out, "  {:22} {}", name.replace('_', " "), text(&value)).map_err(printed)?;
        }
        for Shown { sequence, topic, data } in messages {
            writeln!(out, "{sequence} {topic} {data}").map_err(printed)?;
        }
        Ok(End::Done)
    }
}

fn publish_facts(contents: &Contents) -> Vec<(&'static str, Value)> {
    let identity = contents.identity.as_ref();
    vec![
        ("client_name", json!(identity.map(|identity| &identity.client_name))),
        ("message_type", json!(identity.map(|identity| &identity.message_type))),
        ("protocol", json!(identity.map(|identity| &identity.protocol))),
        ("format", json!(contents.format)),
        ("messages", json!(contents.messages)),
        ("bytes", json!(contents.bytes)),
        ("values", json!(contents.values)),
        ("first_sequence", json!(contents.first_sequence)),
        ("last_sequence", json!(contents.last_sequence)),
        ("discarded_through", json!(contents.discarded_through)),
        ("persisted_through", json!(contents.persisted_through)),
        ("reserved_through", json!(contents.reserved_through)),
        ("next_sequence", json!(contents.next_sequence)),
        ("settled_out_of_order", json!(contents.settled_out_of_order)),
        ("ever_logged_on", json!(contents.ever_logged_on)),
        ("never_sent_from", json!(contents.never_sent_from)),
        ("topics", json!(contents.topics)),
    ]
}

fn bookmark_facts(bookmarks: &bookmarks::Examined) -> Vec<(&'static str, Value)> {
    let subscriptions = bookmarks.subscriptions().iter().map(|(name, publishers)| {
        let publishers = publishers.iter().map(|(publisher, state)| {
            let ranges = &state.ahead;
            json!({ "publisher": publisher, "discarded_through": state.floor, "discarded_above": ranges })
        });
        (name.clone(), publishers.collect::<Value>())
    });
    vec![
        ("client_name", json!(bookmarks.client())),
        ("format", json!(bookmarks.format())),
        ("subscriptions", Value::Object(subscriptions.collect())),
    ]
}

/// The first `count` messages.
fn first(publish: &Examined, count: usize) -> Result<Vec<Shown>, amps_client::StoreError> {
    let mut shown = Vec::new();
    if count > 0 {
        publish.each_message(&mut |sequence, message: &Message| {
            let topic = message.text(Field::Topic).unwrap_or_default().into_owned();
            shown.push(Shown { sequence, topic, data: String::from_utf8_lossy(message.data()).into_owned() });
            if shown.len() < count { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
    }
    Ok(shown)
}

/// A value for people.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join("; "),
        other => other.to_string(),
    }
}
