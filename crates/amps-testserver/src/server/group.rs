//! Several servers that replicate to each other, and one that comes again.

use std::io;

use super::{TestServer, TestServerBuilder};
use crate::config::Link;

impl TestServer {
    /// Starts instances that replicate to each other synchronously, one for each
    /// name, each on a free port, and otherwise as `describe` says. What one of
    /// them has acknowledged, all have.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// use amps_testserver::TestServer;
    /// let [a, b, c] = TestServer::group(["A", "B", "C"], |server| server.sow("prices", "/symbol")).await?;
    /// assert_eq!((a.config().peers.len(), c.config().name.as_str()), (2, "C"));
    /// # drop(b);
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// Those of [`TestServerBuilder::start`].
    ///
    /// # Cancel safety
    /// A dropped call leaves nothing running.
    pub async fn group<const N: usize>(
        names: [&str; N],
        mut describe: impl FnMut(TestServerBuilder) -> TestServerBuilder,
    ) -> io::Result<[Self; N]> {
        let mut bound = Vec::with_capacity(N);
        for name in names {
            let builder = describe(Self::builder().name(name));
            let place = builder.bind().await?;
            bound.push((builder, place));
        }
        let uris: Vec<_> = bound.iter().map(|(_, (_, address))| format!("tcp://{address}/amps/json")).collect();
        let mut servers = Vec::with_capacity(N);
        for (index, (builder, place)) in bound.into_iter().enumerate() {
            let others = uris.iter().enumerate().filter(|(other, _)| *other != index);
            let builder = others.fold(builder, |builder, (_, uri)| builder.peer(uri.as_str(), Link::Sync));
            servers.push(builder.start_at(place).await?);
        }
        Ok(servers.try_into().expect("one server for each name"))
    }

    /// Describes the same server once more: name, settings, address, directory. To
    /// be started when this one has stopped; what it kept only in memory is gone
    /// then, as after a crash. TLS and WebSocket come back on other ports.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// use amps_testserver::TestServer;
    /// let server = TestServer::builder().name("A").start().await?;
    /// let (uri, again) = (server.uri(), server.again());
    /// server.stop().await;
    /// // Nobody is there. Then it is back.
    /// let server = again.start().await?;
    /// assert_eq!(server.uri(), uri);
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub fn again(&self) -> TestServerBuilder {
        self.described.clone()
    }
}
