use super::*;
use crate::input::Line;
use crate::report::Problem;
use crate::story::Sample;

fn story() -> Story {
    let mut story = Story::new();
    story.begin("server A".to_owned(), "killed".to_owned());
    story.end("server A", None);
    story.mark("network of <b>".to_owned(), "reset".to_owned());
    for second in 0..3 {
        let count = second as usize * 10;
        let at = Duration::from_secs(second);
        story.sample(Sample { at, published: vec![count], delivered: vec![count], unacknowledged: 0 });
    }
    story
}

fn page(verdict: &Verdict, problems: &[Problem]) -> String {
    let facts = Facts {
        subscribers: vec!["reader".to_owned()],
        problems: problems.to_vec(),
        seed: 7,
        kills: 1,
        ..Facts::default()
    };
    let recoveries = [Recovery { at_ms: 5, lasted_ms: 1_250 }];
    Shown { name: "chaos", verdict, facts: &facts, story: &story(), recoveries: &recoveries }.render().unwrap()
}

#[test]
fn a_good_run_says_so_first_and_needs_nothing_from_elsewhere() {
    let verdict = Verdict { published: 1_234_567, ..Verdict::default() };
    let page = page(&verdict, &[]);
    assert!(page.contains("<h1>Every promise was kept</h1>"));
    assert!(page.contains("1\u{2009}234\u{2009}567"));
    assert!(!page.contains("What went wrong"));
    // The one address is the name of a format.
    let addresses = page.matches("http").count() - page.matches("http://www.w3.org/2000/svg").count();
    assert_eq!(addresses, 0);
    assert_eq!(page.matches("<svg").count(), 10, "each chart in two sizes");
    assert!(!page.contains("<b>"), "names are escaped");
}

#[test]
fn a_broken_run_says_what_and_when() {
    let what = Seen::Line(Line { publisher: 0, number: 12 });
    let violation = Violation { kind: Kind::Lost, place: "server A".into(), what, why: "not there", at_ms: None };
    let verdict = Verdict { violations: vec![violation; SHOWN + 2], ..Verdict::default() };
    let page = page(&verdict, &[Problem { at: Duration::from_millis(500), what: "publisher-1 & co".to_owned() }]);
    assert!(page.contains("<h1>A promise was broken</h1>"));
    assert!(page.contains("<b>2.0 s</b> lost: server A: line 13 of publisher 1: not there"), "{page}");
    assert!(page.contains("... and 3 more"), "of twelve and a problem");
    assert!(page.contains("<p>Failed at 0.5 s."), "what came first is in the head");
    assert_eq!(page.matches("\nfailed\n").count(), 2, "a mark in each size");
    assert!(page.contains("publisher-1 &amp; co"));
    assert!(page.contains("<dd>never</dd>"));
    assert!(page.contains("<div class=\"bad\"><dt>lost</dt>"));
}
