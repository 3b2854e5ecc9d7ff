//! `docs/reliability.md`: what the proofs have done so far. The figures are rows
//! of `docs/reliability.tsv` (layer, commit, figure, value), which the commands
//! add to; the document is written from them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use crate::binary::workspace;
use crate::failure::Failure;
use crate::mutants::Tested;

/// Where the figures are, from the directory of the workspace.
pub(crate) const FIGURES: &str = "docs/reliability.tsv";

/// What the name of a figure begins with that counts a kind of fault.
pub(crate) const FAULT: &str = "fault: ";

/// A figure whose name begins like this is a maximum; all others are sums.
const LONGEST: &str = "longest";

/// The column of all commits together.
const SUM: &str = "together";

/// The layer of the planted bugs, whose values are text.
const PLANTED: &str = "planted";
/// The same of chaos.
pub(crate) const PLANTED_CHAOS: &str = "planted, chaos";

/// The layer of changes to the code, a row a part of it.
const MUTANTS: &str = "mutants";

/// What is said of a bug that was not seen.
const NOBODY: &str = "NOBODY";

/// What the commands write stands between these.
const BEGIN: &str = "<!-- written by `cargo xtask sim --record` and its like; do not edit -->\n";
const END: &str = "<!-- end of what is written -->\n";

/// The layers in their order, with their titles and what each does.
const LAYERS: &[(&str, &str, &str)] = &[
    ("sim", "Simulation", "`cargo xtask sim --minutes M --record`: whole systems in virtual time, one from each seed."),
    ("chaos", "Chaos", "`cargo xtask chaos --record`: processes that are killed, sockets that are cut."),
    (
        "chaos store",
        "Store kills",
        "`cargo xtask chaos store --record`: publishers killed on one directory, again and again.",
    ),
    ("fuzz", "Fuzzing", "`cargo xtask fuzz --record`: inputs that nobody meant."),
];

#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    layer: String,
    commit: String,
    figure: String,
    value: String,
}

/// Adds what a run did to the figures of its layer and this commit, and writes
/// the document anew.
///
/// # Errors
/// When a file cannot be read or written, or is not what it should be.
pub(crate) fn record(file: &Path, layer: &str, figures: &[(String, u64)]) -> Result<(), Failure> {
    let (mut rows, commit) = (read(file)?, commit());
    for (figure, value) in figures {
        add(&mut rows, layer, &commit, figure, *value)?;
    }
    write(file, &rows)
}

/// Puts these figures in place of all of their layer, and writes the document
/// anew.
///
/// # Errors
/// As [`record`].
#[cfg_attr(not(planted), expect(dead_code, reason = "planted bugs are only there in a build for them"))]
pub(crate) fn replace(file: &Path, layer: &str, figures: &[(String, String)]) -> Result<(), Failure> {
    let (mut rows, commit) = (read(file)?, commit());
    rows.retain(|row| row.layer != layer);
    rows.extend(figures.iter().map(|(figure, value)| Row {
        layer: layer.to_owned(),
        commit: commit.clone(),
        figure: figure.clone(),
        value: value.clone(),
    }));
    write(file, &rows)
}

/// Puts what became of changes to a part of the code in place of what is there of
/// it, and writes the document anew.
///
/// # Errors
/// As [`record`].
pub(crate) fn record_mutants(file: &Path, area: &str, tested: &Tested) -> Result<(), Failure> {
    let (mut rows, commit) = (read(file)?, commit());
    rows.retain(|row| row.layer != MUTANTS || row.figure != area);
    let Tested { possible, tested, caught, missed, timeout, unviable } = tested;
    let value = format!("{tested} {possible} {caught} {timeout} {missed} {unviable}");
    rows.push(Row { layer: MUTANTS.to_owned(), commit, figure: area.to_owned(), value });
    write(file, &rows)
}

/// The commit that was run; with a plus if something else was.
fn commit() -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).current_dir(workspace()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let changed = git(&["status", "--porcelain", "--untracked-files=no", "--", ":!docs"]);
    let plus = if changed.is_none_or(|changed| !changed.is_empty()) { "+" } else { "" };
    git(&["rev-parse", "--short", "HEAD"]).map_or_else(|| "unknown".to_owned(), |commit| commit + plus)
}

fn read(file: &Path) -> Result<Vec<Row>, Failure> {
    let path = workspace().join(file);
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = std::fs::read_to_string(&path).map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
    let row = |(number, line): (usize, &str)| match line.split('\t').collect::<Vec<_>>()[..] {
        [layer, commit, figure, value] => {
            Ok(Row { layer: layer.into(), commit: commit.into(), figure: figure.into(), value: value.into() })
        }
        _ => {
            Err(Failure::new(format!("{}:{}: not a layer, a commit, a figure and a value", path.display(), number + 1)))
        }
    };
    text.lines().enumerate().map(row).collect()
}

