//! The codec against serde_json as its oracle, and against anything at all.

use amps_core::header::FrameWriter;
use amps_core::message::MessageKind;
use amps_core::{AckType, Bookmark, Command, Field, FrameDecoder, Message, Messages, batch};
use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use serde_json::Value;

/// A field with a text or a number.
fn field() -> impl Strategy<Value = (Field, Result<u64, String>)> {
    let fields: Vec<_> = Field::ALL.iter().copied().filter(|field| *field != Field::Command).collect();
    let value = prop_oneof![any::<u64>().prop_map(Ok), any::<String>().prop_map(Err)];
    (prop::sample::select(fields), value)
}

fn write(fields: &[(Field, Result<u64, String>)], body: &[u8]) -> BytesMut {
    let mut wire = BytesMut::new();
    let mut frame = FrameWriter::new(&mut wire, "p");
    for (field, value) in fields {
        frame = match value {
            Ok(number) => frame.number(*field, *number),
            Err(text) => frame.text(*field, text),
        };
    }
    frame.finish(body);
    wire
}

fn unique(fields: Vec<(Field, Result<u64, String>)>) -> Vec<(Field, Result<u64, String>)> {
    let mut seen = std::collections::HashSet::new();
    fields.into_iter().filter(|(field, _)| seen.insert(*field)).collect()
}

proptest! {
    /// What is written reads back, and is the JSON that serde_json reads.
    #[test]
    fn headers_read_back(fields in prop::collection::vec(field(), 0..12), body in prop::collection::vec(any::<u8>(), 0..40)) {
        let fields = unique(fields);
        let wire = write(&fields, &body);
        prop_assert_eq!(wire.len() - 4, u32::from_be_bytes(wire[..4].try_into().unwrap()) as usize);
        let message = Message::decode(wire.clone().freeze().slice(4..)).unwrap();
        prop_assert_eq!(message.data(), &body[..]);
        let json: Value = serde_json::Deserializer::from_slice(&wire[4..]).into_iter().next().unwrap().unwrap();
        for (field, value) in &fields {
            match value {
                Ok(number) => {
                    prop_assert_eq!(message.number(*field), Some(*number));
                    prop_assert_eq!(json[field.key()].as_u64(), Some(*number));
                }
                Err(text) => {
                    prop_assert_eq!(message.text(*field).unwrap_or_default(), text.as_str());
                    prop_assert!(message.raw(*field).is_some());
                    prop_assert_eq!(json[field.key()].as_str(), Some(text.as_str()));
                }
            }
        }
        let absent = Field::ALL.iter().filter(|field| **field != Field::Command && !fields.iter().any(|(f, _)| f == *field));
        for field in absent {
            prop_assert_eq!(message.raw(*field), None);
        }
    }

    /// White space, unknown keys, long spellings and quoted numbers change
    /// nothing.
    #[test]
    fn headers_of_any_style_read(space in "[ \t\r\n]{0,3}", unknown in "[a-z_]{9,12}", sequence in any::<u64>(), body in "\\PC{0,20}") {
        let header = format!(
            r#"{{{space}"cmd"{space}:{space}"publish",{space}"{unknown}":true,"topic":"t{{x}}" ,"seq":"{sequence}"{space}}}"#
        );
        let message = Message::decode(Bytes::from(header + &body)).unwrap();
        prop_assert_eq!(message.topic().unwrap(), "t{x}");
        prop_assert_eq!(message.sequence(), Some(sequence));
        prop_assert_eq!(message.data(), body.as_bytes());
    }

    /// Any bytes are a message or an error; nothing panics, also not on what
    /// is asked of the message afterwards.
    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        touch(Bytes::from(bytes));
    }

    /// The same for what is nearly right: one byte changed, the end cut off.
    #[test]
    fn nearly_right_bytes_are_a_message_or_an_error(
        fields in prop::collection::vec(field(), 0..6),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut wire = write(&unique(fields), b"{\"k\":\"1\",\"l\":2}{}").split_off(4);
        let at = at.index(wire.len());
        wire[at] = byte;
        wire.truncate(cut.index(wire.len() + 1));
        touch(wire.freeze());
    }

    /// Frames come out whole and in order however the stream is split.
    #[test]
    fn frames_survive_any_split(bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 1..10), sizes in prop::collection::vec(1usize..20, 1..10)) {
        let mut wire = BytesMut::new();
        for body in &bodies {
            FrameWriter::new(&mut wire, "p").finish(body);
        }
        let mut decoder = FrameDecoder::new(1000);
        let mut seen = Vec::new();
        let mut sizes = sizes.iter().cycle();
        while !wire.is_empty() {
            let part = wire.split_to(wire.len().min(*sizes.next().unwrap()));
            decoder.extend(&part);
            while let Some(frame) = decoder.next_frame().unwrap() {
                seen.push(Message::decode(frame).unwrap().data().to_vec());
            }
        }
        prop_assert_eq!(seen, bodies);
    }
}

