//! `/simulate-load`: its query, and the work that it asks for.

use std::hint::black_box;
use std::ops::RangeInclusive;
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::Rng;

use crate::answer::Answer;

/// What `duration_ms` may be: ten seconds hold a thread of the pool long enough for any demonstration.
const DURATION_MS: RangeInclusive<u16> = 0..=10_000;
/// From where the duration is drawn when the client names none.
const DEFAULT_DURATION_MS: RangeInclusive<u16> = 50..=500;
/// How often it asks whether the client still waits.
const LOOK: Duration = Duration::from_millis(50);
/// What `error_rate` may be: it is a probability.
const ERROR_RATE: RangeInclusive<f64> = 0.0..=1.0;

/// The work that a client asks for, with what it leaves to chance drawn.
#[derive(Debug, PartialEq)]
pub struct Load {
    duration_ms: u16,
    mode: Mode,
    fails: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Sleep,
    Cpu,
}

impl Load {
    /// Reads the query. Each parameter may be given once; the error is a 400 that names the parameter and its range.
    ///
    /// Strict, because a misspelt parameter that is ignored looks like one that does not work.
    pub fn parse(query: &str, random: &mut SmallRng) -> Result<Load, Answer> {
        let (mut duration_ms, mut mode, mut error_rate) = (None, None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let given_before = match name {
                "duration_ms" => duration_ms.replace(parse_duration(value)?).is_some(),
                "mode" => mode.replace(parse_mode(value)?).is_some(),
                "error_rate" => error_rate.replace(parse_error_rate(value)?).is_some(),
                _ => return Err(refuse("unknown parameter; there are duration_ms, mode and error_rate")),
            };
            if given_before {
                return Err(refuse("duration_ms, mode and error_rate may be given once each"));
            }
        }
        Ok(Load {
            duration_ms: duration_ms.unwrap_or_else(|| random.random_range(DEFAULT_DURATION_MS)),
            mode: mode.unwrap_or(Mode::Sleep),
            fails: random.random_bool(error_rate.unwrap_or(0.0)),
        })
    }

    /// Works as long as asked for, in this thread, or while it `is_wanted`, and says how long that was to be: 200, or 500 at
    /// the rate asked for.
    pub fn perform(&self, is_wanted: impl Fn() -> bool) -> Answer {
        let (work, mode): (fn(Duration), _) = match self.mode {
            Mode::Sleep => (thread::sleep, "sleep"),
            Mode::Cpu => (burn, "cpu"),
        };
        let (start, duration_ms) = (Instant::now(), self.duration_ms);
        let left = || Duration::from_millis(duration_ms.into()).saturating_sub(start.elapsed());
        while !left().is_zero() && is_wanted() {
            work(left().min(LOOK));
        }
        let (status, word) = if self.fails {
            (500, r#""error":"simulated, as error_rate asks for""#)
        } else {
            (200, r#""status":"ok""#)
        };
        Answer::json(status, format!(r#"{{{word},"mode":"{mode}","duration_ms":{duration_ms}}}"#))
    }
}

fn parse_duration(value: &str) -> Result<u16, Answer> {
    let parsed = value.parse().ok().filter(|ms| DURATION_MS.contains(ms));
    parsed.ok_or_else(|| refuse("duration_ms must be a whole number from 0 to 10000"))
}

fn parse_mode(value: &str) -> Result<Mode, Answer> {
    match value {
        "sleep" => Ok(Mode::Sleep),
        "cpu" => Ok(Mode::Cpu),
        _ => Err(refuse("mode must be sleep or cpu")),
    }
}

fn parse_error_rate(value: &str) -> Result<f64, Answer> {
    let parsed = value.parse().ok().filter(|rate| ERROR_RATE.contains(rate));
    parsed.ok_or_else(|| refuse("error_rate must be a number from 0 to 1"))
}

fn refuse(reason: &str) -> Answer {
    Answer::json(400, format!(r#"{{"error":"{reason}"}}"#))
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
    use rand::SeedableRng;

    use super::*;

    fn parsed(query: &str, random: &mut SmallRng) -> Load {
        Load::parse(query, random).unwrap()
    }

    #[test]
    fn a_query_may_name_all_some_or_nothing() {
        let mut random = SmallRng::seed_from_u64(1);
        let load = |duration_ms, mode, fails| Load { duration_ms, mode, fails };
        assert_eq!(parsed("error_rate=1&mode=cpu&duration_ms=10000", &mut random), load(10_000, Mode::Cpu, true));
        assert_eq!(parsed("&duration_ms=7&", &mut random), load(7, Mode::Sleep, false));
        for _ in 0..1000 {
            let Load { duration_ms, mode, fails } = parsed("", &mut random);
            assert!(DEFAULT_DURATION_MS.contains(&duration_ms) && mode == Mode::Sleep && !fails, "{duration_ms}");
        }
    }

    #[test]
    fn work_takes_at_least_as_long_as_asked_for() {
        let mut random = SmallRng::seed_from_u64(1);
        for query in ["duration_ms=20", "duration_ms=20&mode=cpu"] {
            let start = Instant::now();
            let answer = parsed(query, &mut random).perform(|| true);
            assert!(start.elapsed() >= Duration::from_millis(20), "{query}");
            assert!(answer.body.contains(r#""duration_ms":20}"#), "{}", answer.body);
        }
    }

    #[test]
    fn errors_come_at_the_rate_asked_for() {
        let mut random = SmallRng::seed_from_u64(1);
        let mut errors =
            |query| (0..1000).filter(|_| parsed(query, &mut random).perform(|| true).status == 500).count();
        assert_eq!(errors("duration_ms=0&error_rate=0"), 0);
        assert_eq!(errors("duration_ms=0&error_rate=1"), 1000);
        assert!((200..300).contains(&errors("duration_ms=0&error_rate=0.25")));
    }
}
