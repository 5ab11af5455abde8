//! The process's memory: how much it has, and giving back what it does not need.
//!
//! Left to itself, glibc keeps most of what a flood of small requests has taken, for ever.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::Read;

#[cfg(target_env = "gnu")]
use nix::libc;

/// Free memory at the end of a heap from which on it is given back at once: glibc's own start value, which it raises a
/// hundredfold with the first large block.
#[cfg(target_env = "gnu")]
const TRIM_BYTES: libc::c_int = 128 << 10;
/// Small blocks that are freed are joined to their neighbours at once (0), not kept apart for the next one: of these glibc
/// gives nothing back, which left tens of megabytes behind in the heaps of a flood's threads.
#[cfg(target_env = "gnu")]
const KEPT_APART_BYTES: libc::c_int = 0;
/// Blocks from this size on are mapped and unmapped one by one, which a hundred threads do in each other's way: glibc's
/// 128 KB made a polite client wait three times as long beside heads without end.
#[cfg(target_env = "gnu")]
const MAP_BYTES: libc::c_int = 4 << 20;

/// Resident memory in KiB; 0 where the kernel does not say.
pub fn resident_kib() -> usize {
    // On the stack, so that it waits for no memory beside a hundred threads that do.
    let mut status = [0; 4096];
    let length = File::open("/proc/self/status").and_then(|mut file| file.read(&mut status)).unwrap_or(0);
    let status = String::from_utf8_lossy(&status[..length]);
    let value = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
    value.unwrap_or(0)
}

/// Tells the allocator to keep little. For the start of the process.
pub fn keep_little() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes numbers and no pointers.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, TRIM_BYTES);
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAP_BYTES);
        libc::mallopt(libc::M_MXFAST, KEPT_APART_BYTES);
    }
}

/// Gives back all that is free; takes some milliseconds for a hundred megabytes.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes a number and no pointer, and may be called at any time from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
