//! Topics, and regular expressions of them.

use amps_core::{AckType, Field};

use crate::bench::{Bench, publish, subscribe};
use crate::check::{Check, check};
use crate::judge::{Judged, equal, refused};
use crate::wire::Wire;

pub(super) const CHECKS: &[Check] = &[
    check!("topic/exact", "AMPS User Guide, \"Topics\"", [], exact),
    check!("topic/case", "AMPS User Guide, \"Topics\"", [], case),
    check!("topic/regex", "AMPS User Guide, \"Regular Expressions\"", [], regex),
    check!("topic/regex-anywhere", "AMPS User Guide, \"Regular Expressions\"", [], regex_anywhere),
    check!("topic/regex-of-a-new-topic", "AMPS User Guide, \"Regular Expressions\"", [], regex_of_a_new_topic),
    check!("topic/regex-bad", "AMPS Command Reference, \"subscribe\"", [], regex_bad),
    check!("topic/non-regex-topic", "AMPS Command Reference, \"subscribe\"", [], non_regex_topic),
    check!("topic/any-characters", "AMPS User Guide, \"Topics\"", [], any_characters),
];

/// Publishes message `n` to the `n`th topic, and answers those that come to a
/// subscription of another topic, which is the last.
async fn published(
    bench: &Bench<'_>,
    wire: &mut Wire,
    topics: &[String],
    count: usize,
) -> Result<Vec<i64>, crate::judge::Stop> {
    for (n, topic) in (1..).zip(topics) {
        wire.send(&publish(topic, bench.body("x", &format!(r#""n":{n}"#)))).await?;
    }
    bench.numbers(&wire.messages(count).await?)
}

async fn exact(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    let topic = bench.plain("a");
    wire.done(subscribe(&topic)).await?;
    let topics = [format!("{topic}b"), topic[..topic.len() - 1].to_owned(), format!("x{topic}"), topic];
    equal("what was published to the very topic", published(bench, &mut wire, &topics, 1).await?, vec![4])
}

async fn case(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    wire.done(subscribe(&bench.plain("Aa"))).await?;
    let topics = ["aa", "AA", "Aa"].map(|part| bench.plain(part));
    equal("what was published to the very topic", published(bench, &mut wire, &topics, 1).await?, vec![3])
}

async fn regex(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    wire.done(subscribe(&format!("^{}(a|b[0-9])$", bench.plain("")))).await?;
    let topics = ["a", "b", "b7", "ab", "b77", "b0"].map(|part| bench.plain(part));
    equal("topics that match", published(bench, &mut wire, &topics, 3).await?, vec![1, 3, 6])
}

async fn regex_anywhere(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    wire.done(subscribe(&format!("{}.x", bench.tag()))).await?;
    let topics = ["y", "x", "xy"].map(|part| bench.plain(part));
    equal("topics in which it is found", published(bench, &mut wire, &topics, 2).await?, vec![2, 3])
}

async fn regex_of_a_new_topic(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    wire.done(subscribe(&format!("^{}.*", bench.plain("")))).await?;
    for part in ["first", "second"] {
        let topic = bench.plain(part);
        wire.send(&publish(&topic, bench.body("x", ""))).await?;
        let message = wire.message().await?;
        equal("the message's own topic", message.topic().map(|topic| topic.into_owned()), Some(topic))?;
    }
    Ok(())
}

async fn regex_bad(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    for topic in ["a[", "(a", "*"] {
        refused(&wire.ask(subscribe(topic), AckType::Processed).await?, &format!("{topic} is no regular expression"))?;
    }
    Ok(())
}

async fn non_regex_topic(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    let topics = [bench.plain("axb"), bench.plain("a.b")];
    wire.done(subscribe(&topics[1]).text(Field::Options, "non_regex_topic")).await?;
    equal("what was published to the very topic", published(bench, &mut wire, &topics, 1).await?, vec![2])
}

async fn any_characters(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    for part in ["a b/c:d", "gr\u{fc}n", "{x},1"] {
        let topic = bench.plain(part);
        let options = if part.contains('{') { "non_regex_topic" } else { "none" };
        wire.done(subscribe(&topic).text(Field::Options, options)).await?;
        wire.send(&publish(&topic, bench.body("x", ""))).await?;
        let message = wire.message().await?;
        equal("the topic", message.topic().map(|topic| topic.into_owned()), Some(topic))?;
    }
    Ok(())
}
