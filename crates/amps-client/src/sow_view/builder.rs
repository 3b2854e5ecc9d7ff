use std::fmt;
use std::sync::Arc;

use amps_core::CommandOptions;
use amps_ha::error::CommandError;
use amps_ha::subscriptions::SubscriptionKind;
use serde::de::DeserializeOwned;

use super::bodies::{KeyOf, Merged, Reader, Whole};
use super::shared::Shared;
use super::{SowView, Task, task};
use crate::client::Client;
use crate::codec::{Codec, Json};
use crate::subscribe::Subscribe;

/// Events that wait for a listener, unless another bound is given.
const LISTENER_BOUND: usize = 1_024;

/// Sets up a [`SowView`].
#[must_use = "a view begins with `open` or `start`"]
pub struct SowViewBuilder<K, V> {
    subscribe: Subscribe,
    reader: Reader<K, V>,
    listener_bound: usize,
}

impl<V: DeserializeOwned + 'static> SowView<String, V> {
    /// The records of `topic`, a name or a regular expression, by their SOW keys.
    /// Bodies are JSON, unless [`codec`](SowViewBuilder::codec) says otherwise.
    pub fn of(topic: impl Into<String>) -> SowViewBuilder<String, V> {
        let key: Box<KeyOf<String, V>> = Box::new(|sow_key, _| sow_key.to_owned());
        SowViewBuilder {
            subscribe: Subscribe::sow_and(topic),
            reader: Reader { bodies: Box::new(Whole(Json)), key },
            listener_bound: LISTENER_BOUND,
        }
    }
}

impl<K, V> SowViewBuilder<K, V> {
    /// Only records that match this filter. One that no longer does leaves the
    /// view.
    pub fn filter(mut self, filter: impl Into<String>) -> Self {
        self.subscribe = self.subscribe.filter(filter);
        self
    }

    /// Command options: typed, or as text (AMPS Command Reference,
    /// "sow_and_subscribe"). `oof` is there without being given; a page, of
    /// `top_n` and `skip_n`, is a view as well.
    pub fn options(mut self, options: impl Into<CommandOptions>) -> Self {
        self.subscribe = self.subscribe.options(options);
        self
    }

    /// The order by which a page is cut, such as `/price DESC, /id`. The view
    /// itself is in order of its keys.
    pub fn order_by(mut self, order: impl Into<String>) -> Self {
        self.subscribe = self.subscribe.order_by(order);
        self
    }

    /// Records in one frame when all of them come, 1 to 10,000; 10 by default.
    pub fn batch_size(mut self, records: u64) -> Self {
        self.subscribe = self.subscribe.batch_size(records);
        self
    }

    /// Bounds what waits to be put in: messages and bytes; see
    /// [`Subscribe::queue`].
    pub fn queue(mut self, messages: usize, bytes: usize) -> Self {
        self.subscribe = self.subscribe.queue(messages, bytes);
        self
    }

    /// Of a record's updates that wait to be put in only the newest is; see
    /// [`Subscribe::conflate`]. Not with [`deltas`](Self::deltas).
    pub fn conflate(mut self) -> Self {
        self.subscribe = self.subscribe.conflate();
        self
    }

    /// How many events wait for a listener to the view's changes at most; 1,024
    /// by default.
    pub fn listener_bound(mut self, events: usize) -> Self {
        self.listener_bound = events;
        self
    }

    /// Under these keys instead of the SOW keys, such as a field of the value.
    /// Give each record a key of its own: of several with one key only the newest
    /// is shown.
    pub fn keyed_by<L>(self, key: impl Fn(&V) -> L + Send + 'static) -> SowViewBuilder<L, V> {
        let Self { subscribe, reader, listener_bound } = self;
        let key: Box<KeyOf<L, V>> = Box::new(move |_, value| key(value));
        SowViewBuilder { subscribe, reader: Reader { bodies: reader.bodies, key }, listener_bound }
    }

    /// Bodies in another format than JSON.
    pub fn codec(mut self, codec: impl Codec + Send + 'static) -> Self
    where
        V: DeserializeOwned,
    {
        self.subscribe.spec.kind = SubscriptionKind::SowAndSubscribe;
        self.reader.bodies = Box::new(Whole(codec));
        self
    }

    /// The server sends of an update only what changed, which is merged into the
    /// record that is there; see [`merge_delta`](crate::merge_delta). For JSON
    /// only: in the place of a codec. A field that disappears stays until all
    /// records come again. The view holds each record as JSON as well.
    pub fn deltas(mut self) -> Self
    where
        V: DeserializeOwned,
    {
        self.subscribe.spec.kind = SubscriptionKind::SowAndDeltaSubscribe;
        self.reader.bodies = Box::new(Merged::default());
        self
    }
}

impl<K, V> SowViewBuilder<K, V>
where
    K: Ord + Clone + Send + Sync + 'static,
    V: PartialEq + Send + Sync + 'static,
{
    /// Begins the view and waits until all records are in it. While there is no
    /// connection that takes as long as it takes.
    ///
    /// # Errors
    /// [`CommandError`]: refused, impossible, or the client is closed.
    ///
    /// # Cancel safety
    /// A dropped call leaves no view behind.
    pub async fn open(self, client: &Client) -> Result<SowView<K, V>, CommandError> {
        let view = self.start(client)?;
        view.current().await?;
        Ok(view)
    }

    /// Begins the view without waiting: it is [loading](crate::ViewState::Loading),
    /// and enters its subscription when there is a connection.
    ///
    /// # Errors
    /// [`CommandError::Invalid`]: with these options there is no telling what
    /// belongs to the view. That the server refuses them shows in its
    /// [state](SowView::state).
    pub fn start(self, client: &Client) -> Result<SowView<K, V>, CommandError> {
        let Self { mut subscribe, reader, listener_bound } = self;
        let spec = &mut subscribe.spec;
        let invalid = |rule| {
            let (command, topic) = (spec.command_name(), spec.topic.clone());
            Err(CommandError::Invalid { command, topic, rule })
        };
        if spec.options.has("no_sowkey") {
            return invalid("a live view needs the SOW keys that no_sowkey leaves out");
        }
        if spec.options.has("top_n") && !spec.options.has("skip_n") {
            return invalid("top_n without skip_n bounds the records, and not what follows: a page has both");
        }
        spec.options = std::mem::take(&mut spec.options).oof();
        let shared = Arc::new(Shared::new(listener_bound));
        let run = task::run(Arc::clone(&shared), client.clone(), subscribe, reader);
        let task = client.inner.runtime.spawn(run).abort_handle();
        Ok(SowView { shared, task: Arc::new(Task(task)) })
    }
}

impl<K, V> fmt::Debug for SowViewBuilder<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SowViewBuilder").field("subscribe", &self.subscribe).finish_non_exhaustive()
    }
}
