//! A bounded pool of threads for work that takes its time. What finds no free thread is refused, never queued.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// A few lines of handler need little of a stack; the default would reserve 2 MiB each.
const STACK_BYTES: usize = 128 << 10;

type Job = Box<dyn FnOnce() + Send>;

/// The pool.
pub struct Pool {
    threads: usize,
    free: Arc<AtomicUsize>,
    jobs: Sender<(Slot, Job)>,
}

/// The right to one thread of the pool, given back on drop.
pub struct Slot(Arc<AtomicUsize>);

impl Pool {
    /// Starts the threads. Fails where the system allows no more of them.
    pub fn start(threads: usize) -> io::Result<Pool> {
        let (jobs, queue) = mpsc::channel();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..threads {
            let queue = queue.clone();
            thread::Builder::new().name("load".into()).stack_size(STACK_BYTES).spawn(move || work(&queue))?;
        }
        Ok(Pool { threads, free: Arc::new(AtomicUsize::new(threads)), jobs })
    }

    /// A free thread, or none.
    pub fn reserve(&self) -> Option<Slot> {
        let less = |free: usize| free.checked_sub(1);
        self.free.fetch_update(Ordering::AcqRel, Ordering::Acquire, less).ok()?;
        Some(Slot(self.free.clone()))
    }

    /// Runs the job on the thread that was reserved.
    pub fn run(&self, slot: Slot, job: impl FnOnce() + Send + 'static) {
        let _ = self.jobs.send((slot, Box::new(job)));
    }

    /// Whether no job is running.
    pub fn is_idle(&self) -> bool {
        self.free.load(Ordering::Acquire) == self.threads
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

fn work(queue: &Mutex<Receiver<(Slot, Job)>>) {
    loop {
        // A statement of its own, so that the lock is free again while the job runs.
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((_slot, job)) = next else { return };
        job();
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_full_pool_refuses_and_takes_again_when_a_job_has_ended() {
        let pool = Pool::start(2).unwrap();
        let (finish, wait) = mpsc::channel::<()>();
        let wait = Arc::new(Mutex::new(wait));
        for _ in 0..2 {
            let wait = wait.clone();
            pool.run(pool.reserve().unwrap(), move || wait.lock().unwrap().recv().unwrap());
        }
        assert!(pool.reserve().is_none());
        finish.send(()).unwrap();
        wait_until(|| pool.reserve().is_some());
        finish.send(()).unwrap();
        wait_until(|| pool.is_idle());
    }

    fn wait_until(condition: impl Fn() -> bool) {
        let start = Instant::now();
        while !condition() {
            assert!(start.elapsed() < Duration::from_secs(60), "waited in vain");
            thread::yield_now();
        }
    }
}
