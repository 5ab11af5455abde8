//! The process's memory: how much it has, and giving back what it does not need.
//!
//! Left to itself, glibc keeps most of what a flood of small requests has taken, for ever.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, Read};
use std::thread;
use std::time::Duration;

use nix::libc;

/// Free memory at the end of a heap from which on it is given back at once: glibc's own start value, which it raises a
/// hundredfold with the first large block.
const TRIM_BYTES: libc::c_int = 128 << 10;
/// Blocks from this size on are mapped and unmapped one by one, which a hundred threads do in each other's way: glibc's
/// 128 KB made a polite client wait three times as long beside heads without end.
const MAP_BYTES: libc::c_int = 4 << 20;

/// Small blocks that are freed are joined to their neighbours at once (0), not kept apart for the next one: the end of a
/// thread's heap is given back only when a block that is freed joins it.
const KEPT_APART_BYTES: libc::c_int = 0;

/// What a thread takes, with its connection: measured with a thousand that are idle or leaked.
const THREAD_KIB: usize = 24;
/// From here on memory is given back, in KiB beside that: what there is may be free.
const LARGE_KIB: usize = 16 << 10;
/// How often.
const PERIOD: Duration = Duration::from_secs(1);

/// Resident memory in KiB, beside what threads take, of which tiny_http has one for each connection and keeps it for a
/// while. 0 where the kernel does not say.
pub fn beside_threads_kib() -> usize {
    // On the stack, so that it waits for no memory beside a hundred threads that do.
    let mut status = [0; 4096];
    let length = File::open("/proc/self/status").and_then(|mut file| file.read(&mut status)).unwrap_or(0);
    let status = String::from_utf8_lossy(&status[..length]);
    let value = |name| {
        let value = status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok());
        value.unwrap_or(0)
    };
    let (resident, threads): (usize, usize) = (value("VmRSS:"), value("Threads:"));
    resident.saturating_sub(threads * THREAD_KIB)
}

/// Has the allocator keep little: it is told how, and a thread is started that gives back all that is free while there is
/// much. For the start of the process.
pub fn keep_little() -> io::Result<()> {
    // SAFETY: it takes numbers and no pointers.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, TRIM_BYTES);
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAP_BYTES);
        libc::mallopt(libc::M_MXFAST, KEPT_APART_BYTES);
    }
    // A thread of its own, as it waits for each heap that another thread is about to grow.
    thread::Builder::new().name("memory".into()).spawn(|| loop {
        thread::sleep(PERIOD);
        if beside_threads_kib() > LARGE_KIB {
            // SAFETY: it takes a number and no pointer, and may be called at any time from any thread.
            unsafe { libc::malloc_trim(0) };
        }
    })?;
    Ok(())
}
