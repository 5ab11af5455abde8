//! `/simulate-load`: its query, and the work that it asks for.

use std::hint::black_box;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const BAD_DURATION: &str = "duration_ms must be a whole number from 0 to 10000";
const BAD_RATE: &str = "error_rate must be a number from 0 to 1";

/// The work that a client asks for, with what it leaves to chance drawn.
pub struct Load {
    duration_ms: u16,
    mode: Mode,
    fails: bool,
}

/// How it works: a function that takes that long, and its name.
type Mode = (fn(Duration), &'static str);
const SLEEP: Mode = (thread::sleep, "sleep");
const CPU: Mode = (burn, "cpu");

impl Load {
    /// Reads the query. Each parameter may be given once; the error names the parameter and its range.
    ///
    /// Strict, because a misspelt parameter that is ignored looks like one that does not work.
    pub fn parse(query: &str) -> Result<Load, &'static str> {
        let (mut duration_ms, mut mode, mut error_rate) = (None, None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let given_before = match (name, value) {
                ("duration_ms", _) => duration_ms.replace(within(0..=10_000, value).ok_or(BAD_DURATION)?).is_some(),
                ("error_rate", _) => error_rate.replace(within(0.0..=1.0, value).ok_or(BAD_RATE)?).is_some(),
                ("mode", "sleep") => mode.replace(SLEEP).is_some(),
                ("mode", "cpu") => mode.replace(CPU).is_some(),
                ("mode", _) => return Err("mode must be sleep or cpu"),
                _ => return Err("unknown parameter; there are duration_ms, mode and error_rate"),
            };
            if given_before {
                return Err("duration_ms, mode and error_rate may be given once each");
            }
        }
        let mut random = SmallRng::from_os_rng();
        Ok(Load {
            duration_ms: duration_ms.unwrap_or_else(|| random.random_range(50..=500)),
            mode: mode.unwrap_or(SLEEP),
            fails: random.random_bool(error_rate.unwrap_or(0.0)),
        })
    }

    /// Works as long as asked for, in this thread: the status, 200, or 500 at the rate asked for, and in JSON how long it was.
    pub fn run(self) -> (u16, String) {
        let Load { duration_ms, mode: (work, mode), fails } = self;
        work(Duration::from_millis(duration_ms.into()));
        let (status, word) =
            if fails { (500, r#""error":"simulated, as error_rate asks for""#) } else { (200, r#""status":"ok""#) };
        (status, format!(r#"{{{word},"mode":"{mode}","duration_ms":{duration_ms}}}"#))
    }
}

fn within<T: FromStr + PartialOrd>(range: RangeInclusive<T>, value: &str) -> Option<T> {
    value.parse().ok().filter(|number| range.contains(number))
}

/// Keeps one core busy for this long.
fn burn(duration: Duration) {
    let start = Instant::now();
    let mut number = 1_u64;
    while start.elapsed() < duration {
        for _ in 0..1000 {
            number = black_box(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_to_chance() {
        let drawn = |query| (0..10_000).map(move |_| Load::parse(query).unwrap());
        let errors = |query| drawn(query).filter(|load| load.fails).count();
        assert!(drawn("").all(|load| (50..=500).contains(&load.duration_ms) && !load.fails));
        assert_eq!((errors("error_rate=0"), errors("error_rate=1")), (0, 10_000));
        // 2,500 are expected, give or take 43: ten times that never happens.
        assert!((2070..2930).contains(&errors("error_rate=0.25")));
    }
}
