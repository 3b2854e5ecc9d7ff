//! Bookmarks in a SOW topic.

use std::fmt;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use amps_ha::bookmarks::store::{AdapterError, RecoveryPointAdapter};
use serde_json::{Map, Value};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{sleep, timeout};

use crate::any_error::Error;
use crate::builder::ClientBuilder;
use crate::client::Client;
use crate::error::ConnectError;
use crate::publish::Receipt;
use crate::subscribe::Sow;
use crate::write::{Publish, SowDelete};

/// How long a query that was cut short waits before it is asked again.
const AGAIN: Duration = Duration::from_millis(100);

/// What the end of the adapter waits for its client.
const CLOSE: Duration = Duration::from_secs(1);

/// Keeps recovery points in a SOW topic, through a client of its own: bookmark
/// subscriptions resume in a new process, and no file is needed (AMPS developer
/// guides, "Recovery Point Adapter").
///
/// ```no_run
/// # use std::time::Duration;
/// use amps_client::{BookmarkStore, Client, SowRecoveryPoints};
/// let points = SowRecoveryPoints::new(Client::builder("gateway-points").server("tcp://a:9007/amps/json"));
/// let builder = Client::builder("gateway")
///     .server("tcp://a:9007/amps/json")
///     .bookmark_store(BookmarkStore::recovery_points(points, Duration::from_secs(1)));
/// ```
///
/// The topic is a SOW topic of message type `json`, without expiration, with
/// the keys `/client` and `/subscription`. A record is
/// `{"client":"gateway-points","subscription":"orders","point":"1 .."}`.
///
/// **Its client** needs a name that no other client has, and that stays the
/// same across restarts: records are found by it. It runs on a thread of its
/// own, so that it works whatever the application's runtime does, and is
/// connected as long as the bookmark store is open.
///
/// **While its servers are away** messages and
/// [`discard`](crate::Subscription::discard) go on as ever;
/// [`discarded`](crate::Subscription::discarded) waits until a server has
/// confirmed the points. Each failed attempt is told as
/// [`Event::BookmarkStoreFailed`](crate::Event::BookmarkStoreFailed), and the
/// latest points are tried again every second. What was discarded since the
/// last point that was confirmed comes again in a new process. A bookmark
/// subscription that is entered meanwhile is refused after the
/// [limit](Self::limit): without its point it would begin anew. A client that
/// is dropped or closed meanwhile gives up after about one limit.
pub struct SowRecoveryPoints {
    records: Records,
    limit: Duration,
    own: Own,
}

/// The adapter's own client.
enum Own {
    Unused(Box<ClientBuilder>),
    Running(Worker),
    Failed(String),
}

impl SowRecoveryPoints {
    /// Keeps points through the client that `builder` makes. Nothing is
    /// connected before it is used.
    pub fn new(builder: ClientBuilder) -> Self {
        let fields = ["client", "subscription", "point"].map(str::to_owned);
        let records = Records { topic: "recovery_points".to_owned(), client: builder.name.clone(), fields };
        Self { records, limit: Duration::from_secs(10), own: Own::Unused(Box::new(builder)) }
    }

    /// Names the topic; `recovery_points` by default.
    #[must_use]
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.records.topic = topic.into();
        self
    }

    /// Names the fields of a record: those of the adapter's client and of the
    /// subscription, which are the topic's keys, and that of the point;
    /// `client`, `subscription` and `point` by default. Of letters, digits and
    /// `_`.
    #[must_use]
    pub fn fields(
        mut self,
        client: impl Into<String>,
        subscription: impl Into<String>,
        point: impl Into<String>,
    ) -> Self {
        self.records.fields = [client.into(), subscription.into(), point.into()];
        self
    }

    /// Limits the wait for a server, for each point; 10 s by default.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    fn ask(&mut self, question: Question) -> Result<Option<String>, AdapterError> {
        let own = std::mem::replace(&mut self.own, Own::Failed(String::new()));
        self.own = match own {
            Own::Unused(builder) => self.start(*builder),
            own => own,
        };
        match &self.own {
            Own::Running(worker) => worker.ask(question),
            Own::Failed(why) => Err(why.clone().into()),
            Own::Unused(_) => Err("its client was not started".into()),
        }
    }

    fn start(&self, builder: ClientBuilder) -> Own {
        if let Err(why) = self.records.check() {
            return Own::Failed(why);
        }
        match Worker::start(builder, self.records.clone(), self.limit) {
            Ok(worker) => Own::Running(worker),
            Err(error) => Own::Failed(format!("the thread of its client cannot be started: {error}")),
        }
    }
}

