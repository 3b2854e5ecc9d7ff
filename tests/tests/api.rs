//! What every public type promises by being what it is (Rust API Guidelines): it goes
//! to other threads, shows itself, and is an error where it says so.

use std::error::Error;
use std::fmt::{Debug, Display};
use std::hash::Hash;

use amps_client::authenticator::{Challenge, Credentials, LogonRequest};
use amps_client::codec::{CodecError, Json};
use amps_client::kv::{KvError, MemoryKv};
use amps_client::reconnect::{ExponentialReconnect, FixedReconnect};
use amps_client::server_chooser::{ListChooser, PrimaryChooser, Server, WeightedChooser};
use amps_client::tls::{Tls, TlsError};
use amps_client::*;
use amps_testserver::{FilterError, TestServer, TestServerBuilder};

/// Held by one task after the other.
fn moves<T: Send + Debug + 'static>() {}

/// Held by several at a time.
fn is_shared<T: Send + Sync + Debug + 'static>() {}

/// A value like any other.
fn is_a_value<T: Send + Sync + Debug + Clone + PartialEq + 'static>() {}

fn is_an_error<T: Error + Send + Sync + 'static>() {}

fn is_shown<T: Display>() {}

fn is_a_key<T: Eq + Hash + Copy>() {}

#[test]
fn what_an_application_holds_may_go_to_other_threads_and_shows_itself() {
    moves::<ClientBuilder>();
    moves::<(PublishStore, BookmarkStore, CustomStore)>();
    moves::<(ListChooser, PrimaryChooser, WeightedChooser)>();
    moves::<(FixedReconnect, ExponentialReconnect)>();
    moves::<MemoryKv>();
    is_shared::<Client>();
    is_shared::<(Subscription, SubscriptionHandle, SubscriptionEvent)>();
    is_shared::<(Receipt, Executed, Message, MessageGuard<'static>)>();
    is_shared::<(Events, Event, Strays, Stray, StateWatch, StateChange)>();
    is_shared::<(TypedClient, TypedSubscription<u32>, TypedEvent<u32>, TypedMessage<u32>)>();
    is_shared::<(SowView<String, u32>, ViewChanges<String, u32>, ViewEvent<String, u32>)>();
    is_shared::<(DeltaRecords, SocketConnector, Tap, LastHeaders, Tls)>();
    is_shared::<(Server, Credentials, Challenge, LogonRequest)>();
    is_shared::<TestServer>();
    moves::<TestServerBuilder>();
}

#[test]
fn values_are_cloned_and_compared() {
    is_a_value::<(Uri, Options, Version, Reason, Status)>();
    is_a_value::<(Bookmark, BookmarkList, BookmarkRange, StartAt)>();
    is_a_value::<(Command, CommandKind, CommandOptions, AckType, AckTypes, Rate, Conflation)>();
    is_a_value::<(ConfigWarning, ConnectionState, Closed, Processed, Deleted, QueueStats, SeenHeader)>();
    is_a_value::<Json>();
    is_a_key::<(MessageKind, CommandKind, ConnectionState, ErrorKind, Field, Direction, Compression)>();
}

#[test]
fn errors_are_errors_and_go_with_the_question_mark() {
    is_an_error::<amps_client::Error>();
    is_an_error::<OpenError>();
    is_an_error::<ConnectError>();
    is_an_error::<PublishError>();
    is_an_error::<CommandError>();
    is_an_error::<MoveError>();
    is_an_error::<Cause>();
    is_an_error::<LogonRefused>();
    is_an_error::<StoreError>();
    is_an_error::<BookmarkStoreError>();
    is_an_error::<KvError>();
    is_an_error::<UriError>();
    is_an_error::<BookmarkError>();
    is_an_error::<MessageError>();
    is_an_error::<FrameError>();
    is_an_error::<InvalidCommand>();
    is_an_error::<StageTimeout>();
    is_an_error::<HeaderError>();
    is_an_error::<VersionError>();
    is_an_error::<TlsError>();
    is_an_error::<CodecError>();
    is_an_error::<DeltaError>();
    is_an_error::<UserError>();
    is_an_error::<Panicked>();
    is_an_error::<FilterError>();
    is_shown::<ConfigWarning>();
    is_shown::<Uri>();

    fn all(uri: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
        let uri: Uri = uri.parse()?;
        let version: Version = "5.3.5".parse()?;
        assert_eq!((uri.message_type(), version.to_string().as_str()), (Some("json"), "5.3.5.0"));
        Ok(())
    }
    all("tcp://localhost:9007/amps/json").unwrap();
    assert!(all("ftp://localhost").is_err());
}

#[test]
fn words_of_the_protocol_are_shown_as_they_are_on_the_wire() {
    assert_eq!(
        format!("{}|{:>10}|{}", AckType::Stats, Status::Retry, CommandKind::SowDelete),
        "stats|     retry|sow_delete"
    );
    assert_eq!(Reason::BadFilter.to_string(), "bad filter");
}

/// No call holds something over its waits that ties it to a thread.
#[test]
fn every_call_may_be_waited_for_in_a_task_of_its_own() {
    fn goes(_: impl Send) {}
    fn calls(client: &'static Client, stream: &'static mut Subscription) {
        goes(client.connected());
        goes(client.publish("t", "x"));
        goes(client.delta_publish("t", "x"));
        goes(client.write(Publish::new("t", "x")));
        goes(client.sow_delete_counted(SowDelete::by_filter("t", "1=1")));
        goes(client.enqueue_wait("t", "x"));
        goes(client.flush());
        goes(client.subscribe("t"));
        goes(client.sow(String::from("t")));
        goes(client.count("t"));
        goes(client.execute(Command::new(CommandKind::Flush)));
        goes(client.move_to(Server::new("tcp://h:1/amps/json".parse().unwrap())));
        goes(client.close(std::time::Duration::ZERO));
        goes(stream.next_message());
    }
    let _ = calls;
}