fn write(file: &Path, rows: &[Row]) -> Result<(), Failure> {
    let path = workspace().join(file);
    let failed = |path: &Path, error: std::io::Error| Failure::new(format!("{}: {error}", path.display()));
    let mut text = String::new();
    for Row { layer, commit, figure, value } in rows {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "{layer}\t{commit}\t{figure}\t{value}");
    }
    std::fs::write(&path, text).map_err(|error| failed(&path, error))?;
    let document = path.with_extension("md");
    let old = std::fs::read_to_string(&document).unwrap_or_default();
    std::fs::write(&document, with(&old, &document_of(rows))).map_err(|error| failed(&document, error))
}

fn add(rows: &mut Vec<Row>, layer: &str, commit: &str, figure: &str, value: u64) -> Result<(), Failure> {
    let same = |row: &&mut Row| row.layer == layer && row.commit == commit && row.figure == figure;
    match rows.iter_mut().find(same) {
        Some(row) => row.value = joined(figure, count(row)?, value).to_string(),
        None => {
            // Behind the others of its layer.
            let at = rows.iter().rposition(|row| row.layer == layer).map_or(rows.len(), |at| at + 1);
            let (layer, commit, figure) = (layer.to_owned(), commit.to_owned(), figure.to_owned());
            rows.insert(at, Row { layer, commit, figure, value: value.to_string() });
        }
    }
    Ok(())
}

fn count(row: &Row) -> Result<u64, Failure> {
    row.value.parse().map_err(|_| Failure::new(format!("{} of {}: {} is no count", row.figure, row.layer, row.value)))
}

fn joined(figure: &str, one: u64, other: u64) -> u64 {
    if figure.starts_with(LONGEST) { one.max(other) } else { one + other }
}

fn document_of(rows: &[Row]) -> String {
    let mut text = String::new();
    for (layer, title, what) in LAYERS {
        let own: Vec<&Row> = rows.iter().filter(|row| row.layer == *layer).collect();
        if own.is_empty() {
            continue;
        }
        let (mut names, mut commits) = (Vec::<&str>::new(), Vec::<&str>::new());
        let mut all = BTreeMap::<(&str, &str), u64>::new();
        for row in &own {
            let (name, commit) = (row.figure.as_str(), row.commit.as_str());
            if !names.contains(&name) {
                names.push(name);
            }
            if !commits.contains(&commit) {
                commits.push(commit);
            }
            let value = row.value.parse().unwrap_or(0);
            for column in [SUM, commit] {
                let sum = all.entry((name, column)).or_default();
                *sum = joined(name, *sum, value);
            }
        }
        let _ = writeln!(text, "## {title}\n\n{what}\n");
        // One commit needs no sum.
        let sum = Some(SUM).filter(|_| commits.len() > 1);
        let columns: Vec<&str> = sum.into_iter().chain(commits).collect();
        let (faults, figures): (Vec<&str>, Vec<&str>) = names.into_iter().partition(|name| name.starts_with(FAULT));
        for (head, names) in
            [("at commit", figures), ("fault", faults)].into_iter().filter(|(_, names)| !names.is_empty())
        {
            let _ = writeln!(text, "| {head} | {} |", columns.join(" | "));
            let _ = writeln!(text, "| --- |{}", " ---: |".repeat(columns.len()));
            for name in names {
                let value = |column: &&str| all.get(&(name, *column)).map_or_else(String::new, |value| grouped(*value));
                let values: Vec<String> = columns.iter().map(value).collect();
                let _ = writeln!(text, "| {} | {} |", name.strip_prefix(FAULT).unwrap_or(name), values.join(" | "));
            }
            text.push('\n');
        }
    }
    text + &mutants(rows) + &planted(rows)
}

/// The table of changes to the code.
fn mutants(rows: &[Row]) -> String {
    let mut text = String::new();
    for Row { commit, figure, value, .. } in rows.iter().filter(|row| row.layer == MUTANTS) {
        let _ = writeln!(text, "| {figure} | {} | {commit} |", value.replace(' ', " | "));
    }
    if text.is_empty() {
        return text;
    }
    format!(
        "## Mutants\n\n`cargo xtask mutants --record`: the state machines, changed one place at a time; the tests of the \
         package have to notice. Of those that can be made every so manieth is tested.\n\n\
         | part | tested | of | caught | never ended | missed | did not build | commit |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |\n{text}\n"
    )
}

