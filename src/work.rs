//! What a request asks for, read before it is decided which thread does it.

use rand::rngs::SmallRng;
use tiny_http::Request;

use crate::answer::Answer;
use crate::load::Load;
use crate::metrics::Metrics;
use crate::routes::{split, Endpoint, Method, Route};

/// The work behind an answer.
pub enum Work {
    /// None: what the route answers at once.
    Route(Route),
    /// None: this answer.
    Refuse(Answer),
    /// Simulated load, which takes its time.
    Load(Load),
}

impl Work {
    /// What the request asks for; chance decides what it leaves open.
    pub fn of(request: &Request, route: Route, random: &mut SmallRng) -> Work {
        if route.endpoint != Endpoint::SimulateLoad || route.method == Method::Other {
            return Work::Route(route);
        }
        Load::parse(split(request.url()).1, random).map_or_else(Work::Refuse, Work::Load)
    }

    /// Does it; what takes time, only while it `is_wanted`.
    pub fn answer(self, metrics: &Metrics, is_wanted: impl Fn() -> bool) -> Answer {
        match self {
            Work::Route(route) => route.answer(metrics),
            Work::Refuse(answer) => answer,
            Work::Load(load) => load.perform(is_wanted),
        }
    }
}
