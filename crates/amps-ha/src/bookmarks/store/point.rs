//! A recovery point as text: `1`, then `=bookmark` of a subscription that
//! started at NOW, then `publisher:floor:anchor` for each publisher, apart by
//! spaces; a number that is not known is `-`.

use super::BookmarkStoreError;
use super::adapter::Point;

const VERSION: &str = "1";

pub(super) fn write_point(point: &Point) -> String {
    let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let base = point.base.iter().map(|base| format!("={base}"));
    let publishers =
        point.publishers.iter().map(|(hash, [floor, anchor])| format!("{hash}:{}:{}", number(*floor), number(*anchor)));
    std::iter::once(VERSION.to_owned()).chain(base).chain(publishers).collect::<Vec<_>>().join(" ")
}

pub(super) fn read_point(text: &str) -> Result<Point, BookmarkStoreError> {
    let mut parts = text.split(' ');
    match parts.next() {
        Some(VERSION) => {}
        stored => {
            let stored = stored.unwrap_or_default().to_owned();
            return Err(BookmarkStoreError::OtherFormat { stored, readable: VERSION.to_owned() });
        }
    }
    let mut point = Point::default();
    for part in parts {
        let read = match part.strip_prefix('=') {
            Some(base) => base.parse().map(|base| point.base = Some(base)).ok(),
            None => read_publisher(part).map(|publisher| point.publishers.extend([publisher])),
        };
        read.ok_or_else(|| BookmarkStoreError::Damaged { what: format!("the recovery point '{text}'") })?;
    }
    Ok(point)
}

fn read_publisher(part: &str) -> Option<(u64, [Option<u64>; 2])> {
    let number = |text: &str| if text == "-" { Some(None) } else { text.parse().ok().map(Some) };
    let mut parts = part.split(':');
    let read = (parts.next()?.parse().ok()?, [number(parts.next()?)?, number(parts.next()?)?]);
    parts.next().is_none().then_some(read)
}
