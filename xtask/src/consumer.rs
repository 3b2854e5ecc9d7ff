//! One consumer of what is published: a view of the newest records, or a worker
//! on a queue. Each process writes a ledger, which is read as it grows.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use rustix::process::Signal;
use serde::Deserialize;
use serde_json::Value;

use crate::Failure;
use crate::input::{self, Input, KEYS, Line};
use crate::output::shorten;
use crate::process::Process;
use crate::setup::Setup;
use crate::state;
use crate::tail::Tail;
use crate::verdict::{Kind, Seen, Violation};

/// The queue, and the topic it is made of.
pub(crate) const QUEUE: &str = "work";
pub(crate) const QUEUED: &str = "orders";

/// What a consumer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    /// Keeps all records, or those that are warm.
    View { warm: bool },
    /// Works on the queue.
    Work,
}

/// One consumer and the process it has now, if any.
#[derive(Debug)]
pub(crate) struct Consumer {
    name: String,
    task: Task,
    /// Its number among all clients.
    client: usize,
    lives: usize,
    process: Option<Process>,
    ledger: Tail,
    view: View,
    work: Work,
    /// What was wrong on the way.
    broken: Vec<Violation>,
}

/// What a view has.
#[derive(Debug, Default)]
struct View {
    /// The records by the server's key.
    records: HashMap<String, Value>,
    /// The newest line seen of each since the last snapshot began.
    newest: HashMap<String, Line>,
    updates: usize,
}

/// What a worker did.
#[derive(Debug, Default)]
struct Work {
    given: usize,
    done: HashSet<Line>,
}

/// An entry of a view's ledger.
#[derive(Debug, Deserialize)]
struct Entry {
    #[serde(default)]
    snapshot: bool,
    #[serde(default)]
    key: String,
    record: Option<Value>,
}

impl Consumer {
    /// `index` tells it from others with the same kind of task.
    pub(crate) fn new(task: Task, index: usize, client: usize) -> Self {
        let kind = if task == Task::Work { "worker" } else { "view" };
        Self {
            name: format!("{kind}-{}", index + 1),
            task,
            client,
            lives: 0,
            process: None,
            ledger: Tail::new(PathBuf::new()),
            view: View::default(),
            work: Work::default(),
            broken: Vec::new(),
        }
    }

    /// The client name.
    pub(crate) fn name(&self) -> String {
        self.name.clone()
    }

