//! What has to be accounted for.

use std::collections::BTreeSet;

use crate::failure::Failure;

/// One rule that has to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bullet {
    pub(crate) id: String,
    pub(crate) text: String,
}

/// Reads the bullets of a file: id, title of the section, text, separated by tabs, below
/// a line of headings.
pub(crate) fn bullets(name: &str, tsv: &str) -> Result<Vec<Bullet>, Failure> {
    let mut seen = BTreeSet::new();
    let lines = tsv.lines().skip(1).filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let mut columns = line.splitn(3, '\t');
            let (Some(id), Some(_), Some(text)) = (columns.next(), columns.next(), columns.next()) else {
                return Err(Failure::new(format!("{name}: not three columns: {line}")));
            };
            if !is_id(id) || !seen.insert(id.to_owned()) {
                return Err(Failure::new(format!("{name}: '{id}' is no id, or there twice")));
            }
            Ok(Bullet { id: id.to_owned(), text: text.to_owned() })
        })
        .collect()
}

/// Whether a text has the form of an id, such as `11.3#2`.
pub(crate) fn is_id(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('#').is_some_and(|(section, number)| section.split('.').all(digits) && digits(number))
}

/// How the client differs from a bullet, by id: the rows of the table in
/// `docs/differences.md`, whose first column is the id.
pub(crate) fn differences(markdown: &str) -> Result<BTreeSet<String>, Failure> {
    let mut ids = BTreeSet::new();
    for line in markdown.lines().filter(|line| line.starts_with("| ")) {
        let mut cells = line.trim_matches('|').split(" | ").map(str::trim);
        let Some(id) = cells.next().filter(|id| is_id(id)) else { continue };
        if cells.filter(|cell| !cell.is_empty()).count() != 2 {
            return Err(Failure::new(format!("docs/differences.md: {id} does not say how and why")));
        }
        if !ids.insert(id.to_owned()) {
            return Err(Failure::new(format!("docs/differences.md: {id} is there twice")));
        }
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_section_and_a_number() {
        for id in ["1#1", "11.7.6#10"] {
            assert!(is_id(id), "{id}");
        }
        for text in ["", "1", "#1", "1#", "1.#1", "a#1", "1#1b", "id"] {
            assert!(!is_id(text), "{text}");
        }
    }

    #[test]
    fn bullets_have_three_columns_and_an_id_of_their_own() {
        let read = bullets("a.tsv", "id\tsection\tbullet\n1#1\tStart\tIt starts.\n").unwrap();
        assert_eq!(read, [Bullet { id: "1#1".into(), text: "It starts.".into() }]);
        assert!(bullets("a.tsv", "id\tsection\tbullet\n1#1\tStart\n").is_err());
        assert!(bullets("a.tsv", "id\tsection\tbullet\n1#1\tA\tB\n1#1\tA\tB\n").is_err());
    }

    #[test]
    fn a_difference_says_how_and_why() {
        let ids = differences("| id | ours | why |\n| --- | --- | --- |\n| 3#1 | so | because |\n").unwrap();
        assert_eq!(ids.into_iter().collect::<Vec<_>>(), ["3#1"]);
        assert!(differences("| 3#1 | so |  |\n").is_err());
        assert!(differences("| 3#1 | so | because |\n| 3#1 | so | because |\n").is_err());
    }
}
