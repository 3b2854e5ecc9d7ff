//! A store of your own: a map in memory, and every change appended to a file.
//! Checked with the conformance suite, then used by a client that is cut off
//! from its server and restarted. Run it with `cargo run --example own_store`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use amps_client::kv::conformance::{self, Subject};
use amps_client::kv::{Kv, KvError, MAX_KEY, SyncLevel, Visit};
use amps_client::{Client, PublishStore};
use amps_testserver::TestServer;

/// The longest value; nothing here depends on it.
const MAX_VALUE: usize = 64 * 1024;
/// CRC-32 of what follows, length of the key, length of the value.
const HEAD: usize = 12;
/// The length that stands for a removal.
const REMOVED: u32 = u32::MAX;

/// The store. Its file holds what changed, and is written anew at every open.
struct FileKv {
    path: PathBuf,
    map: BTreeMap<Vec<u8>, Vec<u8>>,
    file: File,
    failed: Option<KvError>,
    /// Held, and locked, for as long as the store is open.
    _lock: File,
}

impl FileKv {
    fn open(path: &Path) -> Result<Self, KvError> {
        let io = |error| KvError::Io { dir: path.to_owned(), source: Arc::new(error) };
        let lock = File::options().create(true).append(true).open(path.with_extension("lock")).map_err(io)?;
        lock.try_lock().map_err(|_| KvError::Locked { dir: path.to_owned() })?;
        let bytes = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read.map_err(io)?,
        };
        let mut map = BTreeMap::new();
        let mut at = 0;
        while let Some((key, value, len)) = record(&bytes[at..]) {
            apply(&mut map, key, value);
            at += len;
        }
        // What is not whole is the torn end of a crash, unless something whole
        // stands behind it.
        if (at + 1..bytes.len()).any(|at| record(&bytes[at..]).is_some()) {
            let what = format!("the record at byte {at} is not what was written");
            return Err(KvError::Damaged { dir: path.to_owned(), what });
        }
        let file = rewrite(path, &map).map_err(io)?;
        Ok(Self { path: path.to_owned(), map, file, failed: None, _lock: lock })
    }

    fn check(&self) -> Result<(), KvError> {
        match &self.failed {
            Some(first) => Err(KvError::Failed { first: Box::new(first.clone()) }),
            None => Ok(()),
        }
    }

    /// After the first error nothing says what reached the disk.
    fn remember(&mut self, result: io::Result<()>) -> Result<(), KvError> {
        result.map_err(|error| {
            let error = KvError::Io { dir: self.path.clone(), source: Arc::new(error) };
            self.failed.insert(error).clone()
        })
    }

    fn write(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), KvError> {
        self.check()?;
        let written = self.file.write_all(&encode(key, value));
        self.remember(written)?;
        apply(&mut self.map, key, value);
        Ok(())
    }
}

impl Kv for FileKv {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.check()?;
        Ok(self.map.get(key).cloned())
    }

    fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<(), KvError> {
        if key.len() > MAX_KEY {
            return Err(KvError::KeyTooLarge { len: key.len() });
        }
        if value.len() > MAX_VALUE {
            return Err(KvError::ValueTooLarge { len: value.len(), max: MAX_VALUE });
        }
        self.write(key, Some(value))
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), KvError> {
        self.write(key, None)
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<(), KvError> {
        self.check()?;
        if from < to {
            let range = (Bound::Included(from), Bound::Excluded(to));
            let _ = self.map.range::<[u8], _>(range).try_for_each(|(key, value)| visit(key, value));
        }
        Ok(())
    }

    fn sync(&mut self, level: SyncLevel) -> Result<(), KvError> {
        self.check()?;
        match level {
            // Every write went to the operating system at once.
            SyncLevel::Process => Ok(()),
            SyncLevel::Power => {
                let synced = self.file.sync_data();
                self.remember(synced)
            }
        }
    }

    fn max_value(&self) -> usize {
        MAX_VALUE
    }
}

