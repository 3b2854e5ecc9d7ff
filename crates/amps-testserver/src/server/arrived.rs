//! What arrived, for a test to assert.

use bytes::Bytes;

use super::TestServer;

impl TestServer {
    /// The bodies of what was published to a topic, in the order of the
    /// transaction log. Nothing of a topic that is not logged.
    ///
    /// [`log`](Self::log) has all topics, with publishers and sequences.
    pub fn logged(&self, topic: &str) -> Vec<Bytes> {
        self.with_engine(|engine, _| engine.logged(topic))
    }

    /// Waits until the log has `count` messages of a topic, and answers all that
    /// it has: more of them, should there be more.
    ///
    /// ```no_run
    /// # async fn example(server: amps_testserver::TestServer) {
    /// # use std::time::Duration;
    /// let orders = tokio::time::timeout(Duration::from_secs(10), server.wait_for_logged("orders", 2)).await;
    /// assert_eq!(orders.expect("in time"), [r#"{"id":1}"#, r#"{"id":2}"#]);
    /// # }
    /// ```
    ///
    /// No time limit of its own: wrap it in one.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn wait_for_logged(&self, topic: &str, count: usize) -> Vec<Bytes> {
        let arrived = self.shared.wait_for(|engine| {
            // Looked for only when there can be as many: the log may be long.
            let enough = engine.stats().logged >= count;
            enough.then(|| engine.logged(topic)).filter(|logged| logged.len() >= count)
        });
        arrived.await
    }
}
