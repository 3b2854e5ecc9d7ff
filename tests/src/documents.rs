//! The code in the documents, so that it compiles.

#[doc = include_str!("../../README.md")]
struct Readme;

#[doc = include_str!("../../docs/guide.md")]
struct Guide;

#[doc = include_str!("../../docs/from-python.md")]
struct FromPython;

#[doc = include_str!("../../docs/testing.md")]
struct Testing;