fn apply(map: &mut BTreeMap<Vec<u8>, Vec<u8>>, key: &[u8], value: Option<&[u8]>) {
    match value {
        Some(value) => map.insert(key.to_vec(), value.to_vec()),
        None => map.remove(key),
    };
}

/// A new file, complete and synced before it takes the place of the old.
fn rewrite(path: &Path, map: &BTreeMap<Vec<u8>, Vec<u8>>) -> io::Result<File> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    for (key, value) in map {
        file.write_all(&encode(key, Some(value)))?;
    }
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    File::open(path.parent().unwrap_or_else(|| Path::new(".")))?.sync_all()?;
    Ok(file)
}

fn encode(key: &[u8], value: Option<&[u8]>) -> Vec<u8> {
    let len = value.map_or(REMOVED, |value| value.len() as u32);
    let mut record = vec![0; 4];
    record.extend((key.len() as u32).to_be_bytes());
    record.extend(len.to_be_bytes());
    record.extend(key);
    record.extend(value.unwrap_or_default());
    let crc = crc32fast::hash(&record[4..]);
    record[..4].copy_from_slice(&crc.to_be_bytes());
    record
}

/// Key, value or removal, and length of a record.
type Record<'a> = (&'a [u8], Option<&'a [u8]>, usize);

/// The record at the front. `None` unless it is whole and what was written.
fn record(bytes: &[u8]) -> Option<Record<'_>> {
    let number = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let (crc, key, value) = (number(0)?, number(4)? as usize, number(8)?);
    let len = HEAD + key + if value == REMOVED { 0 } else { value as usize };
    let record = bytes.get(..len)?;
    let (key, rest) = record[HEAD..].split_at_checked(key)?;
    (crc32fast::hash(&record[4..]) == crc).then_some((key, (value != REMOVED).then_some(rest), len))
}

/// How the conformance suite gets stores, and crashes them.
struct Files {
    dir: tempfile::TempDir,
    count: usize,
}

impl Files {
    fn path(&mut self) -> PathBuf {
        self.dir.path().join(format!("store{}", self.count))
    }
}

impl Subject for Files {
    fn create(&mut self) -> Box<dyn Kv> {
        self.count += 1;
        Box::new(FileKv::open(&self.path()).expect("a new store"))
    }

    fn crash(&mut self, kv: Box<dyn Kv>, _: SyncLevel) -> Box<dyn Kv> {
        // What the file holds while the store is open is what a kill leaves.
        let old = self.path();
        self.count += 1;
        fs::copy(old, self.path()).expect("a copy");
        drop(kv);
        Box::new(FileKv::open(&self.path()).expect("the store after a crash"))
    }

    fn open_again(&mut self, _: &dyn Kv) -> Option<Result<Box<dyn Kv>, KvError>> {
        Some(FileKv::open(&self.path()).map(|kv| Box::new(kv) as Box<dyn Kv>))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let report = conformance::check(&mut Files { dir: tempfile::tempdir()?, count: 0 });
    print!("{report}");

    let dir = tempfile::tempdir()?;
    let open =
        || FileKv::open(&dir.path().join("publish")).map(|kv| PublishStore::custom("publish file", Box::new(kv)));
    // Nobody listens there.
    let client = Client::builder("own-store").server("tcp://127.0.0.1:1/amps/json").publish_store(open()?).start()?;
    for number in 0..100 {
        client.publish("numbers", number.to_string()).await?;
    }
    println!("{} wait for a server", client.close(Duration::from_secs(2)).await.unacknowledged);

    let server = TestServer::builder().start().await?;
    let client = Client::builder("own-store").server(server.uri()).publish_store(open()?).connect().await?;
    client.flush().await?;
    client.close(Duration::from_secs(2)).await;
    let arrived = server.log().into_iter().map(|message| String::from_utf8_lossy(&message.body).into_owned());
    assert!(arrived.eq((0..100).map(|number| number.to_string())));
    println!("100 arrived from the next client on the store");
    Ok(())
}

#[test]
fn it_keeps_the_contract() {
    conformance::check(&mut Files { dir: tempfile::tempdir().unwrap(), count: 0 });
}
