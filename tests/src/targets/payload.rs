//! Bodies of several parts, FIX and NVFIX.

use amps_core::payload::{self, Composite, CompositeBuilder, CompositeError, FixBuilder, NvfixBuilder, PARTS_MAX};

/// Any bytes are parts or an error; parts make the same bytes again, also with
/// something unparsed behind them.
pub(super) fn composite(bytes: &[u8]) {
    let whole = Composite::parse(bytes);
    let parts: Vec<_> = Composite::parts(bytes).map_while(Result::ok).collect();
    assert!(parts.len() <= bytes.len() / 4);
    let built = parts.iter().try_fold(CompositeBuilder::new(), |body, part| body.part(part)).expect("parts that fit");
    let built = built.finish();
    assert!(bytes.starts_with(&built));
    if parts.len() > PARTS_MAX {
        return assert_eq!(whole, Err(CompositeError::TooMany));
    }
    assert_eq!(whole.is_ok(), built.len() == bytes.len());
    if let Ok(whole) = whole {
        assert!(whole.iter().eq(parts.iter().copied()));
    }
    for count in [0, parts.len() / 2, parts.len()] {
        let (declared, unparsed) = Composite::declared(bytes, count).expect("so many are there");
        assert!(declared.iter().eq(parts.iter().take(count).copied()));
        let again = declared.iter().try_fold(CompositeBuilder::new(), |body, part| body.part(part));
        assert_eq!(again.expect("parts that fit").finish_with(unparsed), bytes);
    }
    assert!(Composite::declared(bytes, parts.len() + 1).is_err());
}

/// The first byte is the separator. Any bytes are pairs or errors; pairs make
/// bytes that read as the same pairs.
pub(super) fn nvfix(bytes: &[u8]) {
    let Some((separator, body)) = bytes.split_first() else { return };
    assert!(payload::nvfix(body, *separator).count() <= body.len());
    let texts = |pair: Result<(&'_ [u8], &'_ [u8]), _>| {
        let (tag, value) = pair.ok()?;
        Some((String::from_utf8(tag.to_vec()).ok()?, String::from_utf8(value.to_vec()).ok()?))
    };
    let pairs: Option<Vec<_>> = payload::nvfix(body, *separator).map(texts).collect();
    let Some(pairs) = pairs.filter(|_| *separator != b'=') else { return };
    let built =
        pairs.iter().try_fold(NvfixBuilder::new().separator(*separator), |body, (tag, value)| body.pair(tag, value));
    let built = built.expect("it was read").finish();
    let again: Option<Vec<_>> = payload::nvfix(&built, *separator).map(texts).collect();
    assert_eq!(again, Some(pairs));
}

/// The same for tags that are numbers.
pub(super) fn fix(bytes: &[u8]) {
    let Some((separator, body)) = bytes.split_first() else { return };
    assert!(payload::fix(body, *separator).count() <= body.len());
    let texts = |pair: Result<(u32, &'_ [u8]), _>| {
        let (tag, value) = pair.ok()?;
        assert!(tag > 0);
        Some((tag, String::from_utf8(value.to_vec()).ok()?))
    };
    let pairs: Option<Vec<_>> = payload::fix(body, *separator).map(texts).collect();
    let Some(pairs) = pairs.filter(|_| *separator != b'=' && !separator.is_ascii_digit()) else { return };
    let built =
        pairs.iter().try_fold(FixBuilder::new().separator(*separator), |body, (tag, value)| body.pair(*tag, value));
    let built = built.expect("it was read").finish();
    let again: Option<Vec<_>> = payload::fix(&built, *separator).map(texts).collect();
    assert_eq!(again, Some(pairs));
}