/// The table of planted bugs: which layer saw each, and how soon.
fn planted(rows: &[Row]) -> String {
    let layer = |layer: &str| rows.iter().filter(|row| row.layer == layer).collect::<Vec<_>>();
    let (sim, chaos) = (layer(PLANTED), layer(PLANTED_CHAOS));
    let mut names: Vec<&str> = Vec::new();
    for row in sim.iter().chain(&chaos) {
        if !names.contains(&row.figure.as_str()) {
            names.push(&row.figure);
        }
    }
    if names.is_empty() {
        return String::new();
    }
    let found = |rows: &[&Row], name: &str| rows.iter().find(|row| row.figure == name).map(|row| row.value.clone());
    let (mut caught, mut table) = (0, String::new());
    for name in &names {
        let values = [found(&sim, name), found(&chaos, name)];
        caught += usize::from(values.iter().flatten().any(|value| !value.starts_with(NOBODY)));
        let mut cells = Vec::new();
        let mut what = "";
        for value in &values {
            let mut parts = value.as_deref().unwrap_or_default().splitn(3, "; ");
            let (by, when) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            what = parts.next().unwrap_or(what);
            cells.push(format!("{by} | {}", when.split(' ').next().unwrap_or_default()));
        }
        let _ = writeln!(table, "| {name} | {what} | {} |", cells.join(" | "));
    }
    let commits: Vec<&str> = [&sim, &chaos].iter().filter_map(|rows| Some(rows.first()?.commit.as_str())).collect();
    format!(
        "## Planted bugs\n\n{caught} of {} caught, at {}. One build has all of them, one at a time is at work. \
         `cargo xtask sim --planted --record` hunts each: a rule of the simulation has to see it. \
         `cargo xtask chaos --planted --record` hunts those that processes can show in a minute or so.\n\n\
         | bug | what goes wrong | rule of the simulation | after seeds | seen by chaos | after seconds |\n\
         | --- | --- | --- | ---: | --- | ---: |\n{table}\n",
        names.len(),
        commits.join(" and "),
    )
}

/// A count with a comma between thousands.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The document with the new text in place of the old; what else it says stays.
fn with(old: &str, text: &str) -> String {
    let ours = format!("{BEGIN}\n{text}{END}");
    match old.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1))) {
        Some((before, after)) => format!("{before}{ours}{after}"),
        None => format!("{old}{ours}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_a_commit_add_up_and_the_longest_stays() {
        let mut rows = Vec::new();
        for (layer, commit, figure, value) in [
            ("sim", "a", "seeds", 10),
            ("fuzz", "a", "inputs", 7),
            ("sim", "a", "seeds", 1500),
            ("sim", "b", "seeds", 1),
            ("sim", "a", "longest wait", 4),
            ("sim", "b", "longest wait", 3),
            ("sim", "b", "fault: cut", 2),
        ] {
            add(&mut rows, layer, commit, figure, value).unwrap();
        }
        assert_eq!(rows.len(), 6, "{rows:?}");
        assert_eq!(rows[0].value, "1510");
        let text = document_of(&rows);
        for row in [
            "| at commit | together | a | b |\n| --- | ---: | ---: | ---: |\n| seeds | 1,511 | 1,510 | 1 |\n",
            "| longest wait | 4 | 4 | 3 |",
            "| fault | together | a | b |\n| --- | ---: | ---: | ---: |\n| cut | 2 |  | 2 |\n",
            "| at commit | a |\n| --- | ---: |\n| inputs | 7 |",
        ] {
            assert!(text.contains(row), "{row} in {text}");
        }
    }

    #[test]
    fn a_bug_is_caught_when_one_layer_saw_it() {
        let row = |layer: &str, figure: &str, value: &str| Row {
            layer: layer.into(),
            commit: "a".into(),
            figure: figure.into(),
            value: value.into(),
        };
        let rows = [
            row(PLANTED, "one", "no loss; 17 seeds; it loses"),
            row(PLANTED, "two", "NOBODY; 20000 seeds; it hides"),
            row(PLANTED_CHAOS, "two", "lost; 31 seconds; it hides"),
            row(PLANTED_CHAOS, "three", "NOBODY; 99 seconds; it stays"),
        ];
        let text = document_of(&rows);
        for line in [
            "2 of 3 caught, at a and a.",
            "| one | it loses | no loss | 17 |  |  |",
            "| two | it hides | NOBODY | 20000 | lost | 31 |",
            "| three | it stays |  |  | NOBODY | 99 |",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }

    #[test]
    fn changes_to_a_part_are_those_of_the_last_run() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("figures.tsv");
        let tested = Tested { possible: 90, tested: 9, caught: 5, missed: 1, timeout: 2, unviable: 1 };
        record_mutants(&file, "frame", &Tested { tested: 1, ..tested.clone() }).unwrap();
        record_mutants(&file, "header", &tested).unwrap();
        record_mutants(&file, "frame", &tested).unwrap();
        let text = std::fs::read_to_string(file.with_extension("md")).unwrap();
        for area in ["frame", "header"] {
            assert_eq!(text.matches(&format!("| {area} | 9 | 90 | 5 | 2 | 1 | 1 | ")).count(), 1, "{text}");
        }
        assert_eq!(text.matches("| frame").count(), 1, "{text}");
    }

    #[test]
    fn the_document_says_what_the_figures_say() {
        let rows = read(Path::new(FIGURES)).unwrap();
        let document = workspace().join(FIGURES).with_extension("md");
        let text = std::fs::read_to_string(document).unwrap();
        assert!(text == with(&text, &document_of(&rows)), "it should say:\n{}", document_of(&rows));
    }

    #[test]
    fn what_is_written_by_hand_stays() {
        let first = with("# Mine\n\n", "one\n") + "\n## Below\n";
        assert_eq!(with(&first, "two\n"), first.replace("one", "two"));
    }
}