    /// Starts it, if it is dead. A view begins with a snapshot.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub(crate) fn start(&mut self, setup: &Setup) -> Result<(), Failure> {
        if self.process.is_some() {
            return Ok(());
        }
        self.lives += 1;
        let ledger = setup.path(format!("{}.{}.ledger", self.name, self.lives));
        let (part, topic) = if self.task == Task::Work { ("worker", QUEUE) } else { ("view", setup.topic) };
        let (uris, written) = (setup.uris(self.client), ledger.to_string_lossy());
        let mut arguments = vec![part, "--name", &self.name, "--server", &uris, "--topic", topic, "--ledger", &written];
        if self.task == (Task::View { warm: true }) {
            arguments.extend(["--filter", "/warm = 1"]);
        }
        let mut command = state::command(&arguments)?;
        setup.plant(&mut command);
        self.process = Some(state::start_as(command, &format!("{}.{}", self.name, self.lives), &setup.dir)?);
        self.ledger = Tail::new(ledger);
        self.view = View { updates: self.view.updates, ..View::default() };
        Ok(())
    }

    /// Takes in what it wrote by now.
    ///
    /// # Errors
    /// When it ended by itself, and is dead now, or wrote something that cannot be read.
    pub(crate) fn poll(&mut self, input: &Input) -> Result<(), Failure> {
        if let Some(process) = &mut self.process
            && let Some(status) = process.ended()?
        {
            let failure = process.unexpected(status);
            self.process = None;
            self.take_in(input)?;
            return Err(failure);
        }
        self.take_in(input)
    }

    /// `kill -9`. Says whether there was a process to kill.
    ///
    /// # Errors
    /// When what it wrote cannot be read.
    pub(crate) fn kill(&mut self, input: &Input) -> Result<bool, Failure> {
        let Some(process) = self.process.take() else { return Ok(false) };
        process.kill();
        self.take_in(input)?;
        Ok(true)
    }

    /// Stops the process in its tracks, or lets it go on.
    pub(crate) fn pause(&self, pause: bool) {
        if let Some(process) = &self.process {
            process.signal(if pause { Signal::STOP } else { Signal::CONT });
        }
    }

    /// Updates a view has seen.
    pub(crate) fn updates(&self) -> usize {
        self.view.updates
    }

    /// Messages a worker was given, those that came again too.
    pub(crate) fn given(&self) -> usize {
        self.work.given
    }

    /// What a worker has done to its end.
    pub(crate) fn done(&self) -> &HashSet<Line> {
        &self.work.done
    }

    /// What was wrong on the way.
    pub(crate) fn broken(&self) -> &[Violation] {
        &self.broken
    }

    /// How a view differs from what it should be in the end, when the first
    /// `required` lines of each publisher are published.
    pub(crate) fn differs(&self, input: &Input, required: &[usize]) -> Vec<Violation> {
        let Task::View { warm } = self.task else { return Vec::new() };
        let mut missing: HashSet<Line> = newest(required, warm).collect();
        let mut wrong = Vec::new();
        for record in self.view.records.values() {
            match line_of(record, input) {
                Ok(line) if missing.remove(&line) => {}
                Ok(line) => wrong.push(self.violation(Kind::Duplicated, Seen::Line(line), "still in the view")),
                Err(body) => wrong.push(self.violation(Kind::Duplicated, body, "nobody published this record")),
            }
        }
        wrong.extend(missing.iter().map(|line| self.violation(Kind::Lost, Seen::Line(*line), "not in the view")));
        wrong
    }

    fn violation(&self, kind: Kind, what: Seen, why: &'static str) -> Violation {
        Violation { kind, place: self.name.clone(), what, why, at_ms: None }
    }

    fn take_in(&mut self, input: &Input) -> Result<(), Failure> {
        let (mut ledger, mut broken) = (std::mem::replace(&mut self.ledger, Tail::new(PathBuf::new())), Vec::new());
        let read = ledger.poll(|line| match self.task {
            Task::Work => self.work.take(line, input).map(|wrong| broken.extend(wrong)),
            Task::View { .. } => self.view.take(line, input).map(|wrong| broken.extend(wrong)),
        });
        self.ledger = ledger;
        for (kind, what, why) in broken {
            self.broken.push(self.violation(kind, what, why));
        }
        read
    }
}

