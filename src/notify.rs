//! What the service tells systemd (`Type=notify`). Without systemd these do nothing.

use std::time::Duration;

use sd_notify::NotifyState;

/// The service answers requests.
pub fn ready() {
    send(NotifyState::Ready);
}

/// The service is about to leave; it answers what is in flight.
pub fn stopping() {
    send(NotifyState::Stopping);
}

/// The service is alive.
pub fn alive() {
    send(NotifyState::Watchdog);
}

/// The time within which systemd expects `alive` again and again (`WatchdogSec=`), if it does.
pub fn watchdog() -> Option<Duration> {
    let mut microseconds = 0;
    sd_notify::watchdog_enabled(false, &mut microseconds).then(|| Duration::from_micros(microseconds))
}

fn send(state: NotifyState) {
    if let Err(error) = sd_notify::notify(false, &[state]) {
        crate::log::warning(&format!("cannot notify systemd: {error}"));
    }
}
