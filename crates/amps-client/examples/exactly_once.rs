//! Exactly-once processing: the effects of messages and the point where a new
//! process resumes, in one transaction of a SQLite database. Workers die before
//! and behind their commits, a server dies too, and every payment is booked once.
//!
//! Run it with `cargo run --example exactly_once`. It builds SQLite, which takes a
//! C compiler and half a minute.

use std::error::Error;
use std::path::Path;

use amps_client::blocking::Client;
use amps_client::{Message, PublishStore, ResumePoint, StartAt, Subscribe, SubscriptionEvent};
use amps_testserver::{Link, TestServer};
use rusqlite::{Connection, OptionalExtension, Transaction};

const PAYMENTS: i64 = 300;

/// Where a worker dies: in the second batch it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dies {
    BeforeCommit,
    BehindCommit,
    Not,
}

fn open(database: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(database)?;
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS balances (account TEXT PRIMARY KEY, amount INTEGER NOT NULL);
         CREATE TABLE IF NOT EXISTS resume (id TEXT PRIMARY KEY, point TEXT NOT NULL);",
    )?;
    Ok(connection)
}

fn resume_point(connection: &Connection) -> rusqlite::Result<Option<String>> {
    connection.query_row("SELECT point FROM resume WHERE id = 'payments'", [], |row| row.get(0)).optional()
}

/// Not to be done twice.
fn book(transaction: &Transaction<'_>, payment: &Message) -> Result<(), Box<dyn Error>> {
    let payment = std::str::from_utf8(payment.data())?;
    let (account, amount) = payment.split_once(' ').ok_or("not an account and an amount")?;
    transaction.execute(
        "INSERT INTO balances VALUES (?1, ?2) ON CONFLICT (account) DO UPDATE SET amount = amount + ?2",
        (account, amount.parse::<i64>()?),
    )?;
    Ok(())
}

/// Refuses when somebody else has gone on meanwhile: a worker that was thought dead
/// and is not.
fn set_resume_point(transaction: &Transaction<'_>, before: &str, now: &str) -> Result<(), Box<dyn Error>> {
    let changed = match before.is_empty() {
        true => transaction.execute("INSERT OR IGNORE INTO resume VALUES ('payments', ?1)", [now])?,
        false => {
            transaction.execute("UPDATE resume SET point = ?2 WHERE id = 'payments' AND point = ?1", [before, now])?
        }
    };
    if changed == 1 { Ok(()) } else { Err("another worker goes on from here".into()) }
}

/// The life of a worker: until everything is booked, or it dies. Answers how much
/// it has booked.
fn work(database: &Path, servers: &[String], dies: Dies) -> Result<i64, Box<dyn Error>> {
    let mut connection = open(database)?;
    let mut stored = resume_point(&connection)?.unwrap_or_default();
    let point: ResumePoint = stored.parse()?;
    let client = Client::connect(Client::builder("booking").servers(servers).publish_store(PublishStore::None))?;
    let payments = Subscribe::to("payments").bookmark(StartAt::Epoch).resume(point);
    let mut payments = client.subscribe(payments)?.exactly_once()?;
    let mut booked = 0;
    for batch_number in 0.. {
        let Some(batch) = payments.next_batch(20)? else { break };
        if batch.events().iter().any(|event| matches!(event, SubscriptionEvent::Gap { .. })) {
            return Err("the server knows nothing of what is booked: payments may be missing".into());
        }
        let transaction = connection.transaction()?;
        for payment in batch.messages() {
            book(&transaction, payment)?;
        }
        let next = batch.resume_point().to_string();
        set_resume_point(&transaction, &stored, &next)?;
        if (batch_number, dies) == (1, Dies::BeforeCommit) {
            // All that it did is rolled back, the point with the payments.
            return Ok(booked);
        }
        transaction.commit()?;
        booked += batch.messages().len() as i64;
        if (batch_number, dies) == (1, Dies::BehindCommit) {
            // Nobody told the client that these are done with; the point did.
            return Ok(booked);
        }
        batch.done();
        stored = next;
        let total: i64 = connection.query_row("SELECT SUM(amount) FROM balances", [], |row| row.get(0))?;
        if total == (1..=PAYMENTS).sum::<i64>() {
            break;
        }
    }
    Ok(booked)
}

fn story() -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let stand_in = runtime.block_on(TestServer::builder().name("stand-in").start())?;
    let primary = TestServer::builder().name("primary").peer(stand_in.uri(), Link::Sync);
    let primary = runtime.block_on(primary.start())?;
    let servers = [primary.uri(), stand_in.uri()];
    let dir = tempfile::tempdir()?;
    let database = dir.path().join("books.sqlite");

    let cashier = Client::connect(Client::builder("cashier").servers(&servers))?;
    let pay = |from: i64, to: i64| -> Result<(), Box<dyn Error>> {
        for amount in from..=to {
            cashier.publish("payments", format!("{} {amount}", ["alice", "bob", "carol"][amount as usize % 3]))?;
        }
        Ok(cashier.flush()?)
    };
    pay(1, PAYMENTS / 2)?;
    let mut booked = 0;
    for dies in [Dies::BeforeCommit, Dies::BehindCommit, Dies::BeforeCommit] {
        booked += work(&database, &servers, dies)?;
        println!("a worker died {dies:?}: {booked} payments booked");
    }
    // The server dies, too; the rest is paid meanwhile.
    runtime.block_on(primary.stop());
    pay(PAYMENTS / 2 + 1, PAYMENTS)?;
    booked += work(&database, &servers, Dies::BehindCommit)?;
    booked += work(&database, &servers, Dies::Not)?;
    assert_eq!(booked, PAYMENTS);

    let connection = open(&database)?;
    let mut select = connection.prepare("SELECT account, amount FROM balances ORDER BY account")?;
    let balances = select.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?;
    let balances: Vec<_> = balances.collect::<Result<_, _>>()?;
    let expected = |rest: i64| (1..=PAYMENTS).filter(|amount| amount % 3 == rest).sum::<i64>();
    println!("{balances:?}");
    assert_eq!(balances, [("alice", 0), ("bob", 1), ("carol", 2)].map(|(who, rest)| (who.to_owned(), expected(rest))));
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    story()
}

#[test]
fn the_story_is_true() {
    story().unwrap();
}