/// What is wrong with an entry.
type Wrong = Option<(Kind, Seen, &'static str)>;

impl View {
    /// An entry. Within one snapshot and what follows it no record goes back.
    fn take(&mut self, line: &[u8], input: &Input) -> Result<Wrong, String> {
        let entry: Entry = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        if entry.snapshot {
            self.records.clear();
            self.newest.clear();
            return Ok(None);
        }
        self.updates += 1;
        let Some(record) = entry.record else {
            self.records.remove(&entry.key);
            return Ok(None);
        };
        let wrong = match line_of(&record, input) {
            Err(body) => Some((Kind::Duplicated, body, "nobody published this record")),
            Ok(line) => match self.newest.insert(entry.key.clone(), line) {
                Some(before) if before.publisher != line.publisher || before.number >= line.number => {
                    Some((Kind::OutOfOrder, Seen::Line(line), "the view went back to it"))
                }
                _ => None,
            },
        };
        self.records.insert(entry.key, record);
        Ok(wrong)
    }
}

impl Work {
    fn take(&mut self, line: &[u8], input: &Input) -> Result<Wrong, String> {
        let text = String::from_utf8_lossy(line);
        let Some((what, body)) = text.trim_end_matches('\n').split_once(' ') else {
            return Err(format!("{text:?} is no entry of a ledger"));
        };
        let found = input.find(body.as_bytes());
        match (what, found) {
            ("got", None) => {
                return Ok(Some((Kind::Duplicated, Seen::Unknown(shorten(body)), "nobody published this")));
            }
            ("got", Some(_)) => self.given += 1,
            ("done", Some(line)) => _ = self.done.insert(line),
            _ => {}
        }
        Ok(None)
    }
}

/// The line a record came from, which it equals.
fn line_of(record: &Value, input: &Input) -> Result<Line, Seen> {
    let number = |name: &str| record[name].as_u64().and_then(|number| usize::try_from(number).ok());
    let line = number("publisher").zip(number("line")).map(|(publisher, number)| Line { publisher, number });
    let is = |line: &Line| {
        let body =
            (line.publisher < input.publishers()).then(|| input.lines(line.publisher).get(line.number)).flatten();
        body.is_some_and(|body| serde_json::from_str::<Value>(body).is_ok_and(|published| published == *record))
    };
    line.filter(is).ok_or_else(|| Seen::Unknown(shorten(&record.to_string())))
}

/// The newest lines of every record, when so many of each publisher are
/// published.
fn newest(required: &[usize], warm: bool) -> impl Iterator<Item = Line> {
    let lines = |(publisher, &count): (usize, &usize)| {
        (count.saturating_sub(KEYS)..count).map(move |number| Line { publisher, number })
    };
    required.iter().enumerate().flat_map(lines).filter(move |line| !warm || input::is_warm(line.number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input() -> Input {
        Input::generate(&[100, 100]).unwrap()
    }

    fn view(warm: bool) -> Consumer {
        Consumer::new(Task::View { warm }, 0, 0)
    }

    /// A view with these lines in its ledger, and what was wrong with them.
    fn fed(view: &mut Consumer, lines: &[&str]) -> Vec<Kind> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for line in lines {
            std::io::Write::write_all(&mut file, format!("{line}\n").as_bytes()).unwrap();
        }
        view.ledger = Tail::new(file.path().to_owned());
        view.take_in(&input()).unwrap();
        view.broken.iter().map(|violation| violation.kind).collect()
    }

    fn entry(publisher: usize, number: usize) -> String {
        let input = input();
        let record = &input.lines(publisher)[number];
        format!(r#"{{"key":"{publisher}/{}","record":{record}}}"#, number % KEYS)
    }

    #[test]
    fn a_view_is_right_when_it_has_the_newest_of_each_record_and_nothing_else() {
        let mut all = view(false);
        let lines: Vec<String> = (0..45).map(|number| entry(0, number)).chain((0..5).map(|n| entry(1, n))).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        assert_eq!(fed(&mut all, &lines), []);
        assert_eq!(all.differs(&input(), &[45, 5]), []);
        assert_eq!(all.updates(), 50);
        let kinds: Vec<Kind> = all.differs(&input(), &[46, 5]).iter().map(|wrong| wrong.kind).collect();
        assert_eq!(kinds, [Kind::Duplicated, Kind::Lost], "the old state and no new one");
    }

    #[test]
    fn what_left_a_filtered_view_is_gone_from_it() {
        let mut warm = view(true);
        let (first, gone) = (entry(0, 0), r#"{"key":"0/0","record":null}"#);
        assert_eq!(fed(&mut warm, &[&first]), []);
        assert_eq!(warm.differs(&input(), &[21, 0]).len(), 20, "the one that is cold by now, and 19 that lack");
        assert_eq!(fed(&mut warm, &[gone]), []);
        assert_eq!(warm.differs(&input(), &[21, 0]).len(), 19);
    }

    #[test]
    fn a_record_that_goes_back_is_seen_unless_a_snapshot_is_between() {
        let (old, new, snapshot) = (entry(0, 0), entry(0, KEYS), r#"{"snapshot":true}"#);
        assert_eq!(fed(&mut view(false), &[&new, &old]), [Kind::OutOfOrder]);
        assert_eq!(fed(&mut view(false), &[&new, &new]), [Kind::OutOfOrder]);
        assert_eq!(fed(&mut view(false), &[&new, snapshot, &old, &new]), []);
        let made_up = r#"{"key":"x","record":{"publisher":0,"line":3,"warm":7}}"#;
        assert_eq!(fed(&mut view(false), &[made_up]), [Kind::Duplicated]);
    }

    #[test]
    fn an_order_is_done_when_its_worker_says_so() {
        let (input, mut work) = (input(), Work::default());
        let body = &input.lines(1)[7];
        for what in ["got", "got", "done", "acked"] {
            assert_eq!(work.take(format!("{what} {body}\n").as_bytes(), &input), Ok(None));
        }
        assert_eq!((work.given, work.done.len()), (2, 1));
        assert!(matches!(work.take(b"got nothing\n", &input), Ok(Some((Kind::Duplicated, ..)))));
        assert!(work.take(b"got\n", &input).is_err());
    }
}
