//! `/simulate-load`: its query parameters, and the work itself.

use std::hint::black_box;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const BAD_DURATION: &str = "duration_ms must be a whole number from 0 to 10000";
const BAD_RATE: &str = "error_rate must be a number from 0 to 1";

/// The work for one request. Random values are already drawn.
pub struct Load {
    duration_ms: u16,
    mode: Mode,
    fails: bool,
}

enum Mode {
    Sleep,
    Cpu,
}

impl Load {
    /// Parses the query. Each parameter is optional and allowed once.
    ///
    /// An unknown parameter is an error: if it were ignored, a misspelled one would seem broken.
    pub fn parse(query: &str) -> Result<Load, &'static str> {
        let (mut duration_ms, mut mode, mut error_rate) = (None, None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let is_repeated = match (name, value) {
                ("duration_ms", _) => duration_ms.replace(within(0..=10_000, value).ok_or(BAD_DURATION)?).is_some(),
                ("error_rate", _) => error_rate.replace(within(0.0..=1.0, value).ok_or(BAD_RATE)?).is_some(),
                ("mode", "sleep") => mode.replace(Mode::Sleep).is_some(),
                ("mode", "cpu") => mode.replace(Mode::Cpu).is_some(),
                ("mode", _) => return Err("mode must be sleep or cpu"),
                _ => return Err("unknown parameter; expected duration_ms, mode or error_rate"),
            };
            if is_repeated {
                return Err("repeated parameter; duration_ms, mode and error_rate are allowed once each");
            }
        }
        let mut random = SmallRng::from_os_rng();
        Ok(Load {
            duration_ms: duration_ms.unwrap_or_else(|| random.random_range(50..=500)),
            mode: mode.unwrap_or(Mode::Sleep),
            fails: random.random_bool(error_rate.unwrap_or(0.0)),
        })
    }

    /// Works for the requested time on this thread. Returns the status and the JSON body.
    pub fn run(self) -> (u16, String) {
        let Load { duration_ms, mode, fails } = self;
        let (work, mode): (fn(Duration), _) = match mode {
            Mode::Sleep => (thread::sleep, "sleep"),
            Mode::Cpu => (burn, "cpu"),
        };
        work(Duration::from_millis(duration_ms.into()));
        let (status, outcome) =
            if fails { (500, r#""error":"simulated error (error_rate)""#) } else { (200, r#""status":"ok""#) };
        (status, format!(r#"{{{outcome},"mode":"{mode}","duration_ms":{duration_ms}}}"#))
    }
}

fn within<T: FromStr + PartialOrd>(range: RangeInclusive<T>, value: &str) -> Option<T> {
    value.parse().ok().filter(|number| range.contains(number))
}

/// Keeps one core busy.
fn burn(duration: Duration) {
    let start = Instant::now();
    let mut number = 1_u64;
    while start.elapsed() < duration {
        for _ in 0..1000 {
            number = black_box(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
    }
}