impl RecoveryPointAdapter for SowRecoveryPoints {
    fn recover(&mut self, subscription: &str) -> Result<Option<String>, AdapterError> {
        self.ask(Question::Recover { subscription: subscription.to_owned() })
    }

    fn update(&mut self, subscription: &str, point: &str) -> Result<(), AdapterError> {
        let record = self.records.write(subscription, Some(point));
        self.ask(Question::Update { record }).map(drop)
    }

    fn purge(&mut self, subscription: &str) -> Result<(), AdapterError> {
        let record = self.records.write(subscription, None);
        self.ask(Question::Purge { record }).map(drop)
    }
}

impl fmt::Debug for SowRecoveryPoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SowRecoveryPoints")
            .field("topic", &self.records.topic)
            .field("client", &self.records.client)
            .finish_non_exhaustive()
    }
}

/// What the records look like.
#[derive(Clone)]
struct Records {
    topic: String,
    client: String,
    /// Of client, subscription and point.
    fields: [String; 3],
}

impl Records {
    fn check(&self) -> Result<(), String> {
        let plain =
            |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        match self.fields.iter().find(|name| !plain(name)) {
            Some(name) => Err(format!("'{name}' is no name for a field: it has to be of letters, digits and '_'")),
            None => Ok(()),
        }
    }

    /// The record of a subscription; without a point only its key.
    fn write(&self, subscription: &str, point: Option<&str>) -> String {
        let values = [Some(self.client.as_str()), Some(subscription), point];
        let present = self.fields.iter().zip(values).filter_map(|(name, value)| Some((name.clone(), value?.into())));
        Value::Object(present.collect::<Map<_, _>>()).to_string()
    }

    /// The point in a record, if that is this subscription's.
    fn read(&self, subscription: &str, body: &[u8]) -> Option<String> {
        let record: Value = serde_json::from_slice(body).ok()?;
        let [client, its_subscription, point] =
            self.fields.each_ref().map(|name| record.get(name).and_then(Value::as_str));
        let own = client == Some(&self.client) && its_subscription == Some(subscription);
        point.filter(|_| own).map(str::to_owned)
    }

    fn filter(&self, subscription: &str) -> String {
        let literal = |text: &str| format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"));
        let [client, its_subscription, _] = &self.fields;
        format!("/{client} = {} AND /{its_subscription} = {}", literal(&self.client), literal(subscription))
    }
}

enum Question {
    Recover { subscription: String },
    Update { record: String },
    Purge { record: String },
}

type Answer = mpsc::Sender<Result<Option<String>, AdapterError>>;

/// The thread of the adapter's client.
struct Worker {
    /// `None` when it is to end.
    questions: Option<UnboundedSender<(Question, Answer)>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    fn start(builder: ClientBuilder, records: Records, limit: Duration) -> std::io::Result<Self> {
        let (questions, asked) = unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let run = move || runtime.block_on(serve(builder, records, limit, asked));
        let thread = thread::Builder::new().name("amps-recovery-points".to_owned()).spawn(run)?;
        Ok(Self { questions: Some(questions), thread: Some(thread) })
    }