fn touch(bytes: Bytes) {
    let Ok(message) = Message::decode(bytes) else { return };
    for field in Field::ALL {
        let _ = (message.raw(*field), message.text(*field), message.number(*field));
    }
    let _ = (message.bookmark(), message.reason(), message.status(), message.ack_type(), format!("{message:?}"));
    assert!(message.subscription_ids().count() <= message.size());
    assert!(batch::records(&message).len() <= message.size());
}

#[test]
fn the_worked_example_of_a_publish() {
    let mut wire = BytesMut::new();
    FrameWriter::new(&mut wire, "p")
        .text(Field::Topic, "px")
        .number(Field::Sequence, 7)
        .text(Field::AckType, "persisted")
        .finish(br#"{"id":1}"#);
    assert_eq!(&wire[..], b"\0\0\0\x30{\"c\":\"p\",\"t\":\"px\",\"s\":7,\"a\":\"persisted\"}{\"id\":1}");
}

#[test]
fn a_header_that_is_not_utf_8_is_an_error_and_a_body_may_be() {
    let error = Message::decode(Bytes::from_static(b"{\"c\":\"p\",\"t\":\"\xff\"}")).unwrap_err();
    assert_eq!(error, amps_core::MessageError::NotUtf8 { at: 14 });
    assert_eq!(Message::decode(Bytes::from_static(b"{\"c\":\"p\"}\xff")).unwrap().data(), b"\xff");
}

/// Fields are looked for one after the other, so there is a bound on how many.
#[test]
fn a_header_of_too_many_fields_is_an_error() {
    let header = |fields: usize| format!("{{\"c\":\"p\"{}}}", ",\"t\":\"x\"".repeat(fields - 1));
    assert!(Message::decode(Bytes::from(header(256))).is_ok());
    let error = Message::decode(Bytes::from(header(257))).unwrap_err().to_string();
    assert!(error.contains("at most 256 fields"), "{error}");
}

#[test]
fn a_value_that_is_missing_is_an_error() {
    for header in [r#"{"c":"p","s":}"#, r#"{"c":"p","s":,"t":"orders"}"#, r#"{"c":"p","s": ,"t":"orders"}"#] {
        assert!(Message::decode(Bytes::from(header)).is_err(), "{header}");
    }
}

/// Wherever it is: strings are read eight bytes at a time, and their ends byte by
/// byte.
#[test]
fn a_byte_that_is_not_utf_8_is_seen_anywhere_in_a_string() {
    for (before, after) in [(r#"{"c":"p","t":""#, r#"","s":1234567890}"#), (r#"{"c":"p",""#, r#"":1,"s":1234567890}"#)]
    {
        for (len, at) in (1..20).flat_map(|len| (0..len).map(move |at| (len, at))) {
            let mut text = vec![b'x'; len];
            text[at] = 0xff;
            let header = [before.as_bytes(), &text, after.as_bytes()].concat();
            assert!(Message::decode(Bytes::from(header)).is_err(), "{before} {len} {at}");
            // Two of its bytes make a character.
            if at + 1 < len {
                (text[at], text[at + 1]) = (0xc3, 0xa4);
                let header = [before.as_bytes(), &text, after.as_bytes()].concat();
                let message = Message::decode(Bytes::from(header)).unwrap();
                assert_eq!(message.number(Field::Sequence), Some(1_234_567_890));
            }
        }
    }
}

/// Also behind a backslash, which makes nothing good of it.
#[test]
fn a_byte_that_is_not_utf_8_is_seen_behind_an_escape() {
    for text in [&b"\\\xff"[..], b"\\n\xff", b"long enough\\\xff", b"\\\xc3", b"\\\xa4long enough"] {
        let header = [b"{\"c\":\"p\",\"t\":\"", text, b"\",\"s\":1234567890}"].concat();
        assert!(Message::decode(Bytes::from(header)).is_err(), "{text:?}");
    }
}

/// Each character that JSON wants escaped, and each beside them.
#[test]
fn every_character_of_ascii_is_written_as_json() {
    for byte in 0..=0x7f_u8 {
        let text = char::from(byte).to_string();
        let wire = write(&[(Field::Topic, Err(text.clone()))], b"");
        let json: Value = serde_json::from_slice(&wire[4..]).unwrap();
        assert_eq!(json["t"], text, "{byte:#x}");
        assert_eq!(Message::decode(wire.freeze().slice(4..)).unwrap().topic().as_deref(), Some(text.as_str()));
    }
}

/// Also where the key begins like one, and where it is read eight bytes at a time.
#[test]
fn a_key_with_an_escape_is_no_field_and_is_passed_over() {
    for key in [r"\u0074", r"t\u0062", r"t\\", r#"t\""#, r"sub_id\n", r"longer_than_eight\t", r"a-bc\n"] {
        let header = format!(r#"{{"c":"p","{key}":"of no account","t":"orders","s":7}}"#);
        let message = Message::decode(Bytes::from(header)).unwrap();
        assert_eq!((message.topic().as_deref(), message.number(Field::Sequence)), (Some("orders"), Some(7)), "{key}");
    }
}

/// As JSON has it: characters beyond the first 65,536 are escaped in two halves.
#[test]
fn escaped_characters_are_decoded_and_halves_of_them_are_not() {
    for (escaped, text) in [
        (r"\u00e9", "é"),
        (r"\ud83d\ude00!", "😀!"),
        (r"\ud83d", "ud83d"),
        (r"\ud83d\u0041", "ud83dA"),
        (r"\ud83d\ue000", "ud83d\u{e000}"),
        (r"\u+123", "u+123"),
        (r"\u12", "u12"),
    ] {
        let message = Message::decode(Bytes::from(format!(r#"{{"c":"p","t":"{escaped}"}}"#))).unwrap();
        assert_eq!(message.topic().as_deref(), Some(text), "{escaped}");
    }
}

proptest! {
    /// What the publish log holds is written in few pieces, the same as field
    /// by field.
    #[test]
    fn a_write_is_written_as_field_by_field(topic in ".{0,20}", sequence in prop::option::of(any::<u64>()), body in prop::collection::vec(any::<u8>(), 0..40)) {
        let (mut quick, mut fields) = (BytesMut::new(), BytesMut::new());
        FrameWriter::publish(&mut quick, &topic, sequence).finish(&body);
        FrameWriter::delta_publish(&mut quick, &topic, sequence).finish(&body);
        FrameWriter::sow_delete(&mut quick, &topic, sequence).finish(&body);
        for command in ["p", "delta_publish", "sow_delete"] {
            let mut frame = FrameWriter::new(&mut fields, command);
            if let Some(sequence) = sequence {
                frame = frame.number(Field::Sequence, sequence).text(Field::AckType, "persisted");
            }
            frame.text(Field::Topic, &topic).finish(&body);
        }
        prop_assert_eq!(quick, fields);
    }
}

/// Headers that mostly look like the one before: one of a few, with some bytes
/// replaced.
fn alike_headers() -> impl Strategy<Value = Vec<Vec<u8>>> {
    const FORMS: [&str; 4] = [
        r#"{"c":"p","t":"orders","sids":"1","bm":"1234|17000000001|","ts":"20260101T000000Z","k":"17"}x"#,
        r#"{"c":"p","t":"orders","sids":"1","bm":"1234|17000000002|","ts":"20260101T000001Z","k":"18"}x"#,
        r#"{"c":"oof","t":"orders","sids":"1,2","s":12,"z":"y","k":"18"}x"#,
        r#"{"c":"p","sids":"1"}x"#,
    ];
    let change = (any::<prop::sample::Index>(), prop::sample::select(&b"\"\\,:{}a1 \xc3\xa4"[..]));
    let header = (prop::sample::select(&FORMS[..]), prop::collection::vec(change, 0..3)).prop_map(|(form, changes)| {
        let mut header = form.as_bytes().to_vec();
        for (index, byte) in changes {
            let at = index.index(header.len());
            header[at] = byte;
        }
        header
    });
    prop::collection::vec(
        prop_oneof![3 => prop::sample::select(&FORMS[..]).prop_map(|f| f.as_bytes().to_vec()), 1 => header],
        1..20,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// What comes together reads as what comes alone, up to the first that does
    /// not.
    #[test]
    fn messages_read_together_as_alone(frames in alike_headers()) {
        let mut wire = BytesMut::new();
        for frame in &frames {
            wire.extend_from_slice(&(frame.len() as u32).to_be_bytes());
            wire.extend_from_slice(frame);
        }
        let messages = Messages::decode(wire.freeze());
        let bookmarks = messages.bookmarks().to_vec();
        for (index, frame) in frames.into_iter().enumerate() {
            let alone = match Message::decode(frame.into()) {
                Ok(alone) => alone,
                Err(error) => {
                    prop_assert_eq!((messages.error(), messages.len()), (Some(&error), index));
                    return Ok(());
                }
            };
            let message = messages.get(index);
            prop_assert_eq!(format!("{message:?}"), format!("{alone:?}"));
            prop_assert_eq!(message.data(), alone.data());
            prop_assert_eq!(bookmarks[index], alone.bookmark());
            for field in Field::ALL {
                prop_assert_eq!((message.raw(*field), message.span(*field)), (alone.raw(*field), alone.span(*field)));
            }
            if index > 0 && messages.alike_until(index - 1) > index {
                let before = messages.get(index - 1);
                prop_assert_eq!(message.kind(), before.kind());
                prop_assert!(message.subscription_ids().eq(before.subscription_ids()));
            }
        }
        prop_assert_eq!(messages.error(), None);
    }
}

/// Covers 4.4#1, 4.4#2.
#[test]
fn every_field_can_be_asked_for_and_what_has_no_name_stays_in_the_header() {
    let header = concat!(
        r#"{"c":"ack","t":"t\/1","sids":"1,2","sub_id":"3","bm":"7|8|","s":9,"a":"stats","cid":"c1","k":"key","#,
        r#""sow_keys":"1,2","l":10,"ts":"20260101T000000.000001Z","status":"failure","reason":"bad filter","#,
        r#""query_id":"q","bs":11,"f":"/a","o":"max_backlog=5","x":"YQ==","e":12,"top_n":13,"orderby":"/a","#,
        r#""lp":"20260101T000001Z","client_name":"me","user_id":"u","pw":"p","mt":"json","version":"5.3","matches":14,"#,
        r#""topic_matches":15,"records_returned":16,"records_deleted":17,"records_inserted":18,"records_updated":19,"#,
        r#""gseq":20,"a_new_field":"}","#,
        r#""another":null}"#
    );
    let message = Message::decode(Bytes::from(format!("{header}body"))).unwrap();
    assert_eq!(message.kind(), MessageKind::Ack);
    for field in Field::ALL.iter().filter(|field| **field != Field::Command) {
        assert!(message.raw(*field).is_some(), "{field:?}");
        assert_eq!(typed(&message, *field), Some(expected(*field).to_owned()), "{field:?}");
    }
    assert_eq!((message.header(), message.data()), (header, &b"body"[..]));
    let bare = Message::decode(Bytes::from_static(b"{\"c\":\"p\"}")).unwrap();
    for field in Field::ALL.iter().filter(|field| **field != Field::Command) {
        assert_eq!(bare.raw(*field), None, "{field:?}");
        // Without a status it went well.
        let absent = (*field == Field::Status).then(|| "Success".to_owned());
        assert_eq!(typed(&bare, *field), absent, "{field:?}");
    }
}

/// What the accessor of a field answers.
fn typed(message: &Message, field: Field) -> Option<String> {
    let text = |text: Option<std::borrow::Cow<'_, str>>| text.map(|text| text.into_owned());
    let plain = |text: Option<&str>| text.map(str::to_owned);
    let number = |number: Option<u64>| number.map(|number| number.to_string());
    match field {
        Field::Topic => text(message.topic()),
        Field::SubscriptionIds => {
            Some(message.subscription_ids().collect::<Vec<_>>().join(" ")).filter(|ids| !ids.is_empty())
        }
        Field::SubscriptionId => plain(message.subscription_id()),
        Field::Bookmark => message.bookmark().map(|bookmark| bookmark.to_string()),
        Field::Sequence => number(message.sequence()),
        Field::AckType => message.ack_type().map(|ack| format!("{ack:?}")),
        Field::CommandId => plain(message.command_id()),
        Field::SowKey => text(message.sow_key()),
        Field::SowKeys => text(message.sow_keys()),
        Field::MessageLength => number(message.message_length()),
        Field::Timestamp => plain(message.timestamp()),
        Field::Status => Some(format!("{:?}", message.status())),
        Field::Reason => message.reason().map(|reason| format!("{reason:?}")),
        Field::QueryId => plain(message.query_id()),
        Field::BatchSize => number(message.batch_size()),
        Field::Filter => text(message.filter()),
        Field::Options => message.options().and_then(|options| options.get("max_backlog").map(str::to_owned)),
        Field::CorrelationId => text(message.correlation_id()),
        Field::Expiration => number(message.expiration()),
        Field::TopN => number(message.top_n()),
        Field::OrderBy => text(message.order_by()),
        Field::LeasePeriod => plain(message.lease_period()),
        Field::ClientName => text(message.client_name()),
        Field::UserId => text(message.user_id()),
        Field::Password => text(message.password()),
        Field::MessageType => text(message.message_type()),
        Field::Version => text(message.version()),
        Field::Matches => number(message.matches()),
        Field::TopicMatches => number(message.topic_matches()),
        Field::RecordsReturned => number(message.records_returned()),
        Field::RecordsDeleted => number(message.records_deleted()),
        Field::RecordsInserted => number(message.records_inserted()),
        Field::RecordsUpdated => number(message.records_updated()),
        Field::GroupSequence => number(message.group_sequence()),
        other => panic!("there is no accessor for {other:?}"),
    }
}

/// What that is of the message with all of them.
fn expected(field: Field) -> &'static str {
    match field {
        Field::Topic => "t/1",
        Field::SubscriptionIds => "1 2",
        Field::SubscriptionId => "3",
        Field::Bookmark => "7|8|",
        Field::Sequence => "9",
        Field::AckType => "Stats",
        Field::CommandId => "c1",
        Field::SowKey => "key",
        Field::SowKeys => "1,2",
        Field::MessageLength => "10",
        Field::Timestamp => "20260101T000000.000001Z",
        Field::Status => "Failure",
        Field::Reason => "BadFilter",
        Field::QueryId => "q",
        Field::BatchSize => "11",
        Field::Filter | Field::OrderBy => "/a",
        Field::Options => "5",
        Field::CorrelationId => "YQ==",
        Field::Expiration => "12",
        Field::TopN => "13",
        Field::LeasePeriod => "20260101T000001Z",
        Field::ClientName => "me",
        Field::UserId => "u",
        Field::Password => "p",
        Field::MessageType => "json",
        Field::Version => "5.3",
        Field::Matches => "14",
        Field::TopicMatches => "15",
        Field::RecordsReturned => "16",
        Field::RecordsDeleted => "17",
        Field::RecordsInserted => "18",
        Field::RecordsUpdated => "19",
        Field::GroupSequence => "20",
        other => panic!("nothing is expected of {other:?}"),
    }
}

/// The old words of the header, which options took the place of: whether they
/// are quoted the documents do not say.
#[test]
fn what_has_no_name_is_passed_over_quoted_or_not_and_stays_in_the_header() {
    for value in ["true", "\"true\"", "false", "null", "-1.5e3", "\"{}\"", "\"\""] {
        for key in ["data_only", "send_empty", "send_keys", "send_oof", "send_matching_ids", "use_ns", "grace_period"] {
            let header = format!(r#"{{"{key}":{value},"c":"p","{key}2":{value},"t":"t","{key}":{value}}}"#);
            let message = Message::decode(Bytes::from(format!("{header}{{}}"))).unwrap();
            assert_eq!((message.kind(), message.topic().as_deref()), (MessageKind::Publish, Some("t")), "{header}");
            assert_eq!((message.header(), message.data()), (header.as_str(), &b"{}"[..]));
        }
    }
}

/// An acknowledgement of queues' messages built by hand, with or without an
/// answer.
///
/// Covers 8.4#1.
#[test]
fn messages_of_a_queue_are_acknowledged_by_their_bookmarks() {
    let list = [Bookmark { publisher: 77, sequence: 3 }, Bookmark { publisher: 78, sequence: u64::MAX }];
    let ack = Command::sow_delete("work").bookmarks(list);
    for (command, end) in [
        (ack.clone(), "}"),
        (ack.clone().id("9").acks(AckType::Persisted), r#","cid":"9","a":"persisted"}"#),
        (ack.id("9").acks(AckType::Processed | AckType::Stats), r#","cid":"9","a":"processed,stats"}"#),
    ] {
        let mut wire = BytesMut::new();
        command.encode(&mut wire);
        let begin = r#"{"c":"sow_delete","t":"work","bm":"77|3|,78|18446744073709551615|""#;
        assert_eq!(String::from_utf8_lossy(&wire[4..]), format!("{begin}{end}"));
    }
}
