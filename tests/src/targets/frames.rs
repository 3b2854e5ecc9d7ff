//! Frames, however the stream is split.

use amps_core::frame::{FrameDecoder, PREFIX_LEN};
use amps_core::{Message, MessageDecoder};
use bytes::Bytes;

/// No frame is longer.
const LIMIT: usize = 1000;

/// The first byte says how the rest arrives. Both decoders find the frames that
/// the lengths say, and stop at the same place.
pub(super) fn run(bytes: &[u8]) {
    let Some((step, stream)) = bytes.split_first() else { return };
    let step = usize::from(*step).max(1);
    let (expected, refused) = expected(stream);

    let mut decoder = FrameDecoder::new(LIMIT);
    let (mut frames, mut failed) = (Vec::new(), false);
    for part in stream.chunks(step) {
        decoder.extend(part);
        while !failed {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(_) => failed = true,
            }
        }
    }
    assert_eq!(failed, refused);
    assert_eq!(frames, expected);
    messages(stream, step, &expected, refused);
}

/// Without prefixes; and whether one is too long.
fn expected(mut stream: &[u8]) -> (Vec<Bytes>, bool) {
    let mut frames = Vec::new();
    while let Some((len, rest)) = stream.split_first_chunk::<PREFIX_LEN>() {
        let len = u32::from_be_bytes(*len) as usize;
        if len > LIMIT {
            return (frames, true);
        }
        let Some((frame, behind)) = rest.split_at_checked(len) else { break };
        if len > 0 {
            frames.push(Bytes::copy_from_slice(frame));
        }
        stream = behind;
    }
    (frames, false)
}

/// The same by the decoder that connections use, up to the first frame that is
/// no message.
fn messages(stream: &[u8], step: usize, expected: &[Bytes], refused: bool) {
    let mut expected = expected.iter();
    let mut decoder = MessageDecoder::new(LIMIT);
    for part in stream.chunks(step) {
        decoder.buffer_mut(part.len()).extend_from_slice(part);
        loop {
            let messages = match decoder.next_messages() {
                Ok(Some(messages)) => messages,
                Ok(None) => break,
                Err(_) => return assert!(refused && expected.next().is_none()),
            };
            let error = messages.error().cloned();
            for message in messages {
                let frame = expected.next().expect("no message that is no frame");
                let alone = Message::decode(frame.clone()).expect("it was read among others");
                assert_eq!(format!("{message:?}"), format!("{alone:?}"));
                assert_eq!((message.header(), message.data()), (alone.header(), alone.data()));
            }
            if let Some(error) = error {
                let frame = expected.next().expect("an error is a frame's");
                return assert_eq!(Message::decode(frame.clone()).err(), Some(error));
            }
        }
    }
    assert!(expected.next().is_none());
}
