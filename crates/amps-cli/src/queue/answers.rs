//! `amps queue consume --answers`: another program works on the messages, and
//! says on standard input what becomes of each.

use std::collections::HashMap;
use std::io;

use amps_client::{
    AckOption, Client, CommandError, Field, Message, PublishStore, Subscribe, Subscription, SubscriptionEvent,
};
use tokio::time::timeout;

use crate::connect;
use crate::exit::{End, Failure};
use crate::follow::{CLOSE, Follow};
use crate::input::{self, Delimiter, Record, Source};
use crate::output::{Out, Readers};
use crate::say::Tone;
use crate::signals::Signals;

/// What becomes of a message.
#[derive(Debug, PartialEq)]
enum Answer<'a> {
    Done(&'a str),
    Back(&'a str, AckOption),
}

impl<'a> Answer<'a> {
    fn read(line: &'a str) -> Result<Self, String> {
        match line.trim().split_once(' ').map(|(verb, bookmark)| (verb, bookmark.trim())) {
            Some(("ack", bookmark)) => Ok(Self::Done(bookmark)),
            Some(("cancel", bookmark)) => Ok(Self::Back(bookmark, AckOption::Cancel)),
            Some(("expire", bookmark)) => Ok(Self::Back(bookmark, AckOption::Expire)),
            _ => Err(format!("{line:?} is no answer: expected ack, cancel or expire, and a bookmark")),
        }
    }
}

/// Prints messages and takes answers, until standard input ends, or as many
/// messages as were asked for are answered. What is not answered goes back to the
/// queue.
///
/// # Errors
/// When the server refuses the subscription, an answer cannot be read, or standard
/// output fails.
pub(super) async fn run(follow: &Follow, wish: Subscribe) -> Result<End, Failure> {
    let mut signals = Signals::listen().map_err(|error| Failure::new("cannot listen for signals", error))?;
    let reached = follow.servers.reach()?;
    let mut out = follow.output.open(&follow.topic, true, false, &follow.servers, &reached)?;
    let client = connect::reaching(&reached, follow.servers.heartbeat, follow.client_name.as_deref(), "queue")
        .publish_store(PublishStore::None)
        .start()
        .map_err(connect::not_started)?;
    let progress = out.progress().clone();
    tokio::spawn(connect::tell(client.events(), move |tone, text| progress.say(tone, text)));
    let (ended, stopped) = tokio::select! {
        ended = work(follow, &client, wish, &mut out) => (ended, false),
        _ = signals.next() => (Ok(()), true),
    };
    client.close(CLOSE).await;
    let told = out.end(client.reconnects(), stopped || ended.is_err()).await;
    ended.and(told).map(|()| End::Done)
}

async fn work(follow: &Follow, client: &Client, wish: Subscribe, out: &mut Out) -> Result<(), Failure> {
    let mut messages = follow.enter(client, wish).await?;
    let mut answers = input::read(&[Source::Stdin], Delimiter::LINE)
        .map_err(|error| Failure::new("cannot read the answers", error))?;
    let mut under_way: HashMap<String, Message> = HashMap::new();
    loop {
        let wants_more = follow.left(out) > 0;
        if !wants_more && under_way.is_empty() {
            break;
        }
        tokio::select! {
            next = messages.next(), if wants_more => match next {
                Some(Ok(SubscriptionEvent::Message(message))) => {
                    let bookmark = message.raw(Field::Bookmark).unwrap_or_default().to_owned();
                    if out.write(std::slice::from_ref(&message), false).await? == Readers::Gone {
                        return Ok(());
                    }
                    under_way.insert(bookmark, message);
                }
                Some(Ok(SubscriptionEvent::Reconnected { .. })) => {
                    let before = under_way.len();
                    under_way.retain(|_, message| messages.is_leased(message));
                    if before > under_way.len() {
                        let text = format!("{} unanswered messages went back to the queue", before - under_way.len());
                        out.progress().say(Tone::Warning, &text);
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(ended(follow, error)),
                None => break,
            },
            answer = answers.next() => match answer {
                Some(record) => take(record, &messages, &mut under_way, out)?,
                None => break,
            },
        }
    }
    match timeout(CLOSE, messages.flush_acks()).await {
        Ok(Ok(())) => {}
        _ => {
            let text = "whether the last answers arrived is not known: their messages may come again";
            out.progress().say(Tone::Warning, text);
        }
    }
    Ok(())
}

fn ended(follow: &Follow, error: CommandError) -> Failure {
    let what = format!("the subscription to {} ended", follow.topic);
    connect::refused(what, error, follow.filter.as_deref())
}

/// Does what an answer says.
fn take(
    record: io::Result<Record>,
    messages: &Subscription,
    under_way: &mut HashMap<String, Message>,
    out: &Out,
) -> Result<(), Failure> {
    let record = record.map_err(|error| Failure::new("cannot read the answers", error))?;
    let line = String::from_utf8_lossy(&record.body);
    if line.trim().is_empty() {
        return Ok(());
    }
    let answer = Answer::read(&line).map_err(|why| Failure::new("cannot go on", why))?;
    let (Answer::Done(bookmark) | Answer::Back(bookmark, _)) = answer;
    let taken = match (under_way.remove(bookmark), &answer) {
        (None, _) => false,
        (Some(message), Answer::Done(_)) => messages.ack(&message),
        (Some(message), Answer::Back(_, option)) => messages.ack_with(&message, *option),
    };
    if !taken {
        let text = format!("{bookmark} is not under way here, or no longer: the answer has no effect");
        out.progress().say(Tone::Warning, &text);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_word_and_a_bookmark() {
        assert_eq!(Answer::read("ack 1|2|"), Ok(Answer::Done("1|2|")));
        assert_eq!(Answer::read(" cancel  1|2| \r"), Ok(Answer::Back("1|2|", AckOption::Cancel)));
        assert_eq!(Answer::read("expire 1|2|"), Ok(Answer::Back("1|2|", AckOption::Expire)));
        for bad in ["ack", "1|2|", "nack 1|2|"] {
            assert!(Answer::read(bad).is_err(), "{bad}");
        }
    }
}
