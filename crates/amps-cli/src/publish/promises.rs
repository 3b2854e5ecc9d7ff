//! From receipts to the ledger.

use amps_client::Receipt;
use futures_util::FutureExt;
use tokio::sync::mpsc;

use crate::exit::Failure;
use crate::ledger::Ledger;

/// The most messages promised by one write.
const BATCH: usize = 4_096;

/// A message that was taken in.
#[derive(Debug)]
pub(super) struct Promised {
    /// Counted from 1.
    pub(super) number: u64,
    pub(super) receipt: Receipt,
}

/// Writes the number of each message to the ledger once it is durable; those that
/// became durable together in one write. Ends with the channel.
///
/// # Errors
/// When the store or the ledger fails.
pub(super) async fn keep(mut lines: mpsc::Receiver<Promised>, mut ledger: Option<Ledger>) -> Result<(), Failure> {
    let failed = |error| Failure::new("cannot keep a message", error);
    let mut durable = Vec::with_capacity(BATCH);
    let mut next = lines.recv().await;
    while let Some(line) = next.take() {
        line.receipt.durable().await.map_err(failed)?;
        durable.push(line.number);
        while durable.len() < BATCH
            && let Ok(line) = lines.try_recv()
        {
            let Some(done) = line.receipt.durable().now_or_never() else {
                next = Some(line);
                break;
            };
            done.map_err(failed)?;
            durable.push(line.number);
        }
        if let Some(ledger) = &mut ledger {
            let written = ledger.promise(durable.iter().copied());
            written.map_err(|error| Failure::new("cannot write the ledger", error))?;
        }
        durable.clear();
        if next.is_none() {
            next = lines.recv().await;
        }
    }
    Ok(())
}
