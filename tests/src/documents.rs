//! The code in the documents, so that it compiles.

macro_rules! documents {
    ($($name:ident: $path:literal,)*) => {
        $(
            #[doc = include_str!(concat!("../../", $path))]
            struct $name;
        )*
    };
}

documents! {
    Readme: "README.md",
    FromPython: "docs/from-python.md",
    Testing: "docs/testing.md",
    AdvancedTopics: "docs/guide/advanced-topics.md",
    Commands: "docs/guide/commands.md",
    Connecting: "docs/guide/connecting.md",
    Deltas: "docs/guide/deltas.md",
    ErrorHandling: "docs/guide/error-handling.md",
    ExactlyOnce: "docs/guide/exactly-once.md",
    FailoverTests: "docs/guide/failover-tests.md",
    FirstProgram: "docs/guide/first-program.md",
    HighAvailability: "docs/guide/high-availability.md",
    LiveViews: "docs/guide/live-views.md",
    Messages: "docs/guide/messages.md",
    Observing: "docs/guide/observing.md",
    Performance: "docs/guide/performance.md",
    Queues: "docs/guide/queues.md",
    Security: "docs/guide/security.md",
    StateOfTheWorld: "docs/guide/state-of-the-world.md",
    Subscriptions: "docs/guide/subscriptions.md",
    UtilityClasses: "docs/guide/utility-classes.md",
    Values: "docs/guide/values.md",
    WithoutARuntime: "docs/guide/without-a-runtime.md",
}
