//! The answer to a query.

use amps_core::message::MessageKind;
use amps_core::{AckType, AckTypes, Command, Field, Message, batch};

use crate::exchange::shown;
use crate::judge::{Stop, expect, fail, success};
use crate::wire::{Wire, is_ack};

/// The records of a query, as they came.
pub(crate) struct Answer {
    /// Everything between the markers, both included.
    pub(crate) frames: Vec<Message>,
    pub(crate) records: Vec<Message>,
    /// The acks asked for, in the order in which they came.
    pub(crate) acks: Vec<Message>,
    /// The id of the command.
    pub(crate) id: String,
}

impl Answer {
    /// How many records each frame has.
    pub(crate) fn batches(&self) -> Vec<usize> {
        let frames = self.frames.iter().filter(|frame| frame.kind() == MessageKind::Sow);
        frames.map(|frame| batch::records(frame).len()).collect()
    }

    /// The ack of that kind.
    pub(crate) fn ack(&self, kind: AckType) -> Result<&Message, Stop> {
        let ack = self.acks.iter().find(|ack| is_ack(ack, kind));
        ack.ok_or_else(|| fail(format!("a {} ack", kind.as_str()), "none"))
    }
}

impl Wire {
    /// Sends a query and reads its answer: `group_begin`, records, `group_end`,
    /// and a processed ack; with these acks besides.
    pub(crate) async fn query(&mut self, command: Command, acks: impl Into<AckTypes>) -> Result<Answer, Stop> {
        let acks = AckTypes::from(AckType::Processed) | acks.into();
        let own = command.get(Field::QueryId).map(str::to_owned);
        let id = self.start(command, acks).await?;
        let query = own.unwrap_or_else(|| id.clone());
        let mut answer = Answer { frames: Vec::new(), records: Vec::new(), acks: Vec::new(), id: id.clone() };
        let wanted = [AckType::Processed, AckType::Completed, AckType::Stats].map(|ack| acks.contains(ack));
        let wanted = wanted.iter().filter(|wanted| **wanted).count();
        let mut ended = false;
        while !ended || answer.acks.len() < wanted {
            let expected = match ended {
                false => format!("group_begin, records and group_end of query {query}"),
                true => format!("{wanted} acks of command {id}"),
            };
            let message = self
                .take(&expected, |message| {
                    let is_group =
                        matches!(message.kind(), MessageKind::GroupBegin | MessageKind::Sow | MessageKind::GroupEnd);
                    let is_own_ack = message.kind() == MessageKind::Ack && message.command_id() == Some(&id);
                    is_group && message.query_id() == Some(query.as_str()) || is_own_ack
                })
                .await?;
            if message.kind() == MessageKind::Ack {
                success(&message)?;
                answer.acks.push(message);
                continue;
            }
            let first = answer.frames.is_empty();
            let begins = message.kind() == MessageKind::GroupBegin;
            expect(first == begins && !ended, "group_begin, sow, group_end, in this order", shown(&message))?;
            ended = message.kind() == MessageKind::GroupEnd;
            if message.kind() == MessageKind::Sow {
                let records = batch::records(&message);
                let whole = records.error().is_none() && message.batch_size() == Some(records.len() as u64);
                expect(whole, "as many whole records as \"bs\" says", shown(&message))?;
                answer.records.extend(records);
            }
            answer.frames.push(message);
        }
        Ok(answer)
    }
}