    /// Asks, and waits for the answer, which comes within the limits.
    fn ask(&self, question: Question) -> Result<Option<String>, AdapterError> {
        let (answer, answered) = mpsc::channel();
        let sent = self.questions.as_ref().is_some_and(|questions| questions.send((question, answer)).is_ok());
        match answered.recv() {
            Ok(answer) if sent => answer,
            _ => Err("the thread of its client has ended".into()),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.questions = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of the recovery points' client panicked");
        }
    }
}

async fn serve(
    builder: ClientBuilder,
    records: Records,
    limit: Duration,
    mut asked: UnboundedReceiver<(Question, Answer)>,
) {
    let client = match builder.start() {
        Ok(client) => client,
        Err(error) => {
            let why = format!("its client cannot be started: {error}");
            while let Some((_, answer)) = asked.recv().await {
                let _ = answer.send(Err(why.clone().into()));
            }
            return;
        }
    };
    let mut points = Points { client, records, limit, unconfirmed: None };
    while let Some((question, answer)) = asked.recv().await {
        // Whoever asked waits.
        let _ = answer.send(points.answer(question).await);
    }
    points.client.close(CLOSE).await;
}

struct Points {
    client: Client,
    records: Records,
    limit: Duration,
    /// What no server has confirmed in time. It stays in the publish store;
    /// nothing is added before it is through, so that there is never more.
    unconfirmed: Option<Receipt>,
}

impl Points {
    async fn answer(&mut self, question: Question) -> Result<Option<String>, AdapterError> {
        match question {
            Question::Recover { subscription } => match timeout(self.limit, self.query(&subscription)).await {
                Ok(answer) => Ok(answer?),
                Err(_) => Err(self.late("has not answered the query")),
            },
            Question::Update { record } => {
                self.room().await?;
                let receipt = self.client.enqueue_write(Publish::new(&self.records.topic, &record))?;
                self.confirmed(receipt).await
            }
            Question::Purge { record } => {
                self.room().await?;
                let receipt = self.client.enqueue_write(SowDelete::by_data(&self.records.topic, &record))?;
                self.confirmed(receipt).await
            }
        }
    }

    /// The point of a subscription; asks again while the connection is lost.
    async fn query(&self, subscription: &str) -> Result<Option<String>, Error> {
        loop {
            match self.query_once(subscription).await {
                Err(error) if error.is_connection() => sleep(AGAIN).await,
                answer => return answer,
            }
        }
    }

    async fn query_once(&self, subscription: &str) -> Result<Option<String>, Error> {
        let query = Sow::of(&self.records.topic).filter(self.records.filter(subscription));
        let mut records = self.client.sow(query).await?;
        let mut point = None;
        while let Some(record) = records.next_message().await? {
            point = self.records.read(subscription, record.data()).or(point);
        }
        Ok(point)
    }

    /// Whether what was not confirmed in time is confirmed by now, or refused: a
    /// newer one follows. Nobody waits for it a second time.
    async fn room(&mut self) -> Result<(), AdapterError> {
        let Some(receipt) = &self.unconfirmed else { return Ok(()) };
        match timeout(Duration::ZERO, receipt.persisted()).await {
            Ok(_) => self.unconfirmed = None,
            Err(_) => return Err(self.late("has not confirmed the point before")),
        }
        Ok(())
    }

    async fn confirmed(&mut self, receipt: Receipt) -> Result<Option<String>, AdapterError> {
        self.unconfirmed = Some(receipt.clone());
        match timeout(self.limit, receipt.persisted()).await {
            Ok(result) => {
                self.unconfirmed = None;
                Ok(result.map(|()| None)?)
            }
            Err(_) => Err(self.late("has not confirmed the point")),
        }
    }

    fn late(&self, what: &str) -> AdapterError {
        let attempts = self.client.inner.state.borrow().attempts();
        match self.client.is_connected() {
            true => format!("the server {what} within {:?}", self.limit).into(),
            false => ConnectError::TimedOut { after: self.limit, attempts }.into(),
        }
    }
}
