use super::*;

const A: &str = "tcp://a:9007/amps/json";
const B: &str = "tcp://b:9007/amps/json";

fn millis(strategy: &mut dyn ReconnectStrategy, uri: &str) -> u128 {
    wait(strategy, &AttemptContext::new(uri, Instant::now())).as_millis()
}

fn wait(strategy: &mut dyn ReconnectStrategy, context: &AttemptContext<'_>) -> Duration {
    match strategy.next_delay(context) {
        Delay::Wait(delay) => delay,
        Delay::GiveUp { reason } => panic!("{reason}"),
    }
}

/// Covers 11.3#1, 11.3#5.
#[test]
fn waits_double_up_to_the_cap() {
    let mut strategy = ExponentialReconnect::new(1).jitter(0.0);
    let waits: Vec<_> = (0..10).map(|_| millis(&mut strategy, A)).collect();
    assert_eq!(waits, [0, 200, 400, 800, 1600, 3200, 6400, 12_800, 20_000, 20_000]);
    strategy.healthy(A);
    assert_eq!((millis(&mut strategy, A), millis(&mut strategy, A)), (0, 200));
}

/// Covers 11.3#3.
#[test]
fn each_server_has_its_own_waits() {
    let mut strategy = ExponentialReconnect::new(1).jitter(0.0);
    let waits: Vec<_> = [A, B, A, B, A].iter().map(|uri| millis(&mut strategy, uri)).collect();
    assert_eq!(waits, [0, 0, 200, 200, 400]);
}

/// Covers 11.3#2.
#[test]
fn jitter_adds_up_to_one_initial_wait_and_never_passes_the_cap() {
    let mut extras = Vec::new();
    for seed in 0..200 {
        let mut strategy = ExponentialReconnect::new(seed);
        for base in [0, 200, 400, 800, 1600, 3200, 6400, 12_800, 20_000, 20_000] {
            let wait = millis(&mut strategy, A);
            assert!((base..=base + 200).contains(&wait) && wait <= 20_000, "{wait} for {base}");
            if base == 400 {
                extras.push(wait - base);
            }
        }
    }
    assert!(extras.iter().any(|extra| *extra < 40) && extras.iter().any(|extra| *extra > 160));
    let of = |seed| {
        let mut strategy = ExponentialReconnect::new(seed);
        (0..5).map(|_| millis(&mut strategy, A)).collect::<Vec<_>>()
    };
    assert_eq!(of(7), of(7));
    assert_ne!(of(7), of(8));
}

/// Covers 11.3#7.
#[test]
fn odd_settings_do_no_harm() {
    for factor in [f64::MAX, f64::INFINITY, f64::NAN, -1.0, 0.0] {
        let mut strategy = ExponentialReconnect::new(1).factor(factor).jitter(factor);
        for _ in 0..2000 {
            assert!(millis(&mut strategy, A) <= 20_000, "{factor}");
        }
    }
    let mut strategy = ExponentialReconnect::new(1).initial(Duration::MAX).cap(Duration::MAX).jitter(0.0);
    for _ in 0..5 {
        millis(&mut strategy, A);
    }
    let mut strategy = ExponentialReconnect::new(1).initial(Duration::ZERO).cap(Duration::ZERO);
    assert_eq!((0..5).map(|_| millis(&mut strategy, A)).max(), Some(0));
}

/// Covers 11.3#4.
#[test]
fn it_gives_up_after_the_retry_time() {
    let strategies: [Box<dyn ReconnectStrategy>; 2] = [
        Box::new(ExponentialReconnect::new(1).max_retry_time(Duration::from_secs(1))),
        Box::new(FixedReconnect::new(Duration::from_millis(100), 1).max_retry_time(Duration::from_secs(1))),
    ];
    for mut strategy in strategies {
        let start = Instant::now();
        let mut ask =
            |milliseconds| strategy.next_delay(&AttemptContext::new(A, start + Duration::from_millis(milliseconds)));
        for at in [0, 5000, 5200, 5999] {
            assert!(matches!(ask(at), Delay::Wait(_)), "{at}: the first failure is at 5000");
        }
        let Delay::GiveUp { reason } = ask(6000) else { panic!("gives up") };
        assert!(reason.contains(A) && reason.contains("1.0s"), "{reason}");
        strategy.healthy(A);
        let later = AttemptContext::new(A, start + Duration::from_secs(60));
        assert!(matches!(strategy.next_delay(&later), Delay::Wait(_)));
    }
}

#[test]
fn clients_that_lost_a_server_together_do_not_return_in_step() {
    let now = Instant::now();
    let mut buckets = [0; 10];
    for seed in 0..10_000 {
        let mut strategy = ExponentialReconnect::new(seed);
        let wait = wait(&mut strategy, &AttemptContext::new(A, now).after_loss(true));
        buckets[usize::try_from(wait.as_millis() / 100).unwrap()] += 1;
    }
    for count in buckets {
        assert!((500..2500).contains(&count), "{buckets:?}");
    }
    let mut still = ExponentialReconnect::new(1).loss_window(Duration::ZERO);
    assert_eq!(wait(&mut still, &AttemptContext::new(A, now).after_loss(true)), Duration::ZERO);
}

#[test]
fn a_fixed_wait_comes_before_every_repeated_attempt() {
    let mut strategy = FixedReconnect::new(Duration::from_millis(300), 1);
    let waits: Vec<_> = [A, A, B, A, B].iter().map(|uri| millis(&mut strategy, uri)).collect();
    assert_eq!(waits, [0, 300, 0, 300, 300]);
    strategy.healthy(B);
    assert_eq!(millis(&mut strategy, A), 0);
}
